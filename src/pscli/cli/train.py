"""`train NAME`, and the two names of it that everybody types."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pscli import console
from pscli.cli.app import Overwrite, app
from pscli.config import Config, changed, preset_of
from pscli.errors import CheckpointError, ConfigError
from pscli.processes import first, number
from pscli.registry import check, find, plain
from pscli.runs import Run

Dataset = Annotated[str | None, typer.Option(help="What to train on.", show_default="photoworld")]
Preset = Annotated[
    str | None,
    typer.Option(
        help="Configuration: demo, tiny, small, lora-24gb, paper, sun2022 or sun2023.",
        show_default="paper for photochat, dialogcc and mmdialog, else tiny",
    ),
]
System = Annotated[
    str,
    typer.Argument(
        help="e2e, pipeline, divter, tiger, voken, queries, dialog2image (docs/systems.md), or "
        "module:object."
    ),
]
Photos = Annotated[
    str | None,
    typer.Option(
        help="Photos that cannot be had: described by their captions, or strict: not used.",
        show_default="described",
    ),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of all noise.", show_default="0")]
Folder = Annotated[
    Path | None,
    # torchrun takes --run for an option of its own.
    typer.Option(
        "--run", "--run-folder", help="Folder of the run.", show_default="runs/SYSTEM-DATE-TIME"
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run where it stopped.")]
Tracker = Annotated[
    Literal["tensorboard", "wandb"] | None,
    typer.Option("--log-with", help="Send every figure to this tracker, too.", show_default="none"),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=v", help="Any setting, such as train.lr=1e-4; repeatable."),
]
Perceptron = Annotated[
    str | None,
    typer.Option(
        help="How photos are seen: qformer, linear or yours.", show_default="the preset's"
    ),
]
Generator = Annotated[
    str | None,
    typer.Option(
        help="What draws: stable-diffusion, others (docs/systems.md) or yours.",
        show_default="the preset's",
    ),
]
Bridge = Annotated[
    str | None,
    typer.Option(
        help="How L^v reaches the LLM: dvtm, none, others (docs/bridge.md) or yours.",
        show_default="dvtm",
    ),
]


@app.command("train-e2e")
def train_e2e(
    dataset: Dataset = None,
    photos: Photos = None,
    preset: Preset = None,
    perceptron: Perceptron = None,
    bridge: Bridge = None,
    generator: Generator = None,
    seed: Seed = None,
    run: Folder = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    log_with: Tracker = None,
    settings: Set = None,
) -> None:
    """Train the end-to-end system: perceptron, LLM and generator, by one loss."""
    train(
        "e2e", dataset, photos, preset, perceptron, bridge, generator, seed, run, resume, overwrite,
        log_with, settings,
    )  # fmt: skip


@app.command("train-pipeline")
def train_pipeline(
    dataset: Dataset = None,
    photos: Photos = None,
    preset: Preset = None,
    generator: Generator = None,
    seed: Seed = None,
    run: Folder = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    log_with: Tracker = None,
    settings: Set = None,
) -> None:
    """Train the pipeline that the paper compares with: its parts learn apart."""
    train(
        "pipeline",
        dataset,
        photos,
        preset,
        None,
        None,
        generator,
        seed,
        run,
        resume,
        overwrite,
        log_with,
        settings,
    )


@app.command()
def train(
    name: System,
    dataset: Dataset = None,
    photos: Photos = None,
    preset: Preset = None,
    perceptron: Perceptron = None,
    bridge: Bridge = None,
    generator: Generator = None,
    seed: Seed = None,
    run: Folder = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    log_with: Tracker = None,
    settings: Set = None,
) -> None:
    """Train any system by its name."""
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite contradict each other.", "Give one of them.")
    options = {
        "preset": preset if resume else None, "dataset": dataset, "photos": photos,
        "seed": seed,
        "model.perceptron.kind": perceptron, "model.bridge": bridge,
        "model.generator.kind": generator,
    }  # fmt: skip
    wanted = asked_for(options, settings)
    config = _resumed(name, run, wanted) if resume else configured(name, preset, wanted)
    if number() > 1 and run is None:
        raise ConfigError(
            "Several processes need one name for their run.", "Name it: --run-folder runs/NAME."
        )
    folder = run or Path("runs") / f"{plain(name)}-{time.strftime('%Y%m%d-%H%M%S')}"
    if not resume and first():
        Run.check(folder, overwrite)
    console.quiet_libraries()
    from pscli.training.experiment import run_training

    run_training(config, folder, resume=resume, overwrite=overwrite, tracker=log_with)
    console.result(str(folder / "agent"))


def setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"--set {text} has no value.", "Write --set train.lr=1e-4, for example.")
    return name.strip(), value.strip()


def asked_for(options: Mapping[str, Any], settings: Sequence[str] | None) -> dict[str, Any]:
    """Settings by name: of the options that were given, and of `--set`, which wins."""
    given = {name: value for name, value in options.items() if value is not None}
    return given | dict(map(setting, settings or []))


def configured(system: str, preset: str | None, wanted: dict[str, Any]) -> Config:
    """A preset, by default the one that the dataset means, with settings by name."""
    if "preset" in wanted:
        raise ConfigError("--set preset=… would change its name alone.", "Use --preset.")
    dataset = wanted.get("dataset", Config().dataset)
    config: Config = find("preset", preset or preset_of(dataset))(system)
    for name, value in wanted.items():
        config = changed(config, name, value)
    if config.system != system:
        raise ConfigError(f"This command trains '{system}', not '{config.system}'.")
    for kind, name in config.code.values():
        check(kind, name)
    return config


def _resumed(system: str, folder: Path | None, wanted: dict[str, Any]) -> Config:
    if folder is None:
        raise ConfigError("--resume goes on with a run.", "Name it: --run runs/NAME.")
    # Code that the run was started with must be named again.
    then = Run(folder).config(use=[system, *map(str, wanted.values())])
    if then.system != system:
        raise CheckpointError(
            f"{folder} trains '{then.system}'.", f"Use `pscli train {then.system}`."
        )
    for name, value in wanted.items():
        if changed(then, name, value) != then:
            raise CheckpointError(
                f"{folder} was started with another {name} than {value}.",
                "Leave the option out to go on with the run, or start a new one.",
            )
    return then
