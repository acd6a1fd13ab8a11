"""Agents that several people and programs ask at once: each answers one after another."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pscli.dialogue.reply import Caption, Tell
from pscli.errors import PscliError
from pscli.serve.limits import Busy

WAITING = 64  # askers of an agent at a time, with the one who is answered
T = TypeVar("T")


@dataclass(frozen=True)
class Done(Generic[T]):
    """What was asked for, whole."""

    value: T


@dataclass(frozen=True)
class Waits:
    """Others come first. `count` is how many."""

    count: int


class Gone(Exception):
    """Nobody waits for the answer any more."""


class Host:
    """An agent, and the queue before it.

    Args:
        name: What it is called on the page and by programs.
        agent: Is asked in a thread of its own, by one asker at a time.
        waiting: Askers at a time; more are refused.
    """

    def __init__(self, name: str, agent: Any, waiting: int = WAITING) -> None:
        self.name, self.agent, self.waiting = name, agent, waiting
        self._asked = 0
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="agent")

    async def ask(
        self, work: Callable[[Tell], T]
    ) -> AsyncGenerator[str | Caption | Waits | Done[T], None]:
        """What `work` tells while it is done, and at the end what it returns.

        Whoever stops listening stops the work at the next word, or before it has begun.

        Raises:
            Busy: if too many wait already.
            PscliError: whatever `work` raises.
        """
        if self._asked >= self.waiting:
            raise Busy(f"{self.name} has {self._asked} to answer already.", "Try again later.")
        loop, gone = asyncio.get_running_loop(), threading.Event()
        told: asyncio.Queue[str | Caption | None] = asyncio.Queue()

        def tell(part: str | Caption | None) -> None:
            if gone.is_set():
                raise Gone
            loop.call_soon_threadsafe(told.put_nowait, part)

        def begin() -> T:
            if gone.is_set():
                raise Gone
            return work(tell)

        def end() -> None:
            self._asked -= 1
            told.put_nowait(None)

        def ended(done: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop is closed: the server has ended
                loop.call_soon_threadsafe(end)

        before, self._asked = self._asked, self._asked + 1
        doing = self._worker.submit(begin)
        doing.add_done_callback(ended)
        try:
            if before:
                yield Waits(before)
            while (part := await told.get()) is not None:
                yield part
            yield Done(doing.result())
        finally:
            gone.set()
            doing.cancel()


def log(error: Exception) -> None:
    """Tells whoever runs the server of a failure that nobody expected."""
    if not isinstance(error, PscliError):
        logging.getLogger("uvicorn.error").error("An agent failed.", exc_info=error)


Hosts = Mapping[str, Host]  # by name, the first one is the default


def hosted(agents: Mapping[str, Any]) -> Hosts:
    """A host for each agent."""
    return {name: Host(name, agent) for name, agent in agents.items()}


def names_of(agents: list[Path]) -> list[str]:
    """Short names of agents, no two of them alike. A run holds its agent as `agent`."""
    names: list[str] = []
    for path in agents:
        folder = path.absolute()
        short = folder.parent.name if folder.name == "agent" else folder.name
        alike = (f"{short} ({n})" for n in range(2, len(agents) + 1))
        names.append(next(name for name in (short, *alike) if name not in names))
    return names
