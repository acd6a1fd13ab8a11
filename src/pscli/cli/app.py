"""The program: how every command fails, and the options that all share."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Collection, Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pscli import console
from pscli.cli.versions import versions
from pscli.errors import PscliError

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Device = Annotated[
    str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:1 …, mps.", show_default=True)
]
Dtype = Annotated[
    str | None,
    typer.Option(help="Of all weights: float32, bfloat16 or float16.", show_default="as trained"),
]
# Endless would be no number that JSON has; far below that end all tokens are alike.
Temperature = Annotated[
    float, typer.Option(min=0.0, max=1000.0, help="Of sampling; 0 takes the likeliest token.")
]
UseParts = Annotated[
    list[str] | None,
    typer.Option(metavar="MODULE:NAME", help="Code that the agent's own parts need; repeatable."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Commands(TyperGroup):
    """Expected failures are told without a traceback and exit with 2, Ctrl-C exits with 130."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            console.note("Interrupted.")
            raise typer.Exit(130) from error
        except BrokenPipeError:
            raise  # whoever read our results has seen enough; Typer closes the stream
        except (PscliError, OSError) as error:
            if ctx.params.get("debug"):
                raise
            console.show_error(error if isinstance(error, PscliError) else _told(error))
            raise typer.Exit(2) from error


def _told(error: OSError) -> PscliError:
    """A full disk, a folder that may not be written, and the like."""
    where = f"{error.filename}: " if error.filename else ""
    there = isinstance(error, FileExistsError | NotADirectoryError)
    hint = "A folder was to be there: name another." if there else ""
    return PscliError(f"{where}{error.strerror or error}.", hint)


app = typer.Typer(
    cls=Commands,
    name="pscli",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The `pscli` program."""
    console.fit_streams()
    app(prog_name="pscli")


def refuse_idle(ctx: typer.Context, unread: Collection[str], reader: str) -> None:
    """Raises BadParameter at options that were given for nothing.

    Args:
        unread: Parameters that `reader` does not read.
    """
    idle = [p.opts[0] for p in ctx.command.params if p.name in unread and _typed(ctx, p.name)]
    if idle:
        raise typer.BadParameter(f"{', '.join(idle)}: {reader} does not read it. Leave it out.")


def _typed(ctx: typer.Context, parameter: str) -> bool:
    """Whether a parameter was given."""
    source = ctx.get_parameter_source(parameter)
    return source is not None and source.name != "DEFAULT"


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """To be around what loads the libraries and an agent, where somebody waits for its first word.

    Nothing of what they make is garbage, but the collector would look through all of it, more than
    half a million objects, again and again: a quarter of the time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _version(wanted: bool) -> None:
    if wanted:
        for name, found in versions().items():
            console.result(f"{name} {found}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the versions.")
    ] = False,
) -> None:
    """Photo-sharing dialogue, end to end: train agents that see and send photos, and score them.

    Results go to stdout, progress to stderr.
    """
