"""`train-e2e` and `train-pipeline`."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from pscli import console
from pscli.cli.app import Overwrite, app
from pscli.config import Config, changed
from pscli.errors import CheckpointError, ConfigError
from pscli.registry import check, find

RUN_CONFIG = "config.json"

Dataset = Annotated[str | None, typer.Option(help="What to train on.", show_default="photoworld")]
Preset = Annotated[
    str | None, typer.Option(help="Configuration: demo, tiny or paper.", show_default="tiny")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of all noise.", show_default="0")]
Run = Annotated[
    Path | None, typer.Option(help="Folder of the run.", show_default="runs/SYSTEM-DATE-TIME")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run where it stopped.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=v", help="Any setting, such as train.lr=1e-4; repeatable."),
]


@app.command("train-e2e")
def train_e2e(
    dataset: Dataset = None,
    preset: Preset = None,
    perceptron: Annotated[
        str | None,
        typer.Option(help="How photos are seen: qformer or linear.", show_default="qformer"),
    ] = None,
    bridge: Annotated[
        str | None,
        typer.Option(
            help="How L^v reaches the LLM: dvtm, dvtm-word, vtm, soft, none …", show_default="dvtm"
        ),
    ] = None,
    seed: Seed = None,
    run: Run = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    settings: Set = None,
) -> None:
    """Train the end-to-end system: perceptron, LLM and generator, by one loss."""
    named = {"model.perceptron": perceptron, "model.bridge": bridge}
    _train(
        "e2e", preset, {"dataset": dataset, "seed": seed, **named}, settings, run, resume, overwrite
    )


@app.command("train-pipeline")
def train_pipeline(
    dataset: Dataset = None,
    preset: Preset = None,
    seed: Seed = None,
    run: Run = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    settings: Set = None,
) -> None:
    """Train the pipeline that the paper compares with: its parts learn apart."""
    named = {"dataset": dataset, "seed": seed}
    _train("pipeline", preset, named, settings, run, resume, overwrite)


def _train(
    system: str,
    preset: str | None,
    named: dict[str, Any],
    settings: list[str] | None,
    run: Path | None,
    resume: bool,
    overwrite: bool,
) -> None:
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite contradict each other.", "Give one of them.")
    wanted = {name: value for name, value in named.items() if value is not None}
    wanted |= dict(map(_setting, settings or []))
    if resume:
        config = _resumed(system, run, wanted | ({"preset": preset} if preset else {}))
    else:
        config = _checked(system, find("preset", preset or "tiny")(system), wanted)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and run is None:
        raise ConfigError("Several processes need one name for their run.", "Name it: --run.")
    run = run or Path("runs") / f"{system}-{time.strftime('%Y%m%d-%H%M%S')}"
    if not resume and os.environ.get("RANK", "0") == "0":
        _open_run(run, config, overwrite)
    console.quiet_libraries()
    from pscli.training.experiment import run_training

    run_training(config, run, resume=resume)
    console.result(str(run / "agent"))


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"--set {text} has no value.", "Write --set train.lr=1e-4, for example.")
    return name.strip(), value.strip()


def _checked(system: str, config: Config, wanted: dict[str, Any]) -> Config:
    for name, value in wanted.items():
        config = changed(config, name, value)
    if config.system != system:
        raise ConfigError(f"This command trains '{system}', not '{config.system}'.")
    check("dataset", config.dataset)
    check("perceptron", config.model.perceptron)
    check("bridge", config.model.bridge)
    return config


def _resumed(system: str, run: Path | None, wanted: dict[str, Any]) -> Config:
    if run is None:
        raise ConfigError("--resume goes on with a run.", "Name it: --run runs/NAME.")
    try:
        then = Config.from_json(json.loads((run / RUN_CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{run} cannot be resumed: its {RUN_CONFIG} cannot be read.",
            "Name a run that was started before, or start one without --resume.",
        ) from error
    if then.system != system:
        raise CheckpointError(f"{run} trains '{then.system}'.", f"Use `pscli train-{then.system}`.")
    for name, value in wanted.items():
        if changed(then, name, value) != then:
            raise CheckpointError(
                f"{run} was started with another {name} than {value}.",
                "Leave the option out to go on with the run, or start a new one.",
            )
    return then


def _open_run(run: Path, config: Config, overwrite: bool) -> None:
    from pscli.files import claim

    try:
        claim(run, RUN_CONFIG, overwrite)
    except CheckpointError as error:
        going_on = " Go on with it: --resume." if (run / RUN_CONFIG).is_file() else ""
        raise CheckpointError(error.message, error.hint + going_on) from None
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    (run / RUN_CONFIG).write_text(json.dumps(config.to_json(), indent=1), encoding="utf-8")
