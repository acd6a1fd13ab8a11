"""What is said on a page: by one visitor, to one agent or to two side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

from pscli.dialogue.pixels import Encoded
from pscli.dialogue.reply import Caption
from pscli.dialogue.schema import Dialogue, Photo, Reply
from pscli.errors import ConfigError, DataError
from pscli.files import to_json
from pscli.serve.host import Done, Host, Hosts, Waits
from pscli.serve.limits import ROOM, Kept, all_kept, bounded, received, short
from pscli.systems.chat import Chat

FILE = "application/json"


@dataclass
class Side:
    """An agent in a talk.

    Args:
        waiting: Captions that it would draw, if somebody is to look at them first.
        notes: What was odd about its last reply.
    """

    host: Host
    chat: Chat
    waiting: list[str] | None = None
    notes: tuple[str, ...] = ()

    @property
    def drawn(self) -> Photo | None:
        """The photo that it sent last."""
        sent = (t for t in reversed(self.chat.dialogue.turns) if t.speaker == self.chat.speaker)
        return next((turn.photo for turn in sent if turn.photo), None)

    @property
    def caption(self) -> str | None:
        """What stands in the box of captions; None where there is nothing to draw."""
        if self.waiting is not None:
            return "\n".join(self.waiting)
        return (self.drawn.caption or "") if self.drawn else None

    @property
    def due(self) -> bool:
        """Whether it is the agent's turn."""
        said = self.chat.dialogue.responses
        return bool(said) and said[-1].speaker != self.chat.speaker


@dataclass(frozen=True)
class Live:
    """What is being written. `waits` is how many others come first."""

    words: str = ""
    captions: tuple[str, ...] = ()
    waits: int = 0


@dataclass
class Talk:
    """What one visitor has said and heard. Nobody else reaches it, and no disk.

    Args:
        sides: Agents that hear the same.
        asked: Those that are to answer.
        busy: Whether one of them does.
        stopped: Whether it was told to stop.
        saved: Files that are to be fetched.
    """

    sides: list[Side] = field(default_factory=list)
    asked: list[Side] = field(default_factory=list)
    busy: bool = False
    stopped: bool = False
    saved: tuple[Kept, ...] = ()
    _next: asyncio.Future[Live] | None = None

    def seat(self, hosts: Hosts, names: Sequence[str | None], me: str) -> None:
        """Sets agents side by side, and who speaks. A new one goes on where the first one is.

        Args:
            names: Of agents; at least one.
        """
        chosen = [hosts[name] for name in dict.fromkeys(names) if name and name in hosts]
        sides = []
        for host in chosen or [next(iter(hosts.values()))]:
            known = next((side for side in self.sides if side.host is host), None)
            if known is None:
                agent = host.agent
                chat = self.sides[0].chat.with_agent(agent) if self.sides else Chat(agent)
                known = Side(host, chat)
            if me == known.chat.speaker:
                known.chat.turn_to()
            sides.append(known)
        self.sides = sides

    def set(self, seed: Any, best_of: Any, temperature: Any) -> None:
        """How words are chosen and photos drawn."""
        for side in self.sides:
            side.chat.seed = int(_within(seed, 0, (1 << 53) - 1, "The seed"))
            side.chat.best_of = int(_within(best_of, 1, 8, "Drawings of each photo"))
            side.chat.temperature = float(_within(temperature, 0, 2, "The temperature"))

    def say(self, text: Any, address: Any) -> None:
        """What is said, with a photo; nothing at all lets the agents speak.

        Args:
            address: `data:` address of the photo, or nothing.

        Raises:
            DataError: if it cannot be taken. Then nothing is said.
        """
        words = short(text or "").strip()
        photo = received(address) if address else None
        if not words and photo is None:
            if not any(side.due for side in self.sides):
                raise DataError("There is nothing to answer.", "Say something, or show a photo.")
            self.asked = [side for side in self.sides if side.due]
            return
        for side in self.sides:
            bounded(side.chat.after(words, photo))
        for side in self.sides:
            side.chat.add(words, photo)
            side.waiting = None
        self.asked = [*self.sides]

    async def answer(
        self, side: Side, asks: bool = False, captions: Sequence[str] | None = None
    ) -> AsyncGenerator[Live, None]:
        """Lets an agent answer; what it writes, while it does. Stopped, it has said what it had.

        Args:
            asks: Whether captions wait to be looked at before they are drawn, if there are any.
            captions: To be drawn in place of its own.
        """
        chat, live = copy(side.chat), Live()  # lest what was stopped ends later, and is said
        preview = asks and captions is None and getattr(chat.agent, "captioned", True)
        work: Any = chat.preview if preview else lambda tell: chat.answer(tell, captions)
        done = False
        try:
            async with aclosing(side.host.ask(work)) as asked:
                async for part in asked:
                    if isinstance(part, Done):
                        done, side.chat = True, chat
                        await self._answered(side, part.value)
                        return
                    live = _heard(live, part)
                    yield live
        finally:
            if not done and live.words:
                stopped, kept = Reply((live.words.strip(),)), side.chat
                kept.dialogue = kept.dialogue.said(stopped, kept.speaker)

    def stop(self) -> None:
        """Stops what an agent writes or draws."""
        self.stopped = True
        if self._next is not None:
            self._next.cancel()

    async def until_stopped(self, lives: AsyncGenerator[Live, None]) -> AsyncGenerator[Live, None]:
        """What an agent writes, until `stop` is called."""
        async with aclosing(lives):
            while not self.stopped:
                self._next = asyncio.ensure_future(anext(lives))
                try:
                    live = await self._next
                except StopAsyncIteration:
                    return
                except asyncio.CancelledError:
                    if self.stopped:
                        return
                    raise  # the visitor is gone
                yield live

    async def _answered(self, side: Side, value: Reply | tuple[Reply, list[str]]) -> None:
        reply, side.waiting = (value, None) if isinstance(value, Reply) else value
        side.notes = reply.notes
        if not side.waiting:
            side.waiting = None
            if not isinstance(value, Reply):  # words alone
                side.chat.dialogue = side.chat.dialogue.said(reply, side.chat.speaker)
        side.chat.dialogue = await asyncio.to_thread(all_kept, side.chat.dialogue)

    async def redraw(self, side: Side, caption: str) -> AsyncGenerator[Live, None]:
        """Another photo in place of the last one, or the ones that wait.

        Args:
            caption: What it is to show; the same as before draws it with other noise. Of photos
                that wait, one a line; none draws none.
        """
        wanted = short(caption).strip()
        if side.waiting is not None:
            lines = [line.strip() for line in wanted.splitlines() if line.strip()]
            async with aclosing(self.answer(side, captions=lines)) as answered:
                async for live in answered:
                    yield live
            return
        if not wanted:
            raise ConfigError("There is no caption.", "Say what the photo is to show.")
        same = side.drawn is not None and wanted == side.drawn.caption
        chat = copy(side.chat)
        yield Live(captions=(wanted,))
        async with aclosing(
            side.host.ask(lambda tell: chat.redraw(None if same else wanted))
        ) as asked:
            async for part in asked:
                if isinstance(part, Waits):
                    yield Live(captions=(wanted,), waits=part.count)
        chat.dialogue = await asyncio.to_thread(all_kept, chat.dialogue)
        side.chat = chat

    def undo(self) -> None:
        """Takes back what was said last, and all after it. Raises ConfigError if it was nothing."""
        for side in self.sides:
            side.waiting, side.notes = None, ()
        undone = [side.chat.undo() for side in self.sides]  # of all of them
        if not any(undone):
            raise ConfigError("There is nothing to take back.", "Say something first.")

    def load(self, dialogue: Dialogue) -> None:
        """Goes on with another dialogue."""
        for side in self.sides:
            side.chat.go_on(dialogue)
            side.waiting, side.notes = None, ()

    def save(self) -> list[dict[str, str]]:
        """Keeps a file of each side to be fetched: what it is to be called, and its name here.

        Raises:
            ConfigError: if nothing was said.
        """
        if not any(side.chat.dialogue.responses for side in self.sides):
            raise ConfigError("Nothing was said yet.", "Say something first.")
        self.saved = ()  # there is room for the new ones
        self.saved = tuple(ROOM.keep(text(side).encode(), FILE) for side in self.sides)
        several = len(self.sides) > 1
        names = (f"talk-{s.host.name}.json" if several else "talk.json" for s in self.sides)
        return [{"name": n, "file": f.name} for n, f in zip(names, self.saved, strict=True)]


def text(side: Side) -> str:
    """What was said, as a file that holds its photos and is read by `generate --context`."""
    said = side.chat.dialogue
    sources = (photo.source for photo in said.photos)
    addresses = (source.address for source in sources if isinstance(source, Encoded))
    return to_json(said.to_json(addresses))


def _heard(live: Live, part: str | Caption | Waits) -> Live:
    if isinstance(part, Waits):
        return replace(live, waits=part.count)
    if isinstance(part, Caption):
        return replace(live, waits=0, captions=(*live.captions, part.words))
    return replace(live, waits=0, words=live.words + part)


def _within(value: Any, low: float, high: float, what: str) -> float:
    if type(value) not in (int, float) or not low <= value <= high:
        raise ConfigError(f"{what} is no number from {low:,} to {high:,}.", "Change it.")
    return float(value)
