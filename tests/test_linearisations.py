"""`make linearisations` and `make categories`: every command in order, and which photos count; and
the tiny member that a command makes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import categories
import linearisations
import pytest
import torch
from typer.main import get_command

from pscli.cli import app
from pscli.components.load import Load
from pscli.components.noise import seeded
from pscli.config import ModelConfig, PartConfig
from pscli.errors import CheckpointError
from pscli.photoworld.foundations import uvit
from pscli.photoworld.foundations.build import drawing_accuracy, drawing_scores
from pscli.photoworld.foundations.pool import load_pool
from pscli.photoworld.judge import load_extractor
from pscli.photoworld.members import MADE
from pscli.photoworld.scene import LIGHT_PHRASES, PLACES, Scene
from pscli.predictions.folder import Prediction, Side

WAYS = ["hashes", "spaces", "persons", "letters"]


def test_each_way_trains_answers_and_is_compared(tmp_path: Path) -> None:
    """Oracle: written by hand for two seeds; a run that was begun goes on."""
    asked = linearisations.commands("photoworld", tmp_path, [0, 1], count=9, settings=["a.b=1"])
    assert [words[0] for words in asked] == [*["train", "generate"] * 8, "score", "report"]
    trained = [words for words in asked if words[0] == "train"]
    ways = [w for words in trained for w in words if w.startswith("model.linearisation=")]
    assert ways == [f"model.linearisation={way}" for way in WAYS] * 2
    run, preds = tmp_path / "hashes-0", tmp_path / "preds/hashes-0"
    assert trained[0] == [
        "train", "dialog2image", "--dataset", "photoworld", "--run", str(run), "--seed", "0",
        "--set", "model.linearisation=hashes", "--set", "a.b=1",
    ]  # fmt: skip
    assert asked[1] == [
        "generate", "--dataset", "photoworld", "--split", "test", "--agent", str(run), "--out",
        str(preds), "--count", "9",
    ]  # fmt: skip
    both = f"hashes={preds},{tmp_path / 'preds/hashes-1'}"
    for words, command in zip(asked[-2:], ("score", "report"), strict=True):
        assert words[:3] == [command, "--group", both] and words.count("--group") == 4
    run.mkdir()
    (run / "config.json").touch()
    again = linearisations.commands("photoworld", tmp_path, [0])
    assert again[0][:-1] == trained[0][:-2] and again[0][-1] == "--resume"


def test_pscli_knows_every_option(tmp_path: Path) -> None:
    known = get_command(app).commands  # type: ignore[attr-defined]
    for words in linearisations.commands("photoworld", tmp_path, [0], "tiny", 3, "photoworld"):
        options = {option for p in known[words[0]].params for option in p.opts}
        assert {word for word in words if word.startswith("--")} <= options


def test_photos_are_told_apart_by_their_captions() -> None:
    """Oracle: by hand, on captions of PhotoChat's form and of photoworld's."""

    def told(caption: str) -> str | None:
        return categories.category(Prediction("d/1", None, Side(captions=(caption,)), Side()))

    assert told("Objects in the photo: Dress, Man") == "people"
    assert told("Objects in the photo: Baked goods, Cake, Person") == "people"
    assert told("Objects in the photo: Dessert, Baked goods, Snack") == "food"
    assert told("A red snail and a white boat at the beach.") == "animals"
    assert told("Objects in the photo: Teapot, Kettle") is None
    assert told("A manual of doggerel.") is None  # words, not parts of them


def test_as_many_are_drawn_of_each() -> None:
    photo = (Path("x.png"),)
    sides = [
        Side(captions=(words,), photos=photo)
        for words in ("a man", "a cake", "a dog")
        for _ in "123"
    ]
    some = [Prediction(f"d/{i}", None, side, Side(photos=photo)) for i, side in enumerate(sides)]
    some.append(Prediction("d/9", None, sides[0], Side()))  # nothing was drawn
    found = categories.chosen(some, 2, seed=0)
    assert {name: len(part) for name, part in found.items()} == {
        "people": 2, "food": 2, "animals": 2,
    }  # fmt: skip
    assert all(p.prediction.photos for part in found.values() for p in part)
    assert found == categories.chosen(some, 2, seed=0) != categories.chosen(some, 2, seed=4)


# -- the tiny U-ViT ------------------------------------------------------------------------------


def test_the_tiny_member_is_made_by_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then it is told; what is made already is not made again."""
    monkeypatch.chdir(tmp_path)
    named = ModelConfig(generator=PartConfig("uvit", "photoworld-uvit"), draw_steps=2)
    with pytest.raises(CheckpointError, match="not shipped") as told:
        Load(named)("generator")
    assert "pscli foundations uvit" in told.value.hint
    made = uvit.untrained()
    assert float(made._snr_weights(torch.tensor([999]))) == 1  # pure noise, where words tell all
    before = {n: w.clone() for n, w in made.state_dict().items()}
    few = uvit.Recipe(unet=2, scenes=20, dev=2)
    weights = uvit.make(recipe=few) / "generator/unet/diffusion_pytorch_model.safetensors"
    generator = Load(named)("generator")
    moved = {n for n, w in generator.state_dict().items() if not torch.equal(w, before[n])}
    assert moved and all(name.startswith("unet.") for name in moved)
    assert generator.draw(["a red car"], [seeded(1)])[0].size == (64, 64)
    first, scored = weights.read_bytes(), (MADE / "uvit/scores.json").read_text()
    uvit.make(recipe=few)
    assert weights.read_bytes() == first and (MADE / "uvit/scores.json").read_text() == scored
    drawn = json.loads(scored)["drawn"]
    assert set(drawn) == {"things", "kinds", "setting", "light"}
    assert all(share in (0, 0.5, 1) for share in drawn.values())


def test_light_is_judged_where_captions_name_it(tmp_path: Path) -> None:
    """Oracle: by hand; what draws empty places, in the light that it reads."""
    pool = load_pool(tmp_path, "dev", 12, 0)

    class Lit:
        def draw(self, captions: Sequence[str], generators: Any) -> list[Any]:
            asked.extend(captions)
            return [Scene(*lit(caption), "big", ()).background() for caption in captions]

    def lit(caption: str) -> tuple[str, str]:
        setting = next(name for name, words in PLACES.items() if words in caption)
        named = (name for name, words in LIGHT_PHRASES.items() if words in caption)
        return setting, next(named, "sunset")

    asked: list[str] = []
    scores = drawing_scores(Lit(), pool, 12)  # type: ignore[arg-type]
    assert scores == {"things": 0.0, "kinds": 0.0, "setting": 1.0, "light": 1.0}
    assert sorted(asked[:12]) == sorted(scene.caption(like=True) for scene in pool.scenes)
    assert sorted(asked[12:]) == sorted(scene.caption() for scene in pool.scenes)
    plain = drawing_accuracy(Lit(), load_extractor(), pool, 12)  # type: ignore[arg-type]
    assert plain == {"things": 0.0, "kinds": 0.0, "setting": 1.0}
