"""Trackers get what metrics.jsonl gets: over a resumed run, and from the first process alone."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pscli.cli import app
from pscli.config import Config
from pscli.errors import ConfigError
from pscli.files import write_json
from pscli.runs import Run
from pscli.training import trackers
from test_loop import config, scores, trained
from test_several import clip, launch, lines  # noqa: F401

pytest.importorskip("tensorboard")


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by name, as TensorBoard reads a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    reader.Reload()
    names = reader.Tags()["scalars"]
    return {name: [(e.step, e.value) for e in reader.Scalars(name)] for name in names}


def figures(metrics: list[dict[str, float]]) -> dict[str, list[tuple[int, float]]]:
    """The same of metrics.jsonl, rounded as TensorBoard keeps numbers."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in metrics:
        for name, value in line.items():
            found.setdefault(name, []).append((int(line["step"]), pytest.approx(value, rel=1e-6)))
    del found["step"]
    return found


def test_tensorboard_has_every_figure(tmp_path: Path) -> None:
    _, metrics = trained(tmp_path, settings=config(epochs=3.0), tracker="tensorboard")
    assert len(metrics) == 6  # three steps, three evaluations
    found = events(tmp_path / "logs")
    assert set(found) >= {"loss", "text", "image", "tau", "lr", "BLEU-2", "grad_llm_from_image"}
    assert found == figures(metrics)


def test_a_resumed_run_goes_on_in_the_same_place(tmp_path: Path) -> None:
    """Oracle: the whole run. Step 3 is logged before the run dies, and again when it goes on."""

    def dies(system: Any, step: int) -> dict[str, float]:
        if step == 4:
            raise MemoryError
        return scores(system, step)

    settings = config(batch=2, epochs=3.0)
    with pytest.raises(MemoryError):
        trained(tmp_path, settings=settings, evaluate=dies, tracker="tensorboard")
    _, metrics = trained(tmp_path, settings=settings, resume=True, tracker="tensorboard")
    assert len(list((tmp_path / "logs").iterdir())) == 2
    assert events(tmp_path / "logs") == figures(metrics)


def test_without_a_tracker_nothing_is_kept(tmp_path: Path) -> None:
    trained(tmp_path)
    assert not (tmp_path / "logs").exists()


def test_other_processes_do_not_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with trackers.tracked("tensorboard", Run(tmp_path), Config(), 0) as track:
        track({"loss": 1.0}, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_of_two_processes_the_first_logs(clip: Path, tmp_path: Path) -> None:  # noqa: F811
    launch(clip, tmp_path, 2, {"name": "r", "tracker": "tensorboard"})
    assert len(list((tmp_path / "r" / "logs").iterdir())) == 1
    assert events(tmp_path / "r" / "logs") == figures(lines(tmp_path / "r"))


def test_a_run_keeps_its_name_when_it_is_resumed_and_another_takes_a_new_one(
    tmp_path: Path,
) -> None:
    first = Run.start(tmp_path / "r", Config()).identity
    assert Run(tmp_path / "r").identity == first
    assert Run.start(tmp_path / "s", Config()).identity != first
    os.utime(tmp_path / "r" / "config.json", ns=(1, 1))
    assert Run(tmp_path / "r").identity != first


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    here = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "wandb" else here(n)
    )
    result = CliRunner().invoke(app, ["train-e2e", "--log-with", "wandb", "--run", "r"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "Error: --log-with wandb needs the package wandb.\nInstall it: pip install wandb.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_tracker_is_told() -> None:
    result = CliRunner().invoke(app, ["train-e2e", "--log-with", "tensorbord"])
    assert result.exit_code == 2
    assert "'tensorbord'" in result.stderr and "wandb" in result.stderr
    with pytest.raises(ConfigError, match="Unknown tracker 'mlflow'"):
        trackers.check("mlflow")


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="needs wandb")
def test_wandb_keeps_a_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    settings = config(epochs=2.0)
    write_json(tmp_path / "config.json", settings.to_json())
    for resume in (False, True):
        trained(tmp_path, settings=settings, tracker="wandb", resume=resume)
    kept = sorted((tmp_path / "logs" / "wandb").glob("offline-run-*"))
    assert len(kept) == 2
    assert {path.name.rsplit("-", 1)[1] for path in kept} == {Run(tmp_path).identity}
    data = next(kept[0].glob("*.wandb")).read_bytes()
    assert b"BLEU-2" in data and b"grad_llm" in data and b"train.lr" in data
