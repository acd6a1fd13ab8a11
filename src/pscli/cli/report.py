"""`report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pscli import console
from pscli.cli.app import app
from pscli.errors import ConfigError
from pscli.files import replacing
from pscli.runs import is_run


@app.command()
def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="PREDS... | RUN", help="Predictions, or one run.")
    ],
    out: Annotated[Path, typer.Option(help="PNG file to write.", show_default=False)],
    count: Annotated[int, typer.Option(min=1, help="Conversations, each of a dialogue.")] = 4,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Only instances of this type; repeatable.", show_default="all in turn"),
    ] = None,
    use: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:NAME",
            help="A dataset of your own, for contexts; repeatable.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw conversations of several systems side by side, or the curves of a run."""
    from pscli.report.sheet import curves, sheet

    if out.suffix.lower() != ".png":
        raise ConfigError(f"{out} is no name for a picture.", "Expected a name that ends in .png.")
    runs = [folder for folder in folders if is_run(folder)]
    if runs and len(folders) > 1:
        raise ConfigError(f"{runs[0]} is a run, which is drawn alone.", "Name predictions only.")
    if runs:
        curves(runs[0], out)
    else:
        picture = sheet(folders, count, kind or [], use or [])
        with replacing(out) as file:
            picture.save(file, "PNG")
    console.result(str(out))
