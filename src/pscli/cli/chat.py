"""`chat`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pscli import console
from pscli.cli.app import Device, Dtype, Temperature, UseParts, app, loading, refuse_idle
from pscli.errors import ConfigError


@app.command()
def chat(
    ctx: typer.Context,
    photo: Annotated[
        Path | None,
        typer.Argument(metavar="PHOTO", help="A photo to begin with.", show_default=False),
    ] = None,
    context: Annotated[
        Path | None,
        typer.Option(help="Go on with the dialogue in this JSON file.", show_default=False),
    ] = None,
    agent: Annotated[
        Path | None,
        typer.Option(
            help="Folder of an agent or run, or a hub id.", show_default="the bundled one"
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the photos that are drawn.")] = Path(
        "replies"
    ),
    speaker: Annotated[
        str | None,
        typer.Option(help="Who the agent is.", show_default="the second one who speaks"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the photos, and of sampling.")] = 0,
    temperature: Temperature = 0.0,
    use: UseParts = None,
    device: Device = "auto",
    dtype: Dtype = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the talk as JSON at its end.")
    ] = False,
) -> None:
    """Talk with an agent: show it photos, and see those that it draws.

    Without a terminal, every line of stdin is said, and the replies are plain lines.
    """
    if agent is None:
        refuse_idle(ctx, ("use",), "the bundled agent")
    if photo and photo.is_dir():
        raise ConfigError(
            f"{photo} is a folder and no photo.", f"If it is an agent's: --agent {photo}"
        )
    console.quiet_libraries()
    if agent is None:
        console.note("Using the bundled agent; --agent names another.")
    with loading():
        from pscli.chat.commands import Talk, completions
        from pscli.chat.pictures import protocol
        from pscli.chat.typing import Lines
        from pscli.files import refuse_taken
        from pscli.predictions.generate import read_dialogue
        from pscli.systems.agent import Agent

        refuse_taken(out)
        lines = Lines(completions)
        dialogue = read_dialogue(context) if context else None
        loaded = Agent.from_pretrained(
            agent, device=device, dtype=dtype, use=use or [], words_first=True
        )
    talking = loaded.chat(dialogue, speaker)
    talking.seed, talking.temperature = seed, temperature
    streams = lines.terminal and not as_json
    talk = Talk(talking, out, line=console.note if as_json else console.result, streams=streams)
    if streams and console.shows_pictures():
        protocol()  # the terminal is asked before anybody types
    talk.greet()
    if photo:
        talk.photo(str(photo))
    talk.run(lines)
    if as_json:
        console.show_json(talk.to_json())
