"""`pscli foundations looking`: practice at looking up in a photo what is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F

from pscli.components.generator import StableDiffusion
from pscli.components.llm import LanguageModel
from pscli.components.load import Load
from pscli.config import ModelConfig, PartConfig
from pscli.dialogue.schema import Dialogue
from pscli.dialogue.sequence import PHOTO
from pscli.errors import CheckpointError
from pscli.photoworld.foundations.build import load_captioner
from pscli.photoworld.foundations.fit import Losses
from pscli.photoworld.foundations.looking import (
    Answers,
    Halves,
    LookingUp,
    Recipe,
    attention_alone,
    half_rebuilt,
    make,
)
from pscli.photoworld.foundations.pool import load_pool, scenes
from pscli.photoworld.foundations.speaking import Lessons
from pscli.photoworld.members import MADE
from pscli.photoworld.scene import COLOURS, KINDS, Scene
from pscli.photoworld.shipped import WEIGHTS, part
from pscli.photoworld.talk import answered, look_up, plain_look_up, questions, quiz

FEW = Recipe(
    scenes=16, dialogues=4, questions=4, drills=4, look_ups=40, plain=2, mixed=1, settled=1, dev=4
)  # fmt: skip
LOOKING = ModelConfig(
    perceptron=PartConfig("qformer", "photoworld-looking"),
    llm=PartConfig("causal", "photoworld-looking"),
)


@pytest.mark.parametrize("practice", [plain_look_up, look_up])
def test_look_ups_ask_for_a_side_and_for_something_else(
    practice: Callable[..., Dialogue],
) -> None:
    dialogues = [practice("train", index) for index in range(60)]
    truths = [r.truth for d in dialogues for r in d.responses if r.truth and r.truth.about]
    assert 0.3 < sum(truth.about == "side" for truth in truths) / len(truths) < 0.6
    photos = [photo.source for d in dialogues for photo in d.photos]
    assert all(isinstance(scene, Scene) and scene.split == "train" for scene in photos)
    two = sum(len(scene.things) == 2 for scene in photos) / len(photos)
    assert two == 1 if practice is plain_look_up else 0.5 < two < 0.8
    assert {len(d.photos) for d in dialogues} == ({1} if practice is plain_look_up else {1, 2})
    assert {truth.kind for truth in truths} == {"look", "recall"}
    for dialogue in dialogues:  # of one photo of two things the answer can be told from the talk
        things = dialogue.photos[0].source.things
        for before, response in zip(dialogue.responses, dialogue.responses[1:], strict=False):
            if len(dialogue.photos) == 1 and len(things) == 2 and response.truth.about == "side":
                asked = " ".join(turn.text for turn in before.turns).lower()
                (thing,) = (t for t in things if f"the {t.kind}" in asked)
                said = " ".join(turn.text for turn in response.turns)
                assert answered(said, "side") == response.truth.answer == thing.side
    assert practice("train", 3) == practice("train", 3) != practice("train", 4)


def test_half_of_the_look_ups_with_two_photos_show_the_same_again_and_ask_for_the_first() -> None:
    dialogues = [look_up("train", index) for index in range(200)]
    two = [d for d in dialogues if len(d.photos) == 2]
    kinds = [[{thing.kind for thing in photo.source.things} for photo in d.photos] for d in two]
    assert 0.4 < sum(bool(first & second) for first, second in kinds) / len(two) < 0.8
    asked = [
        " ".join(turn.text for turn in before.turns)
        for d in two
        for before, response in zip(d.responses, d.responses[1:], strict=False)
        if response.truth and response.truth.kind == "recall" and response.truth.about == "side"
    ]
    assert sum("first" in words for words in asked) > 0.4 * len(asked) > 20


@pytest.mark.parametrize("length", [None, 8])
def test_of_an_answer_only_the_word_is_learnt_that_it_commits_to(length: int | None) -> None:
    llm = LanguageModel.from_pretrained(part("llm"))
    photo = llm.tokenizer.convert_tokens_to_ids(PHOTO)
    dialogues = [look_up("train", index) for index in range(30)]
    reading = Answers(llm, dialogues, length)
    for dialogue, packed in zip(dialogues, reading.sequences, strict=True):
        learnt = [i for i, label in enumerate(packed.labels) if label >= 0]
        assert all(packed.ids[i] == packed.labels[i] for i in learnt)
        words = [str(llm.tokenizer.decode([packed.ids[i]])) for i in learnt]
        truths = [r.truth for r in dialogue.responses if r.truth and r.truth.about]
        found = [answered(w, t.about) for w, t in zip(words, truths, strict=True)]
        assert found == [t.answer for t in truths]
        assert packed.ids.count(photo) == (length or 0) * len(dialogue.photos)


def test_each_half_of_the_visual_tokens_tells_its_side() -> None:
    torch.manual_seed(0)
    two = [s for s in scenes("train", 40, 0) if len(s.things) == 2][:5]
    halves, visual = Halves(4, 6), torch.randn(5, 4, 6, requires_grad=True)
    literal = torch.zeros(())
    for half, side in enumerate(("left", "right")):
        logits = halves.heads[half](visual[:, 2 * half : 2 * half + 2].reshape(5, 12))
        (of_side,) = zip(*([t for t in s.things if t.side == side] for s in two), strict=True)
        kinds = torch.tensor([KINDS.index(t.kind) for t in of_side])
        colours = torch.tensor([list(COLOURS).index(t.colour) for t in of_side])
        literal = literal + F.cross_entropy(logits[:, : len(KINDS)], kinds)
        literal = literal + F.cross_entropy(logits[:, len(KINDS) :], colours)
    torch.testing.assert_close(halves(visual, two), literal)


def test_qformer_and_attention_learn_from_every_lesson_and_all_else_stays(tmp_path: Path) -> None:
    captioner = load_captioner(WEIGHTS)
    attention_alone(captioner.llm)
    pool = load_pool(tmp_path, "train", 8, 0)
    lessons = Lessons(
        captioner, pool, [quiz("train", 0)], [questions("train", 0)], shares=(2, 1, 1)
    )
    practice = LookingUp(lessons, [plain_look_up("train", index) for index in range(4)], 3)
    losses = practice.losses(0)
    assert set(losses) == {"caption", "probes", "questions", "text", "seen", "told", "halves"}
    for name in ("seen", "told", "halves"):
        practice.zero_grad()
        losses[name].backward(retain_graph=True)
        moved = {n.removeprefix("shown.captioner.").split(".")[0] for n, p in
                 practice.shown.captioner.named_parameters(prefix="shown.captioner")
                 if p.grad is not None and p.grad.any()}  # fmt: skip
        assert (
            moved
            == {"seen": {"llm", "perceptron"}, "told": {"llm"}, "halves": {"perceptron"}}[name]
        )
    assert all(p.grad is None for p in captioner.perceptron.vision.parameters())
    learning = {n for n, p in captioner.llm.named_parameters() if p.requires_grad}
    assert learning == {n for n, _ in captioner.llm.named_parameters() if "self_attn" in n}
    assert len(learning) == 4 * captioner.llm.model.config.num_hidden_layers


def test_the_practised_parts_are_made_by_a_command_and_go_on_where_they_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="llm for looking is not shipped") as told:
        Load(LOOKING)("llm")
    assert "pscli foundations looking" in told.value.hint
    out = make(recipe=FEW)
    assert out == MADE / "looking"
    load = Load(LOOKING)
    assert load("perceptron").width == load("llm").width
    scores = json.loads((out / "scores.json").read_text())
    assert set(scores["looking"]) == {"captions", "descriptions", "dev_perplexity", "settings"}
    weights = out / "llm/model.safetensors"
    first = weights.read_bytes()
    make(recipe=FEW)  # nothing is left to do
    assert weights.read_bytes() == first


def test_every_second_photo_is_as_the_generator_s_autoencoder_gives_it_back(tmp_path: Path) -> None:
    """Oracle: the generator's own way into latents and out of them, photo by photo."""
    pool = load_pool(tmp_path, "train", 6, 0)
    rebuilt = half_rebuilt(pool, tmp_path)
    assert (rebuilt.images[::2] == pool.images[::2]).all()
    vae = StableDiffusion.from_pretrained(part("generator")).vae
    for row in (1, 3, 5):
        photo = Image.fromarray(pool.images[row].transpose(1, 2, 0))
        pixels = VaeImageProcessor().preprocess(photo)
        with torch.no_grad():
            back = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
        expected = VaeImageProcessor().postprocess(back, output_type="np")[0]
        found = rebuilt.images[row].transpose(1, 2, 0) / 255
        assert abs(found - expected).max() < 0.6 / 255
        assert (rebuilt.images[row] != pool.images[row]).any()
    assert half_rebuilt(pool, tmp_path).images.filename  # kept on disk


def test_the_parts_end_half_way_between_the_last_two_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = {"plain": 0.1, "mixed": 0.2, "settled": 0.4}

    def fitted(model: torch.nn.Module, loss: Callable[[int], Losses], work: Path, **_: Any) -> None:
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data.fill_(ends[work.name])

    monkeypatch.setattr("pscli.photoworld.foundations.looking.fit", fitted)
    out = make(tmp_path / "work", tmp_path / "out", recipe=FEW)
    shipped = load_file(WEIGHTS / "llm/model.safetensors")
    for name, weight in load_file(out / "llm/model.safetensors").items():
        learnt = torch.full_like(weight, 0.3) if "self_attn" in name else shipped[name]
        torch.testing.assert_close(weight, learnt)
    assert all((w == torch.tensor(0.3).half()).all() for w in
               load_file(out / "perceptron/qformer/model.safetensors").values())  # fmt: skip


@pytest.mark.parametrize("first_of", [FEW.plain, FEW.plain + FEW.mixed])
def test_practice_that_was_stopped_between_its_rounds_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_of: int
) -> None:
    whole = make(tmp_path / "a", tmp_path / "whole", recipe=FEW)
    losses = LookingUp.losses

    def stopping(self: LookingUp, step: int) -> Losses:
        if step == first_of:  # the first one of the second round, or of the third
            raise KeyboardInterrupt
        return losses(self, step)

    monkeypatch.setattr(LookingUp, "losses", stopping)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "b", tmp_path / "stopped", recipe=FEW)
    monkeypatch.setattr(LookingUp, "losses", losses)
    stopped = make(tmp_path / "b", tmp_path / "stopped", recipe=FEW)
    for weights in ("llm/model.safetensors", "perceptron/qformer/model.safetensors"):
        assert (stopped / weights).read_bytes() == (whole / weights).read_bytes()
    ends = [load_file(tmp_path / run / f"settled/step-{FEW.settled:08}/weights.safetensors")
            for run in ("a", "b")]  # fmt: skip
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
