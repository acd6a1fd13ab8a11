"""`serve`."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from pscli import console
from pscli.cli.app import Device, Dtype, UseParts, app, refuse_idle
from pscli.errors import ConfigError

TOKEN = 16  # characters that a token has at least
HINT = (
    "Say something, or show a photo. The bundled agent knows a small world of cartoons, and no "
    "real photos: try “Hi! Can you send me a photo of a red car?”"
)


@app.command()
def serve(
    ctx: typer.Context,
    agent: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of an agent or run, or a hub id; repeatable.",
            show_default="the bundled one",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; another than this machine's needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 7860,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="PSCLI_TOKEN",
            help="What visitors and programs have to know.",
            show_default="none on this machine, else a new one",
        ),
    ] = None,
    use: UseParts = None,
    device: Device = "auto",
    dtype: Dtype = None,
) -> None:
    """Serve agents: as a page to talk with, and as OpenAI's chat completions for programs.

    Works without a network. Nobody but this machine is answered, unless --host says so.
    """
    if not agent:
        refuse_idle(ctx, ("use",), "the bundled agent")
    console.quiet_libraries()
    from pscli.serve.limits import is_loopback
    from pscli.serve.server import address, check_installed, listen, run, serving

    check_installed()
    if token is not None and (len(token) < TOKEN or not token.isascii() or not token.isprintable()):
        raise ConfigError(
            f"The token is no {TOKEN} or more plain characters.", "Leave it out: one is made."
        )
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    with listen(host, port) as sock:  # before agents are loaded, which takes longer
        agents = _loaded(agent, use, device, dtype)
        with serving(agents, token, "" if agent else HINT) as served:
            console.result(address(sock, token))
            console.note("Ctrl-C ends it.")
            run(served, sock)


def _loaded(
    agents: list[Path] | None, use: list[str] | None, device: str, dtype: str | None
) -> dict[str, Any]:
    """Agents by name."""
    from pscli.serve.host import names_of
    from pscli.systems.agent import Agent

    if not agents:
        console.note("Using the bundled agent; --agent names another.")
    how: Any = {"device": device, "dtype": dtype, "use": use or [], "words_first": True}
    names = names_of(agents) if agents else ["bundled"]
    places: list[Path | None] = [*agents] if agents else [None]
    return {
        name: Agent.from_pretrained(place, **how) for name, place in zip(names, places, strict=True)
    }
