"""`fetch` and `stats`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pscli import console
from pscli.cli.app import AsJson, Overwrite, app
from pscli.errors import ConfigError
from pscli.registry import find

Name = Annotated[str, typer.Argument(metavar="NAME", help="Dataset, such as photoworld.")]


@app.command()
def fetch(
    name: Name,
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this split; repeatable.", show_default="all"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Folder to write.", show_default="$PSCLI_DATA/NAME or data/NAME"
        ),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FROM",
            help="Folder or http(s) mirror to bring it from.",
            show_default="upstream",
        ),
    ] = None,
    photos: Annotated[bool, typer.Option("--photos/--no-photos", help="Bring photos, too.")] = True,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Downloads at once.")] = 16,
    missing: Annotated[
        str,
        typer.Option(
            metavar="HOW", help="For photos that nobody has: skip, placeholder or synthesise."
        ),
    ] = "skip",
    retry: Annotated[
        bool, typer.Option("--retry", help="Ask again for photos that did not come before.")
    ] = False,
    private: Annotated[
        bool,
        typer.Option("--allow-private-hosts", help="Also from private and loopback addresses."),
    ] = False,
    count: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Dialogues of each split.", show_default="all"),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Bring a dataset to disk: dialogues, then photos, and a manifest that says what is missing.

    An interrupted fetch goes on when the same command is given again.
    """
    from pscli.datasets.base import data_folder
    from pscli.datasets.corpus import Corpus
    from pscli.fetch.corpus import MISSING, Options
    from pscli.fetch.drawn import fetch as fetch_dataset
    from pscli.fetch.web import Limits

    source = find("dataset", name)()
    if missing not in MISSING:
        raise ConfigError(f"--missing is '{missing}'.", f"Known: {', '.join(MISSING)}.")
    folder = out or data_folder(name)
    splits = list(dict.fromkeys(split or source.splits))
    if isinstance(source, Corpus):
        options = Options(
            origin, photos, missing, count, retry, overwrite, private, Limits(jobs=jobs)
        )
        _bring(source, folder, splits, options)
        return
    if origin is not None:
        raise ConfigError(f"{name} is drawn, not downloaded.", "Leave --from out.")
    fetched = fetch_dataset(
        source, folder, splits, console.progress, count=count, overwrite=overwrite
    )
    for one, dialogues in fetched.dialogues.items():
        number = fetched.photos[one]
        console.result(f"{folder / one}.jsonl: {dialogues:,} dialogues, {number:,} photos")
    console.result(f"Licence of {name}: {source.licence}.")


def _bring(source: Any, folder: Path, splits: list[str], options: Any) -> None:
    from dataclasses import replace

    from pscli.fetch.corpus import bring, names

    if options.missing == "synthesise":
        options = replace(options, draw=_brush(), model="photoworld")
    try:
        brought = bring(source, folder, splits, console.progress, options)
    except KeyboardInterrupt:
        console.note("Stopped. Give the same command again to go on.")
        raise
    if brought.first:
        console.result(f"Licence of {source.name}: {source.licence}.")
        console.result(f"Cite: {source.citation}")
    console.result(f"{folder}: {brought.files:,} files of dialogues")
    if brought.statuses:
        console.result(f"photos: {', '.join(names(brought.statuses))}")
    for reason, number in list(brought.reasons.items())[:10]:
        console.result(f"  {number:,} × {reason}")
    if brought.reasons:
        console.result("Missing photos are in manifest.jsonl; --retry asks for them again.")


def _brush() -> Any:
    """Draws a photo from a caption and a seed, with the bundled generator."""
    console.quiet_libraries()
    import torch

    from pscli.components.generator import StableDiffusion

    generator = StableDiffusion.from_pretrained(find("weights", "photoworld")("generator"))
    generator.eval()

    def draw(caption: str, seed: int) -> Any:
        return generator.draw([caption], [torch.Generator().manual_seed(seed)])[0]

    return draw


@app.command()
def stats(
    name: Name,
    as_json: AsJson = False,
    folder: Annotated[
        Path | None,
        typer.Option("--from", help="Count a folder.", show_default="$PSCLI_DATA/NAME, data/NAME"),
    ] = None,
    png: Annotated[
        Path | None, typer.Option(help="PNG file to draw as well.", show_default=False)
    ] = None,
) -> None:
    """Count dialogues, utterances, photos and instance types of a dataset, split by split."""
    from pscli.datasets.base import data_folder
    from pscli.datasets.corpus import Corpus
    from pscli.datasets.folder import read_split, splits_in
    from pscli.datasets.records import Dropped
    from pscli.datasets.stats import PAPER, survey
    from pscli.report.survey import picture, table, table_1

    if png is not None and png.suffix.lower() != ".png":
        raise ConfigError(f"{png} is no name for a picture.", "Expected a name that ends in .png.")
    source = find("dataset", name)()
    dropped = Dropped()
    if isinstance(source, Corpus):
        place = folder or data_folder(name)
        splits = {split: source.read(split, place, dropped) for split in source.splits_in(place)}
    elif folder:
        splits = {split: iter(read_split(folder, split)) for split in splits_in(folder)}
    else:
        splits = {split: iter(source.load(split)) for split in source.splits}
    found = survey(name, splits, dropped)
    if png is not None:
        picture(found, png)
    for line in dropped.lines():
        console.note(f"Left out: {line}.")
    if as_json:
        console.show_json(found.to_json())
        return
    console.show(table(name, found.splits | {"total": found.total}))
    console.show(table_1(found))
    console.result(PAPER)
    if any(found.shared.values()):
        shared = (f"{n:,} by {a} and {b}" for (a, b), n in found.shared.items())
        console.result(f"Photos shared: {', '.join(shared)}.")
