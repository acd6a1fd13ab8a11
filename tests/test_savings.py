"""What saves memory in training: activations computed again, 8-bit moments, bf16."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate.state import AcceleratorState

from pscli.errors import ConfigError
from pscli.runs import Run
from pscli.training.loop import train
from test_training import config, curve, scores


@pytest.fixture
def dialogues(random_dialogue: Any) -> list[Any]:
    return [random_dialogue(i) for i in range(12)]


def test_recomputed_activations_trace_the_same_curve(
    build: SimpleNamespace, dialogues: list[Any], tmp_path: Path
) -> None:
    """Oracle: the run that keeps them."""
    layers: list[int] = []
    curves = []
    for kept in (True, False):
        system = build.end_to_end().freeze()
        layer = system.llm.model.model.layers[0].mlp
        layer.register_forward_pre_hook(lambda *_: layers.append(1))
        layers.clear()
        train(system, dialogues, config(checkpointing=not kept, epochs=1.0), Run(tmp_path), scores)
        curves.append((curve(tmp_path), len(layers)))
    (kept_curve, forwards), (again, twice) = curves
    assert again == kept_curve
    assert twice > forwards


def test_moments_in_8_bits_resume_bit_for_bit(
    build: SimpleNamespace, dialogues: list[Any], tmp_path: Path
) -> None:
    """Oracle: the run that was never interrupted."""
    pytest.importorskip("bitsandbytes")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    eight = {"optimizer": "adamw-8bit", "lr": 1e-4}
    train(build.end_to_end(), dialogues, config(**eight), Run(whole), scores)
    for epochs in (1.0, 2.0):
        cut = config(**eight, epochs=epochs)
        train(build.end_to_end(), dialogues, cut, Run(halves), scores, resume=epochs > 1)
    assert curve(halves) == curve(whole)
    full = tmp_path / "full"
    train(build.end_to_end(), dialogues, config(lr=1e-4), Run(full), scores)
    ours, theirs = curve(whole), curve(full)
    assert ours != theirs
    assert ours[-2]["loss"] == pytest.approx(theirs[-2]["loss"], rel=0.02)


def test_8_bits_without_bitsandbytes(
    build: SimpleNamespace, dialogues: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ConfigError, match=r"adamw-8bit needs bitsandbytes.*pip install bits"):
        train(build.end_to_end(), dialogues, config(optimizer="adamw-8bit"), Run(tmp_path), scores)


def test_bf16_is_near_float32(build: SimpleNamespace, dialogues: list[Any], tmp_path: Path) -> None:
    """Losses of 7 within 1e-2 of each other in the mean: bf16 has 8 bits."""
    curves = []
    for precision in ("no", "bf16"):
        AcceleratorState._reset_state()
        run = Run(tmp_path / precision)
        train(build.end_to_end(), dialogues, config(precision=precision, lr=1e-4), run, scores)
        curves.append([line["loss"] for line in curve(run.folder) if "loss" in line])
    AcceleratorState._reset_state()
    ours, theirs = curves
    assert ours != theirs
    assert ours == pytest.approx(theirs, abs=2e-2)
    apart = [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    assert sum(apart) / len(apart) < 1e-2
