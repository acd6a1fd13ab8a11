"""`foundations`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pscli import console
from pscli.cli.app import app
from pscli.registry import find


@app.command()
def foundations(
    work: Annotated[
        Path, typer.Option(help="Folder for what is unfinished; it is resumed.")
    ] = Path("runs/foundations"),
    out: Annotated[
        Path | None, typer.Option(help="Folder to write.", show_default="the package's own")
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="STAGE", help="A single stage.", show_default="all")
    ] = None,
) -> None:
    """Pre-train photoworld's foundations again: eyes, tongue and brush, in hours."""
    console.quiet_libraries()
    find("foundations", "photoworld")(work, out, only)
