"""Predictions by several processes: each answers its share of the batches, the first one writes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pscli.predictions.generate import Answerer, Instance, batches, predict
from pscli.predictions.settings import Settings
from pscli.predictions.writer import Writer, writing
from pscli.processes import first, here, number


def predict_together(
    agent: Answerer,
    work: Sequence[Instance],
    writer: Writer,
    progress: Callable[[int], None],
    size: int = 64,
) -> None:
    """`predict`, its batches dealt out in turn. All processes must call it.

    The batches are those of one process, so that the replies are, too. After each round the first
    process writes, so that an interrupted folder can go on.

    Args:
        writer: From `writing_together`.
    """
    if number() == 1:
        predict(agent, work, writer, progress, size)
        return
    from accelerate.utils import broadcast_object_list, gather_object

    place, count = here().process_index, here().num_processes
    (done,) = broadcast_object_list([writer.done])
    parts = batches(work, size)
    for start in range(0, len(parts), count):
        mine = Kept(writer.settings, set(done))
        for part in parts[start + place : start + place + 1]:
            predict(agent, part, mine, lambda done: None, size)
        for entry, named in gather_object(mine.entries):
            if first():
                writer.add(*entry, **named)
        progress(sum(map(len, parts[start : start + count])))


class Kept(Writer):
    """Keeps what is added in memory."""

    def __init__(self, settings: Settings, done: set[str]) -> None:
        super().__init__(Path(), settings, done)
        self.entries: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def add(self, *entry: Any, **named: Any) -> None:
        self.entries.append((entry, named))
        self.done.add(entry[0])


@contextlib.contextmanager
def writing_together(folder: Path, settings: Settings, overwrite: bool = False) -> Iterator[Writer]:
    """`writing` for the first process; the others get a writer that is not used.

    Raises:
        CheckpointError: in the first process, as `writing` does.
    """
    if not first():
        yield Writer(folder, settings, None)
        return
    with writing(folder, settings, overwrite) as writer:
        yield writer
