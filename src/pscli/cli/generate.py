"""`generate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from pscli import console
from pscli.cli.app import Device, Overwrite, app
from pscli.config import changed
from pscli.errors import ConfigError, DataError
from pscli.processes import first, here, number
from pscli.systems.place import agent_folder

BIAS: dict[str, Any] = {
    "min": -1000.0, "max": 1000.0, "metavar": "B", "show_default": "the agent's own"
}  # fmt: skip


@app.command()
def generate(
    context: Annotated[
        Path | None, typer.Option(help="Answer the dialogue in this JSON file.", show_default=False)
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Answer a split of this dataset.", show_default=False)
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the dataset.")] = "test",
    agent: Annotated[
        Path | None,
        typer.Option(
            help="Folder of an agent or run, or a hub id.", show_default="the bundled one"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write.", show_default="replies, or preds/AGENT"),
    ] = None,
    speaker: Annotated[
        str | None,
        typer.Option(help="Who replies (--context).", show_default="who did not speak last"),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Dialogues (--dataset).", show_default="all")
    ] = None,
    photos: Annotated[
        str, typer.Option(help="Photos that cannot be had: described, or strict (--dataset).")
    ] = "described",
    batch: Annotated[int, typer.Option(min=1, help="Instances at once (--dataset).")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the photos, and of sampling.")] = 0,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="Of sampling; 0 takes the likeliest token.")
    ] = 0.0,
    share_bias: Annotated[
        float | None,
        typer.Option(
            help="Added to the logit of [IMG]: above 0, photos are shared more readily.", **BIAS
        ),
    ] = None,
    end_bias: Annotated[
        float | None,
        typer.Option(help="Added to the logit of the end: below 0, replies are longer.", **BIAS),
    ] = None,
    captions: Annotated[
        str, typer.Option(help="Captions to draw: predicted, or gold ones (--dataset).")
    ] = "predicted",
    history: Annotated[
        str,
        typer.Option(
            help="Contexts: gold; with photos drawn by the agent; or its own words and photos, as "
            "it plays either speaker (--dataset)."
        ),
    ] = "gold",
    best_of: Annotated[
        int,
        typer.Option(
            "--best-of",
            min=1,
            metavar="N",
            help="Drawings of each caption; the agent's own eyes choose the one that it keeps.",
        ),
    ] = 1,
    overwrite: Overwrite = False,
    use: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:NAME", help="Code that the agent's own parts need; repeatable."
        ),
    ] = None,
    device: Device = "auto",
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Of all weights: float32, bfloat16 or float16.", show_default="as trained"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (--context).")] = False,
) -> None:
    """Let an agent reply: to one dialogue, or to every instance of a split.

    An interrupted split goes on when the same command is given again.
    """
    if (context is None) == (dataset is None):
        raise typer.BadParameter("give either --context FILE or --dataset NAME.")
    console.quiet_libraries()
    biases = {"share_bias": share_bias, "end_bias": end_bias}
    # Whoever names a dataset lets its code run; so an agent that learnt from it may name it, too.
    load = partial(_agent, use=[*(use or []), *filter(None, [dataset])], biases=biases, dtype=dtype)
    if agent is None:
        console.note("Using the bundled agent; --agent names another.")
    if context is not None and first():
        out = out or Path("replies")
        loaded = partial(load, agent, device)
        _reply(context, loaded, out, speaker, seed, temperature, best_of, as_json)
    elif dataset is not None:
        _predict(
            dataset, split, agent, load, device, biases, out, count, photos, batch, seed,
            temperature, captions, history, best_of, overwrite,
        )  # fmt: skip


def _agent(
    folder: Path | None,
    device: str,
    use: list[str],
    biases: Mapping[str, float | None],
    dtype: str | None,
) -> Any:
    from pscli.systems.agent import Agent

    agent = Agent.from_pretrained(folder, device=device, dtype=dtype, use=use)
    for name, bias in biases.items():
        if bias is not None:
            agent.config = changed(agent.config, f"sequence.{name}", bias)
    return agent


def _reply(
    context: Path,
    load: Callable[[], Any],
    out: Path,
    speaker: str | None,
    seed: int,
    temperature: float,
    best_of: int,
    as_json: bool,
) -> None:
    from pscli.dialogue.schema import Photo
    from pscli.predictions.generate import read_dialogue, save_photos

    dialogue = read_dialogue(context)
    how = {"seed": seed, "temperature": temperature, "best_of": best_of}
    reply = load().respond(dialogue, speaker, **how)
    files = save_photos(reply, out)
    if as_json:
        pairs = {"text": reply.text, "captions": reply.captions, "photos": list(map(str, files))}
        console.show_json(pairs | {"raw": reply.raw, "notes": list(reply.notes)})
        return
    left = iter(files)
    for part in reply.parts:
        if isinstance(part, Photo):
            console.result(f"[photo] {part.caption} → {next(left)}")
            if console.shows_pictures():
                console.show(console.half_blocks(part.open(), min(64, console.stdout.width)))
        else:
            console.result(part)
    if not reply.parts:
        console.note("The agent has nothing to say.")
    for note in reply.notes:
        console.note(f"Note: {note}")


def _predict(
    dataset: str,
    split: str,
    agent: Path | None,
    load: Callable[[Path, str], Any],
    device: str,
    biases: Mapping[str, float | None],
    out: Path | None,
    count: int | None,
    photos: str,
    batch: int,
    seed: int,
    temperature: float,
    captions: str,
    history: str,
    best_of: int,
    overwrite: bool,
) -> None:
    from pscli.datasets.base import load as dialogues
    from pscli.datasets.base import named
    from pscli.predictions.generate import fingerprint, instances
    from pscli.predictions.history import predict_after
    from pscli.predictions.settings import CAPTIONS, HISTORIES, Settings
    from pscli.predictions.together import writing_together

    for name, value, values in (("captions", captions, CAPTIONS), ("history", history, HISTORIES)):
        if value not in values:
            raise ConfigError(f"--{name} is '{value}'.", f"Known: {', '.join(values)}.")
    work = instances(
        dialogues(named(dataset), split, count, photos)
    )  # before an agent is loaded, which takes longer
    if not work:
        raise DataError(
            f"No dialogue of {dataset} {split} has two responses.", "Try another split."
        )
    folder = agent_folder(agent)
    settings = Settings(
        agent=str(agent) if agent else "bundled",
        weights=fingerprint(folder),
        dataset=dataset,
        split=split,
        seed=seed,
        temperature=temperature,
        photos=photos,
        captions=captions,
        history=history,
        best_of=best_of,
        **biases,
    )
    origin = agent.parent if agent and agent.name == "agent" else agent
    out = out or Path("preds") / (origin.resolve().name if origin else "bundled")
    try:
        with writing_together(out, settings, overwrite) as writer:
            if writer.done:
                console.note(
                    f"Going on with {out}: {len(writer.done):,} instances are there already."
                )
            loaded = load(folder, str(here().device) if number() > 1 else device)
            with console.progress("Replying", len(work)) as advance:
                predict_after(loaded, work, writer, advance, batch)
    except KeyboardInterrupt:
        console.note("Stopped. Give the same command again to go on.")
        raise
    console.result(f"{out}: {len(work):,} instances")
