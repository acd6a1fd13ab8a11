"""`push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pscli import console
from pscli.cli.app import app


@app.command()
def push(
    agent: Annotated[Path, typer.Argument(help="Folder of an agent or run.")],
    id: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="What it is called there.")],
    private: Annotated[bool, typer.Option("--private", help="For you alone.")] = False,
    revision: Annotated[
        str | None, typer.Option(help="Branch to write.", show_default="main")
    ] = None,
) -> None:
    """Send an agent, with its model card, to the Hugging Face hub."""
    console.quiet_libraries()
    from pscli.systems.place import push as send

    console.result(send(agent, id, private=private, revision=revision))
