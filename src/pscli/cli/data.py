"""`fetch` and `stats`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from pscli import console
from pscli.cli.app import AsJson, Overwrite, app, refuse_idle
from pscli.errors import ConfigError, DataError
from pscli.registry import find

Name = Annotated[str, typer.Argument(metavar="NAME", help="Dataset, such as photoworld.")]


@contextmanager
def going_on(folder: Path, overwrite: bool) -> Iterator[None]:
    """Says at Ctrl-C how to go on with a folder: what has been replaced is not replaced again."""

    def there() -> int | None:
        return folder.stat().st_ino if folder.exists() else None

    before = there()
    try:
        yield
    except KeyboardInterrupt:
        replaced = overwrite and there() not in (None, before)
        how = ", without --overwrite," if replaced else ""
        console.note(f"Stopped. Give the same command again{how} to go on.")
        raise


@app.command()
def fetch(
    ctx: typer.Context,
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
            help="Folder or http(s) mirror to fetch it from.",
            show_default="upstream",
        ),
    ] = None,
    photos: Annotated[bool, typer.Option("--photos/--no-photos", help="Fetch photos, too.")] = True,
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
    check: Annotated[
        bool,
        typer.Option(
            "--verify", help="Fetch nothing: compare what is on disk with what came, byte by byte."
        ),
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
    """Fetch a dataset: dialogues, then photos, and a manifest that says what is missing.

    An interrupted fetch goes on when the same command is given again, without --overwrite; what is
    drawn is drawn anew.
    """
    from pscli.datasets.base import Published, data_folder, named
    from pscli.fetch import dataset as door
    from pscli.fetch.web import Limits

    if check:
        refuse_idle(ctx, ("retry", "overwrite"), "--verify")  # the same command goes on else
    dataset = named(name)
    if missing not in door.MISSING:
        raise ConfigError(f"--missing is '{missing}'.", f"Known: {', '.join(door.MISSING)}.")
    options = door.Options(
        origin, photos, missing, count, retry, overwrite, private, Limits(jobs=jobs)
    )
    if missing == "synthesise":
        options = replace(options, draw=_brush(), model="photoworld")
    folder = out or data_folder(dataset.name)
    if check:
        _verify(folder)
        return
    kept = isinstance(dataset, Published)  # what is drawn is there as a whole or not at all
    with going_on(folder, overwrite) if kept else nullcontext():
        fetched = door.fetch(dataset, folder, split, console.progress, options)
    if fetched.first:
        console.result(f"Licence of {dataset.name}: {dataset.licence}.")
        console.result(f"Cite: {dataset.citation}")
    for one, number in fetched.dialogues.items():
        console.result(f"{folder}: {number:,} dialogues of {one}")
    if fetched.statuses:
        counts = (f"{number:,} {status}" for status, number in sorted(fetched.statuses.items()))
        console.result(f"photos: {', '.join(counts)}")
    for reason, number in list(fetched.reasons.items())[:10]:
        console.result(f"  {number:,} × {reason}")
    if fetched.reasons:
        console.result("Missing photos are in manifest.jsonl; --retry asks for them again.")


def _verify(folder: Path) -> None:
    from pscli.fetch.verify import verify

    damaged = verify(folder, console.progress)
    for path in damaged:
        console.result(path)
    if damaged:
        raise DataError(
            f"{len(damaged):,} files of {folder} are not what came, or gone.",
            "Fetch them again without --verify; a dataset that is drawn, with --overwrite.",
        )
    console.result(f"{folder}: every file is what came.")


def _brush() -> Any:
    """Draws a photo from a caption and a seed, with the bundled generator; loaded when asked."""

    @cache
    def loaded() -> Any:
        console.quiet_libraries()
        from pscli.components.generator import StableDiffusion

        return StableDiffusion.from_pretrained(find("weights", "photoworld")("generator")).eval()

    def draw(caption: str, seed: int) -> Any:
        import torch

        generator = loaded()
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
    from pscli.datasets.base import Overlapping, named
    from pscli.datasets.folder import read_all
    from pscli.datasets.records import Dropped
    from pscli.datasets.stats import PAPER, survey
    from pscli.report.survey import overlap_table, picture, table, table_1

    if png is not None and png.suffix.lower() != ".png":
        raise ConfigError(f"{png} is no name for a picture.", "Expected a name that ends in .png.")
    dataset, dropped = named(name), Dropped()
    splits = read_all(dataset, folder, dropped)
    found = survey(dataset.name, splits, dropped)
    if png is not None:
        picture(found, png)
    for line in dropped.lines():
        console.note(f"Left out: {line}.")
    known = dataset.overlaps() if isinstance(dataset, Overlapping) and folder is None else {}
    if as_json:
        console.show_json(found.to_json() | ({"seen_in_training": known} if known else {}))
        return
    console.show(table(found.name, found.splits | {"total": found.total}))
    console.show(table_1(found))
    console.result(PAPER)
    if known:
        console.show(overlap_table(found.name, known))
    if any(found.shared.values()):
        shared = (f"{n:,} by {a} and {b}" for (a, b), n in found.shared.items())
        console.result(f"Photos shared: {', '.join(shared)}.")
