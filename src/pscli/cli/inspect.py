"""`inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pscli import console
from pscli.cli.app import app
from pscli.cli.data import Name
from pscli.cli.train import Photos, Preset, Set, asked_for, configured
from pscli.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pscli.plan.tokens import Cuts, Reader, Run

STYLES = {
    "context": "", "supervised": "bold green", "hidden": "dim", "hidden, supervised": "green",
    "photo": "magenta", "cut": "red strike",
}  # fmt: skip


@app.command("inspect")
def inspect_(
    name: Name,
    system: Annotated[str, typer.Option(help="System that reads it, as of `pscli train`.")] = "e2e",
    split: Annotated[str, typer.Option(help="Split of the dataset.")] = "train",
    index: Annotated[int, typer.Option(min=0, help="Number of the dialogue that is shown.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="Dialogues that are counted.")] = 200,
    photos: Photos = None,
    preset: Preset = None,
    settings: Set = None,
) -> None:
    """Show a dialogue as a system reads it in training, and count what its limits cut off."""
    options = {"dataset": name, "photos": photos}
    config = configured(system, preset, asked_for(options, settings))
    console.quiet_libraries()
    from pscli.datasets.base import load, named
    from pscli.plan.tokens import Reader

    dialogues = load(named(name), split, count if index < count else None, config.photos)
    if index >= len(dialogues):
        raise DataError(
            f"{name} {split} has {len(dialogues):,} dialogues, and no number {index}.",
            "Numbers begin with 0.",
        )
    reader = Reader(config)
    dialogue = dialogues[index]
    sequences = reader.template.pack(dialogue)
    console.result(f"dialogue {dialogue.id} in {len(sequences)} sequences")
    for number, packed in enumerate(sequences, start=1):
        console.result(
            f"\nsequence {number}: {len(packed):,} of {reader.template.max_length:,} tokens"
        )
        _show(reader.missed(dialogue, packed))
        _show(reader.runs(packed))
        for span in packed.captions:
            _show([run for run in [reader.unread(span.photo.caption or "")] if run.tokens])
    console.result("")
    for line in counted(reader, reader.count(dialogues[:count])):
        console.result(line)


def _show(runs: Iterable[Run]) -> None:
    from rich.text import Text

    for kind, text, tokens in runs:
        shown = "" if kind == "photo" else " ".join(text.split())
        line = Text.assemble(f"{kind:18} {tokens:4}  ", (console.plain(shown), STYLES[kind]))
        console.show(line)


def counted(reader: Reader, cuts: Cuts) -> list[str]:
    """What is cut, in sentences."""
    lines = [
        f"{cuts.dialogues:,} dialogues: {cuts.responses:,} responses are learnt, "
        f"{cuts.shortened:,} of them without the oldest messages ({cuts.missed:,} tokens cut by "
        f"max_length {reader.template.max_length:,}).",
        f"{cuts.captions:,} captions to draw: {cuts.long:,} are longer than the "
        f"{reader.clip_length} tokens of the text encoder ({cuts.unread:,} tokens cut).",
    ]
    return lines + [f"Not learnt: {line}." for line in cuts.dropped.lines()]
