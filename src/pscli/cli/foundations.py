"""`foundations`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pscli import console
from pscli.cli.app import app
from pscli.registry import TABLES, find


@app.command()
def foundations(
    family: Annotated[
        str, typer.Argument(help=f"Which: {', '.join(TABLES['foundations'])}.")
    ] = "photoworld",
    work: Annotated[
        Path | None,
        typer.Option(
            help="Folder for what is unfinished; it is resumed.", show_default="in runs/foundations"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write.", show_default="runs/foundations/FAMILY"),
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="STAGE", help="A single stage.", show_default="all")
    ] = None,
) -> None:
    """Pre-train photoworld's foundations again, or a family that is not shipped, in hours."""
    console.quiet_libraries()
    made = find("foundations", family)(work, out, only)
    console.stderr.print(f"{made} holds the foundations; its scores.json says what they can do.")
