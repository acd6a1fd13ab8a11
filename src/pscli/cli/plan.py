"""`plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pscli import console
from pscli.cli.app import AsJson, app
from pscli.cli.train import (
    Bridge,
    Dataset,
    Generator,
    Perceptron,
    Photos,
    Preset,
    Set,
    System,
    asked_for,
    configured,
)
from pscli.errors import DataError
from pscli.registry import find

if TYPE_CHECKING:
    from rich.table import Table

    from pscli.config import Config
    from pscli.dialogue.schema import Dialogue
    from pscli.plan.estimate import Estimate


@app.command()
def plan(
    name: System = "e2e",
    dataset: Dataset = None,
    photos: Photos = None,
    preset: Preset = None,
    perceptron: Perceptron = None,
    bridge: Bridge = None,
    generator: Generator = None,
    settings: Set = None,
    devices: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Devices that share weights, gradients and moments (FSDP).",
            show_default="1",
        ),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(min=0.0, metavar="GB", help="Memory of each.", show_default="this machine's"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count what training would take: parameters, memory, disk and work; nothing is loaded.

    The same sum is done before `train` begins. Exits with 0 also where it does not fit.
    """
    options = {
        "dataset": dataset, "photos": photos, "train.memory_gb": memory,
        "model.perceptron.kind": perceptron, "model.bridge": bridge,
        "model.generator.kind": generator,
    }  # fmt: skip
    config = configured(name, preset, asked_for(options, settings))
    console.quiet_libraries()
    from pscli.plan.advice import gigabytes, needs, remedy
    from pscli.plan.estimate import estimate
    from pscli.plan.machine import machine
    from pscli.plan.parts import by_name

    for part in find("system", name).uses:
        if by_name(named := getattr(config.model, part)):
            console.note(
                f"{named.weights} has no {named.kind}: its size is the published one. Before "
                f"training, name its weights: --set model.{part}.weights=FOLDER"
            )
    there = machine(config, devices)
    dialogues = _dialogues(config)
    found = estimate(config, dialogues, device=there.kind, devices=there.sharing)
    fits = found.peak <= there.memory
    advice = "" if fits else remedy(config, found, there, dialogues)
    if as_json:
        verdict = {"memory": there.memory, "fits": fits, "advice": advice}
        console.show_json(found.to_json() | verdict)
        return
    console.show(_components(found))
    console.show(_memory(found))
    console.result(_work(found, config))
    verb = "fits" if fits else "does not fit"
    console.result(
        f"{needs(found)} {verb} into the {gigabytes(there.memory)} of {there.name}. {advice}"
    )


def _dialogues(config: Config) -> list[Dialogue]:
    """Some of the training split, to count their tokens and photos; none if it is not on disk."""
    from pscli.datasets.base import load, named
    from pscli.plan.work import SAMPLE

    count = min(config.train.dialogues or SAMPLE, SAMPLE)
    try:
        return load(named(config.dataset), "train", count, config.photos)
    except DataError as error:
        console.note(f"{error.message} Sequences are taken to be as long as they may be.")
        return []


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(title)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _components(found: Estimate) -> Table:
    table = _table("parameters", "trained", "frozen", "weights")
    for part in found.components:
        table.add_row(part.name, f"{part.trained:,}", f"{part.frozen:,}", _size(part.weights))
    trained = sum(part.trained for part in found.components)
    frozen = sum(part.frozen for part in found.components)
    table.add_section()
    weights = sum(part.weights for part in found.components)
    table.add_row("all", f"{trained:,}", f"{frozen:,}", _size(weights))
    return table


def _memory(found: Estimate) -> Table:
    shared = f", each of {found.devices}" if found.devices > 1 else ""
    table = _table(f"memory of a device{shared}", "")
    rows: list[tuple[str, Any]] = [
        ("program and libraries", found.program),
        ("weights", found.weights),
        ("gradients", found.gradients),
        ("optimizer", found.optimizer),
        ("a step: activations and temporary values", found.activations),
        ("   logits among them, at most", found.logits),
        ("or an evaluation, after a step", found.evaluation),
        ("   keys and values among it", found.caches),
    ]
    for name, size in rows:
        table.add_row(name, _size(size))
    table.add_section()
    table.add_row("most at once", _size(found.peak))
    if found.host:
        table.add_row("host memory", _size(found.host))
    table.add_row("disk: two checkpoints", _size(found.checkpoints))
    table.add_row("disk: an agent", _size(found.agent))
    return table


def _work(found: Estimate, config: Config) -> str:
    """What a step works on."""
    work = found.work
    how = "as long as they may be" if not work.counted else f"of {config.dataset}"
    return (
        f"A step: {config.train.batch} dialogues {how}, {found.tokens:,.0f} tokens, "
        f"{found.flops / 1e12:,.1f} TFLOP. A micro-batch: {work.sequences} × {work.length:,} "
        f"tokens, {work.seen} photos seen and {work.drawn} drawn."
    )


def _size(size: float) -> str:
    return f"{size / 1e9:,.2f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"
