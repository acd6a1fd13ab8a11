"""`pscli foundations looking`: practice at looking up in a photo what is asked for."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from itertools import count, pairwise, takewhile
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
from pscli.photoworld import talk
from pscli.photoworld.asking import ASK_AGAIN_ANYHOW, ASK_NOW_ANYHOW
from pscli.photoworld.foundations.build import load_captioner
from pscli.photoworld.foundations.fit import Losses
from pscli.photoworld.foundations.looking import (
    Committed,
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
from pscli.photoworld.phrases import ANSWER_FORMS, ASK_AGAIN, ASK_NOW
from pscli.photoworld.scene import COLOURS, KINDS, Scene
from pscli.photoworld.shipped import WEIGHTS, part
from pscli.photoworld.talk import (
    answered,
    either,
    plain_look_up,
    questions,
    quiz,
    variations,
)

FEW = Recipe(
    scenes=16, dialogues=4, questions=4, drills=4, look_ups=40, plain=2, mixed=1, settled=1, dev=4
)  # fmt: skip
LOOKING = ModelConfig(
    perceptron=PartConfig("qformer", "photoworld-looking"),
    llm=PartConfig("causal", "photoworld-looking"),
)


def _pattern(template: str) -> re.Pattern[str]:
    """What a template can become, wherever it stands."""
    return re.compile(re.sub(r"\\{\w+\\}", r"[\\w -]+", re.escape(template)), re.IGNORECASE)


def test_plain_look_ups_ask_for_a_side_and_for_something_else() -> None:
    dialogues = [plain_look_up("train", index) for index in range(60)]
    truths = [r.truth for d in dialogues for r in d.responses if r.truth and r.truth.about]
    assert 0.3 < sum(truth.about == "side" for truth in truths) / len(truths) < 0.6
    assert {truth.kind for truth in truths} == {"look", "recall"}
    for dialogue in dialogues:  # the answer can be told from the talk
        (photo,) = dialogue.photos
        assert isinstance(photo.source, Scene) and photo.source.split == "train"
        assert len(photo.source.things) == 2
        for before, response in pairwise(dialogue.responses):
            if response.truth.about == "side":
                asked = " ".join(turn.text for turn in before.turns).lower()
                (thing,) = (t for t in photo.source.things if f"the {t.kind}" in asked)
                said = " ".join(turn.text for turn in response.turns)
                assert answered(said, "side") == response.truth.answer == thing.side
    assert plain_look_up("train", 3) == plain_look_up("train", 3) != plain_look_up("train", 4)


def test_of_two_photos_nothing_is_asked_that_was_answered_before() -> None:
    later = 0
    for dialogue in (either("train", index) for index in range(200)):
        asked, shown = [], 0
        for before, now in pairwise(dialogue.responses):
            shown += len(before.photos)
            if now.truth.about:
                words = " ".join(t.text for t in before.turns).lower()
                of_last = now.truth.kind == "look" or "the last p" in words
                asked.append((shown if of_last else 1, now.truth.about))
                later += now.truth.kind == "recall"
        assert len(set(asked)) == len(asked)
    assert later > 400


def test_either_of_two_photos_is_asked_about_wherever_they_come() -> None:
    dialogues = [either("train", index) for index in range(200)]
    assert all(len(d.photos) in (1, 2) for d in dialogues)  # a split may lack a scene
    two = [d for d in dialogues if len(d.photos) == 2]
    opening = [bool(d.responses[0].photos) for d in two]
    assert 0.1 < sum(opening) / len(two) < 0.3 and len(two) > 180
    assert all(p.source.split == "train" for d in two for p in d.photos)
    alike = [d for d in two if any(r.truth and r.truth.kind == "vary" for r in d.responses)]
    assert 0.65 < len(alike) / len(two) < 0.85
    asked = Counter(
        ("last" if "last " in " ".join(t.text for t in before.turns) else "first", now.truth.about)
        for d in two
        for before, now in pairwise(d.responses)
        if now.truth.kind == "recall"
    )
    assert min(asked[photo, "size"] for photo in ("first", "last")) > 50
    assert asked["first", "side"] > 50 and asked["last", "side"] > 8
    looked = sum(
        now.truth.kind == "look" and sum(len(r.photos) for r in d.responses[: number + 1]) == 2
        for d in two
        for number, now in enumerate(d.responses[1:])
    )
    assert looked > 120  # so that a photo just sent needs no name
    assert either("train", 3) == either("train", 3) != either("train", 4)


def test_practice_asks_for_photos_in_words_that_no_split_has() -> None:
    for usual, anyhow in ((ASK_NOW, ASK_NOW_ANYHOW), (ASK_AGAIN, ASK_AGAIN_ANYHOW)):
        assert usual.keys() == anyhow.keys()
        for about, slot in anyhow.items():
            assert len(set(slot.every)) == len(slot.every) >= 12
            for split in ("train", "dev", "test"):
                assert not set(usual[about].of(split)) & set(slot.every)
            named = ["{photo}" in words for words in slot.every]
            assert all(named) if usual is ASK_AGAIN else not any(named)
            assert not any("{it}" in words for words in slot.every)

    def share(dialogues: list[Dialogue], kind: str) -> float:
        asked = [
            " ".join(t.text for t in before.turns)
            for d in dialogues
            for before, now in pairwise(d.responses)
            if now.truth.kind == kind
        ]
        slots = (ASK_NOW if kind == "look" else ASK_AGAIN).values()
        patterns = [_pattern(template) for slot in slots for template in slot.train]
        known = [any(pattern.search(text) for pattern in patterns) for text in asked]
        return 1 - sum(known) / len(known)

    for kind in ("look", "recall"):
        assert share([talk.dialogue("train", index) for index in range(80)], kind) == 0
        assert 0.4 < share([either("train", index) for index in range(80)], kind) < 0.6


def test_variations_ask_for_a_colour_or_a_place_of_two_things_again_and_again() -> None:
    dialogues = [variations("train", index) for index in range(40)]
    for dialogue in dialogues:
        scenes = [photo.source for photo in dialogue.photos]
        assert all(len(scene.things) == 2 and scene.split == "train" for scene in scenes)
        for before, scene in pairwise(scenes):
            colours = [
                old.colour != new.colour
                for old, new in zip(before.things, scene.things, strict=True)
            ]
            assert sum(colours) + (before.setting != scene.setting) == 1
    assert sum(len(d.photos) == 4 for d in dialogues) > 35  # a split may lack a scene
    assert variations("train", 3) == variations("train", 3) != variations("train", 4)


@pytest.mark.parametrize("length", [None, 8])
def test_only_the_words_are_learnt_that_a_reply_commits_to(length: int | None) -> None:
    llm = LanguageModel.from_pretrained(part("llm"))
    photo = llm.tokenizer.convert_tokens_to_ids(PHOTO)
    dialogues = [kind("train", index) for index in range(30) for kind in (either, variations)]
    committed = Committed(llm, dialogues, length)
    for dialogue, packed in zip(dialogues, committed.sequences, strict=True):
        learnt = [i for i, label in enumerate(packed.labels) if label >= 0]
        assert all(packed.ids[i] == packed.labels[i] for i in learnt)
        starts = [i for i in learnt if i - 1 not in learnt]
        spans = [[*takewhile(learnt.__contains__, count(start))] for start in starts]
        told = [llm.tokenizer.decode([packed.ids[i] for i in span]).strip() for span in spans]
        expected: list[tuple[str | None, str]] = []
        for number, response in enumerate(dialogue.responses):
            about, due = response.truth and response.truth.about, response.photos
            if about:
                expected.append((about, response.truth.answer))
            elif due and response.truth and response.truth.kind == "vary":
                expected += [(None, w) for w in due[0].caption.split() if w in COLOURS]
                assert number in packed.segments  # hidden from what follows
        for words, (about, value) in zip(told, expected, strict=True):
            forms = [form for form, _ in ANSWER_FORMS[about][value]] if about else [value]
            assert any(form.startswith(words.lower()) for form in forms), (words, about, value)
            assert answered(words, about) == value if about else words == value
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


def test_the_parts_are_those_of_the_last_round_and_of_the_llm_only_its_attention_moves(
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
        learnt = torch.full_like(weight, 0.4) if "self_attn" in name else shipped[name]
        torch.testing.assert_close(weight, learnt)
    assert all((w == torch.tensor(0.4).half()).all() for w in
               load_file(out / "perceptron/qformer/model.safetensors").values())  # fmt: skip


def test_practice_that_was_stopped_between_its_rounds_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before the first step of the second round, and again before that of the third."""
    whole = make(tmp_path / "a", tmp_path / "whole", recipe=FEW)
    losses = LookingUp.losses
    stops = [FEW.plain, FEW.plain + FEW.mixed]

    def stopping(self: LookingUp, step: int) -> Losses:
        if step in stops:
            stops.remove(step)
            raise KeyboardInterrupt
        return losses(self, step)

    monkeypatch.setattr(LookingUp, "losses", stopping)
    while stops:
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "b", tmp_path / "stopped", recipe=FEW)
    stopped = make(tmp_path / "b", tmp_path / "stopped", recipe=FEW)
    for weights in ("llm/model.safetensors", "perceptron/qformer/model.safetensors"):
        assert (stopped / weights).read_bytes() == (whole / weights).read_bytes()
    ends = [load_file(tmp_path / run / f"settled/step-{FEW.settled:08}/weights.safetensors")
            for run in ("a", "b")]  # fmt: skip
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
