"""`pscli foundations composing`: practice at drawing what was never shown together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pscli.components.generator import StableDiffusion
from pscli.components.load import Load
from pscli.config import ModelConfig, PartConfig
from pscli.errors import CheckpointError
from pscli.photoworld.foundations.build import Recipe as Shipped
from pscli.photoworld.foundations.composing import Recipe, make
from pscli.photoworld.foundations.pool import scenes
from pscli.photoworld.members import MADE
from pscli.photoworld.shipped import part

FEW = Recipe(scenes=24, steps=2, dev=2)
COMPOSING = ModelConfig(generator=PartConfig("stable-diffusion", "photoworld-composing"))


def test_it_practises_with_other_scenes_than_it_was_made_with() -> None:
    usual = Recipe()
    before = {scene.caption() for scene in scenes("train", Shipped.drawings, 0, two=0.6)}
    new = scenes("train", usual.scenes, usual.seed, usual.two)
    two = [scene for scene in new if len(scene.things) == 2]
    assert len(two) / len(new) == pytest.approx(0.8, abs=0.03)
    assert sum(scene.caption() in before for scene in two) < 0.2 * len(two)
    assert {scene.split for scene in new} == {"train"}


def test_the_practised_generator_is_made_by_a_command_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="generator for composing is not shipped") as told:
        Load(COMPOSING)("generator")
    assert "in about an hour of one core: pscli foundations composing" in told.value.hint
    out = make(recipe=FEW)
    assert out == MADE / "composing"
    drawn = json.loads((out / "scores.json").read_text())["drawn"]
    assert set(drawn) == {"dev", "unseen"}
    assert set(drawn["dev"]) == {"things", "kinds", "setting", "light"}
    trained = load_file(out / "work" / f"step-{FEW.steps:08}" / "weights.safetensors")
    assert {name.split(".")[1] for name in trained if name.startswith("model.")} == {
        "text_encoder", "unet"
    }  # fmt: skip
    weights = "generator/unet/diffusion_pytorch_model.safetensors"
    vae = "vae/diffusion_pytorch_model.safetensors"
    ours, theirs = load_file(out / "generator" / vae), load_file(part("generator") / vae)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    first = (out / weights).read_bytes()

    def again(*args: object) -> None:
        raise AssertionError("trains anew")

    monkeypatch.setattr(StableDiffusion, "losses", again)
    make(recipe=FEW)  # nothing is left to train
    assert (out / weights).read_bytes() == first
