"""`generate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pscli import console
from pscli.cli.app import Device, Dtype, Overwrite, Temperature, UseParts, app, loading, refuse_idle
from pscli.cli.data import going_on
from pscli.cli.train import Preset, Set, configured, setting
from pscli.config import MAX_DRAWINGS, Config, changed
from pscli.errors import ConfigError, DataError
from pscli.processes import first, here, number
from pscli.registry import find, plain
from pscli.systems.place import agent_folder

if TYPE_CHECKING:
    from pscli.predictions.generate import Instance

BIAS: dict[str, Any] = {
    "min": -1000.0, "max": 1000.0, "metavar": "B", "show_default": "the agent's own"
}  # fmt: skip


# Options that only one of the two ways to ask reads, by their parameters.
OF_A_SPLIT = ("split", "count", "photos", "batch", "captions", "history", "overwrite")
OF_A_DIALOGUE = ("speaker", "as_json")


@app.command()
def generate(
    ctx: typer.Context,
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
    system: Annotated[
        str | None,
        typer.Option(
            help="In place of an agent: a system as its pre-trained parts make it, such as "
            "zero-shot.",
            show_default=False,
        ),
    ] = None,
    preset: Preset = None,
    settings: Set = None,
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
    temperature: Temperature = 0.0,
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
            max=MAX_DRAWINGS,
            metavar="N",
            help="Drawings of each caption; the agent's own eyes choose the one that it keeps.",
        ),
    ] = 1,
    overwrite: Overwrite = False,
    use: UseParts = None,
    device: Device = "auto",
    dtype: Dtype = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (--context).")] = False,
) -> None:
    """Let an agent reply: to one dialogue, or to every instance of a split.

    An interrupted split goes on when the same command is given again, without --overwrite.
    """
    if (context is None) == (dataset is None):
        raise typer.BadParameter("give either --context FILE or --dataset NAME.")
    asked, unread = ("--dataset", OF_A_DIALOGUE) if dataset else ("--context", OF_A_SPLIT)
    refuse_idle(ctx, unread, asked)
    if system and agent:
        raise typer.BadParameter("give either --agent or --system.")
    if not system and (preset or settings):
        raise typer.BadParameter("--preset and --set go with --system NAME.")
    if not agent:
        refuse_idle(ctx, ("use",), "--system" if system else "the bundled agent")
    console.quiet_libraries()
    biases = {"share_bias": share_bias, "end_bias": end_bias}
    if system:
        wanted = dict(map(setting, settings or []))
        for name in wanted:
            if not name.startswith(("model.", "sequence.")):
                raise ConfigError(
                    f"--set {name}: nothing is trained here, so it would change nothing.",
                    "Settings of `model` and `sequence` do; further options are above.",
                )
        wanted |= {"dataset": dataset} if dataset else {}
        who = _untrained(configured(system, preset, wanted), dtype)
    else:
        # Whoever names a dataset lets its code run; so may an agent that learnt from it.
        who = _trained(agent, [*(use or []), *filter(None, [dataset])], dtype)
    if context is not None and first():
        out = out or Path("replies")
        loaded = partial(_biased, who, biases, device)
        _reply(context, loaded, out, speaker, seed, temperature, best_of, as_json)
    elif dataset is not None:
        _predict(
            dataset, split, who, device, dtype, biases, out, count, photos, batch, seed,
            temperature, captions, history, best_of, overwrite,
        )  # fmt: skip


@dataclass(frozen=True)
class Who:
    """Who answers.

    Args:
        name: As the settings of the predictions have it.
        short: Name of their folder.
        weights: Gives a fingerprint.
        load: Gives the agent on a device.
        folder: Where the agent was named.
    """

    name: str
    short: str
    weights: Callable[[], str]
    load: Callable[[str], Any]
    folder: Path | None = None


def _trained(agent: Path | None, use: list[str], dtype: str | None) -> Who:
    """The agent of a folder, a run or a hub id; without one the bundled agent."""

    def load(device: str) -> Any:
        from pscli.systems.agent import Agent

        how: Any = {"device": device, "dtype": dtype, "use": use, "words_first": True}
        return Agent.from_pretrained(agent_folder(agent), **how)

    def weights() -> str:
        from pscli.predictions.generate import fingerprint

        return fingerprint(agent_folder(agent))

    if agent is None:
        console.note("Using the bundled agent; --agent names another.")
        return Who("bundled", "bundled", weights, load)
    origin = agent.parent if agent.name == "agent" else agent
    return Who(str(agent), origin.resolve().name, weights, load, agent)


def _untrained(config: Config, dtype: str | None) -> Who:
    """A system that was never trained."""

    def load(device: str) -> Any:
        from pscli.systems.agent import Agent

        return Agent.untrained(config, device=device, dtype=dtype)

    def weights() -> str:
        from pscli.predictions.generate import untrained_fingerprint

        return untrained_fingerprint(config, find("system", config.system).uses)

    return Who(config.system, plain(config.system), weights, load)


def _biased(who: Who, biases: Mapping[str, float | None], device: str) -> Any:
    agent = who.load(device)
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
    with loading():
        from pscli.chat.saved import files_of, listed
        from pscli.chat.screen import show_reply
        from pscli.files import refuse_taken
        from pscli.predictions.generate import read_dialogue, save_photos

        refuse_taken(out)  # whether or not a photo will be sent
        dialogue = read_dialogue(context)
        agent = load()
    how = {"seed": seed, "temperature": temperature, "best_of": best_of}
    reply = agent.respond(dialogue, speaker, **how)
    files = save_photos(reply, out)
    if as_json:
        pairs = {"text": reply.text, "captions": reply.captions, "photos": list(map(str, files))}
        pairs |= {"raw": reply.raw, "notes": list(reply.notes), "unlike": files_of(reply.unlike)}
        said = listed(dialogue.said(reply, speaker), files)  # a context of the next command
        console.show_json(pairs | {"id": dialogue.id, "turns": said})
        return
    show_reply(reply, files)


def _predict(
    dataset: str,
    split: str,
    who: Who,
    device: str,
    dtype: str | None,
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
    from pscli.predictions.generate import instances
    from pscli.predictions.history import predict_after
    from pscli.predictions.settings import CAPTIONS, HISTORIES, Settings
    from pscli.predictions.together import writing_together
    from pscli.predictions.trained import keep_trained

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
    settings = Settings(
        agent=who.name,
        weights=who.weights(),
        dataset=dataset,
        split=split,
        seed=seed,
        temperature=temperature,
        photos=photos,
        captions=captions,
        history=history,
        best_of=best_of,
        dtype=dtype,
        **biases,
    )
    out = out or Path("preds") / who.short
    with going_on(out, overwrite), writing_together(out, settings, overwrite) as writer:
        if writer.done:
            console.note(f"Going on with {out}: {len(writer.done):,} instances are there already.")
        loaded = _biased(who, biases, str(here().device) if number() > 1 else device)
        work = _asked(loaded, work, history)
        others = len(writer.done - {instance.question.key for instance in work})
        if others:
            console.note(
                f"{others:,} of them are not asked for now. They stay, and count in scores."
            )
        with console.progress("Replying", len(work)) as advance:
            predict_after(loaded, work, writer, advance, batch)
        if first() and who.folder:
            keep_trained(out, who.folder, loaded.config)
    console.result(f"{out}: {len(work) + others:,} instances")


def _asked(agent: Any, work: list[Instance], history: str) -> list[Instance]:
    """What this agent is asked, of all instances."""
    from pscli.predictions.generate import due

    asked = due(agent, work)
    if len(asked) == len(work):
        return asked
    if history != "gold":
        raise ConfigError(
            f"--history {history} is for agents that speak; this one only draws.",
            "It reads the words of the dataset: --history gold.",
        )
    if not asked:
        raise DataError("No photo is shared there, and this agent only draws.", "Try more.")
    console.note(f"It only draws: asked where a photo was shared, {len(asked):,} of {len(work):,}.")
    return asked
