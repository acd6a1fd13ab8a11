"""`report`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pscli import console
from pscli.cli.app import Device, Overwrite, app, refuse_idle
from pscli.cli.score import (
    Clip,
    Draws,
    Extractors,
    Force,
    Groups,
    InceptionWeights,
    OwnMetrics,
    groups,
)
from pscli.errors import ConfigError
from pscli.files import write_png
from pscli.runs import is_run

if TYPE_CHECKING:
    from pscli.metrics.base import Metric

FILES = {".htm", ".html", ".jpeg", ".jpg", ".pdf", ".svg"}  # endings that no folder means
ROWS, CARDS = 3, 240
# Options that not every picture reads, by their parameters.
OF_A_JUDGE = ("seed", "extractor", "inception_weights", "clip", "device")
OF_CONVERSATIONS = ("count", "use", "force")


@app.command()
def report(
    ctx: typer.Context,
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PREDS|RUNS...", help="Predictions, or training runs."),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(help="Folder of the page; or a PNG file: a picture of conversations alone."),
    ] = Path("report"),
    group: Groups = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Responses in the gallery; conversations of a picture.",
            show_default=f"{CARDS}; {ROWS}",
        ),
    ] = None,
    photos: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Instead: a picture of so many drawn photos, each with what metrics say of it.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Only instances of this type; repeatable.", show_default="all"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn at random.")] = 0,
    extractor: Extractors = None,
    inception_weights: InceptionWeights = None,
    clip: Clip = "",
    metric: OwnMetrics = None,
    use: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:NAME",
            help="A dataset of your own, for contexts; repeatable.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    draws: Draws = 1000,
    force: Force = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a page with scores, curves and conversations side by side; or draw a picture."""
    together = groups(group or [])
    named = list(folders or [])
    if not named and not together:
        raise typer.BadParameter("name at least one folder of predictions, a run, or a --group.")
    _refuse_unwritable(out)
    if out.suffix.lower() == ".png" and out.exists() and (out.is_dir() or not overwrite):
        raise ConfigError(
            f"{out} exists already.", "Name another file, or replace it: --overwrite."
        )
    if photos is not None:
        console.quiet_libraries()
        from pscli.metrics.extractor import extractors
        from pscli.metrics.score import metrics

        if len(named) != 1 or together or out.suffix.lower() != ".png":
            raise ConfigError(
                "--photos draws those of one folder of predictions, as a picture.",
                "Write `pscli report preds/mine --out photos.png --photos 36`.",
            )
        refuse_idle(ctx, (*OF_CONVERSATIONS, "draws"), "--photos")
        eyes = extractors(extractor or [], inception_weights)
        judges = metrics(eyes, metric or [], device=device, clip=clip)
        _photos(named[0], out, judges, photos, kind or [], seed)
    elif out.suffix.lower() == ".png":
        _picture(
            ctx, named, list(together), out, count or ROWS, kind or [], use or [], metric or [],
            force,
        )  # fmt: skip
    elif out.suffix.lower() in FILES:
        raise ConfigError(
            f"{out} is no name for a report.",
            "Expected a folder for its page, or the name of a picture that ends in .png.",
        )
    else:
        console.quiet_libraries()
        from pscli.metrics.extractor import extractors
        from pscli.report.columns import contents
        from pscli.report.page import INDEX, Options, write_page

        options = Options(
            count or CARDS, tuple(kind or ()), seed,
            tuple(extractors(extractor or [], inception_weights)), clip, tuple(metric or ()),
            device, draws, tuple(use or ()), force,
        )  # fmt: skip
        write_page(out, contents(named, together), options, overwrite)
        out = out / INDEX
    console.result(str(out))


def _refuse_unwritable(out: Path) -> None:
    """Before anything is scored. Raises ConfigError if nothing can be written there."""
    whole = out.resolve()
    place = next((folder for folder in whole.parents if folder.exists()), whole)
    why = "no folder" if not place.is_dir() else ""
    why = why or ("" if os.access(place, os.W_OK | os.X_OK) else "a folder where you may not write")
    if why:
        raise ConfigError(f"{out} cannot be written: {place} is {why}.", "Name another --out.")


def _picture(
    ctx: typer.Context, folders: list[Path], together: list[str], out: Path, count: int,
    kinds: list[str], use: list[str], own: list[str], force: bool,
) -> None:  # fmt: skip
    """Conversations of several systems, or the curves of a run, as a PNG."""
    from pscli.report.sheet import curves, sheet

    if together:
        raise ConfigError(f"A picture has no place for --group {together[0]}.", "Name folders.")
    runs = [folder for folder in folders if is_run(folder)]
    if runs and len(folders) > 1:
        raise ConfigError(f"{runs[0]} is a run, which is drawn alone.", "Name predictions only.")
    unread = (*OF_A_JUDGE, "draws")
    if runs:
        refuse_idle(ctx, (*unread, *OF_CONVERSATIONS, "kind", "metric"), "a picture of curves")
        curves(runs[0], out)
    else:
        refuse_idle(ctx, unread, "a picture of conversations")
        console.quiet_libraries()
        from pscli.metrics.score import metrics
        from pscli.predictions.folder import read_predictions
        from pscli.report.protocol import refuse_unequal

        read = {folder: read_predictions(folder) for folder in folders}
        alike = refuse_unequal({str(folder): [folder] for folder in folders}, read, force)
        for line in alike if force else ():  # a picture has no place for it
            console.note(line)
        write_png(out, sheet(folders, count, kinds, use, list(metrics(own=own).values())))


def _photos(
    folder: Path, out: Path, judges: dict[str, Metric], count: int, kinds: list[str], seed: int
) -> None:
    """Drawn photos and what the metrics say of each, as a PNG."""
    from pscli.predictions.folder import read_predictions
    from pscli.report.columns import refuse_unknown
    from pscli.report.contact import contact_sheet

    found = read_predictions(folder)
    refuse_unknown(kinds, found)
    write_png(out, contact_sheet(found, list(judges.values()), count, seed=seed, kinds=kinds))
