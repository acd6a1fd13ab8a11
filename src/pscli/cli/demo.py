"""`demo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from pscli import console
from pscli.cli.app import Device, app, loading
from pscli.errors import DataError
from pscli.registry import find


@app.command()
def demo(
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to keep the conversation in.", show_default="it is not kept"),
    ] = None,
    device: Device = "auto",
) -> None:
    """Show a conversation with the bundled agent: it has seen a photo, and draws one."""
    console.quiet_libraries()
    file = out / "dialog.json" if out else None
    if file and file.exists():
        raise DataError(f"{file} is there already.", "Choose another folder.")
    if out:
        out.mkdir(parents=True, exist_ok=True)
    from pscli.chat.screen import show_turns

    dialogue = find("conversation", "showcase")()
    show_turns(dialogue, dialogue.turns)
    began = time.perf_counter()
    with loading():
        from pscli.chat.saved import save
        from pscli.systems.agent import Agent

        agent = Agent.from_pretrained(device=device)
    reply = agent.respond(dialogue)
    said = dialogue.said(reply)
    show_turns(said, said.turns[len(dialogue.turns) :], answer=True)
    console.note(f"The last answer is the bundled agent's ({time.perf_counter() - began:.1f} s).")
    if file:
        save(said, file)
        console.note(f"Go on with it: pscli chat --context {file}")
    else:
        console.note("Talk with it: pscli chat. Keep this conversation: pscli demo --out FOLDER.")
