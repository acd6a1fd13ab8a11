"""Several drawings of a caption: how well each fits, token by token, and which one is kept."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    T5Config,
)

from layouts import blip2
from pscli.components.noise import seeded
from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.dialogue.sequence import END_IMG, IMG, token_id
from pscli.errors import ConfigError
from pscli.systems import captioner, choosing
from pscli.systems.agent import Agent
from pscli.systems.base import Question, System, answer
from pscli.systems.captioner import Blip2Captioner
from pscli.systems.choosing import draw_best
from test_systems import config

CAPTIONS = [
    "A red dog on the beach",
    "A boat",
    "Red [IMG] dog <image>",
    "A blue boat at the kitchen",
]
KEYS = [(f"d/{n}", n % 2) for n in range(len(CAPTIONS))]


@pytest.fixture
def photos(random_photo: Callable[[random.Random], Photo]) -> list[Photo]:
    rng = random.Random(0)
    return [random_photo(rng) for _ in CAPTIONS]


def eyes(system: Any) -> tuple[Any, Any]:
    """Perceptron and LLM that see for a system."""
    of = system.captioner if hasattr(system, "captioner") else system
    return of.perceptron, of.llm


def words(tokenizer: Any, text: str) -> list[int]:
    """Token ids; marks that somebody wrote are plain characters."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    return ids


@torch.no_grad()
def literal(system: Any, caption: str, photo: Photo) -> float:
    """Σ log p(next token | photo, asked for a caption, all tokens before it), one at a time."""
    perceptron, llm = eyes(system)
    tokenizer, table = llm.tokenizer, llm.model.get_input_embeddings().weight
    visual = perceptron(perceptron.look([photo.open()]))[0]
    asked = [tokenizer.eos_token_id, *tokenizer("Caption:", add_special_tokens=False).input_ids]
    marks = {t: table[token_id(tokenizer, t)][None] for t in (IMG, END_IMG)}
    begun = table[tokenizer.bos_token_id][None]
    read = torch.cat([begun, marks[IMG], visual, marks[END_IMG], table[asked]])
    total = 0.0
    for token in [*words(tokenizer, " " + caption), tokenizer.eos_token_id]:
        logits = llm.model(inputs_embeds=read[None]).logits[0, -1]
        total += float(logits.log_softmax(0)[token])
        read = torch.cat([read, table[token][None]])
    return total


@pytest.mark.parametrize("name", ["end_to_end", "pipeline"])
def test_how_well_a_caption_fits_is_what_a_loop_over_its_tokens_says(
    name: str, build: SimpleNamespace, photos: list[Photo]
) -> None:
    system: System = getattr(build, name)().eval()
    wanted = [literal(system, *pair) for pair in zip(CAPTIONS, photos, strict=True)]
    found = system.likelihoods(CAPTIONS, photos)
    assert found.tolist() == pytest.approx(wanted, rel=1e-5)
    assert max(wanted) - min(wanted) > 1
    # Whatever else is asked in the same batch.
    alone = [float(system.likelihoods([c], [p])) for c, p in zip(CAPTIONS, photos, strict=True)]
    assert alone == pytest.approx(found.tolist(), rel=1e-5)
    other = literal(system, CAPTIONS[0], photos[1])
    assert abs(other - wanted[0]) > 1e-4  # photos are seen
    assert system.likelihoods([], []).shape == (0,)


def test_a_pipeline_that_is_told_descriptions_is_asked_for_a_caption_all_the_same(
    build: SimpleNamespace, photos: list[Photo]
) -> None:
    system = build.pipeline().eval()
    found = system.likelihoods(CAPTIONS, photos)
    system.captioner.task = "Describe:"
    assert torch.equal(system.likelihoods(CAPTIONS, photos), found)


@pytest.mark.parametrize("decoder_only", [True, False])
@torch.no_grad()
def test_blip_2_s_own_captioner_asks_its_own_llm(
    decoder_only: bool, tmp_path: Path, photos: list[Photo]
) -> None:
    """Against a loop over the tokens, each after what `generate` begins with."""
    blip2(tmp_path)
    processor = Blip2Processor.from_pretrained(tmp_path)
    model = Blip2ForConditionalGeneration.from_pretrained(tmp_path).eval()
    if not decoder_only:
        text = T5Config(
            vocab_size=model.config.text_config.vocab_size, d_model=20, d_kv=10, d_ff=24,
            num_layers=1, num_heads=2, initializer_factor=3.0, bos_token_id=1,
            decoder_start_token_id=0,
        )  # fmt: skip
        pairs = model.config.to_dict() | {"text_config": text.to_dict()}
        model = Blip2ForConditionalGeneration(Blip2Config(**pairs)).eval()
    assert model.config.use_decoder_only_language_model is decoder_only
    captioner = Blip2Captioner(model, processor)
    begun = [4] * 4 + [model.config.text_config.bos_token_id]  # the layout's image token
    wanted = []
    for caption, photo in zip(CAPTIONS, photos, strict=True):
        pixels = processor.image_processor(photo.open(), return_tensors="pt").pixel_values
        said: list[int] = []
        total = 0.0
        for token in words(processor.tokenizer, caption):
            if decoder_only:
                read = {"input_ids": torch.tensor([begun + said])}
            else:
                read = {"decoder_input_ids": torch.tensor([[0, *said]])}
                read["input_ids"] = torch.tensor([begun])
            logits = model(pixel_values=pixels, **read).logits[0, -1]
            total += float(logits.log_softmax(0)[token])
            said.append(token)
        wanted.append(total)
    assert captioner.likelihoods(CAPTIONS, photos).tolist() == pytest.approx(wanted, rel=1e-4)
    assert captioner.likelihoods([], []).shape == (0,)


def test_of_a_caption_that_is_longer_than_what_reads_it_the_beginning_counts(
    build: SimpleNamespace, photos: list[Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator draws no more of it; BLIP-2's own LLM has 512 positions, and 8,000 words none."""
    long = " ".join([CAPTIONS[0]] * 2000)
    system = build.end_to_end().eval()
    (found,) = system.likelihoods([long], photos[:1]).tolist()
    assert np.isfinite(found)
    monkeypatch.setattr(captioner, "READ", 3)
    tokenizer = system.llm.tokenizer
    three = tokenizer.decode(words(tokenizer, " " + CAPTIONS[0])[:3]).strip()
    assert words(tokenizer, " " + three) == words(tokenizer, " " + long)[:3]
    (short,) = system.likelihoods([long], photos[:1]).tolist()
    assert short == pytest.approx(literal(system, three, photos[0]), rel=1e-5)
    monkeypatch.undo()
    blip2(tmp_path)
    processor = Blip2Processor.from_pretrained(tmp_path)
    model = Blip2ForConditionalGeneration.from_pretrained(tmp_path).eval()
    told = Blip2Captioner(model, processor).likelihoods([long, CAPTIONS[0]], photos[:2])
    assert bool(told.isfinite().all()) and told[0] < told[1]


# ---------------------------------------------------------------------------- choosing


def pixels(photo: Image.Image) -> Any:
    return np.asarray(photo)


def test_the_photo_that_is_kept_is_the_one_that_fits_best(build: SimpleNamespace) -> None:
    """Each drawing alone, from its own seed, judged by the loop over tokens."""
    system = build.end_to_end().eval()
    kept = draw_best(system, CAPTIONS, KEYS, seed=5, best_of=3)
    taken = []
    for caption, (key, number), photo in zip(CAPTIONS, KEYS, kept, strict=True):
        seeds = [seeded(5, key, number), seeded(5, key, number, 1), seeded(5, key, number, 2)]
        every = [system.generator.draw([caption], [seed])[0] for seed in seeds]
        fits = [literal(system, caption, Photo(drawn)) for drawn in every]
        taken.append(fits.index(max(fits)))
        assert np.abs(pixels(photo).astype(int) - pixels(every[taken[-1]])).max() <= 1
    assert len(set(taken)) > 1


class Eyes:
    """Tells whatever fits it is given, and notes what it was asked."""

    def __init__(self, fits: Sequence[float]) -> None:
        self.fits, self.asked = list(fits), list[tuple[str, Any]]()

    def __call__(self, captions: Sequence[str], photos: Sequence[Photo]) -> Tensor:
        start = len(self.asked)
        self.asked += zip(captions, photos, strict=True)
        return torch.tensor(self.fits[start : len(self.asked)])


@pytest.mark.parametrize(
    ("fits", "taken"),
    [
        ([-3, -3, -3, -3, -3, -3], [0, 0]),  # no photo can be told from another
        ([-3, -3, -3 + 1e-5, -3, -3 + 2e-5, -2], [0, 2]),  # but for rounding
        ([-9, -1, -8, -2, -7, -3], [2, 0]),
        ([-3, -5, -3 + 8e-4, -3, -3 + 16e-4, -2], [1, 2]),  # alike to the last, not to each other
        ([float("nan"), -1, -1, -2, -2, -3], [1, 0]),
        ([-3, -2, float("nan"), -1, -2, -3], [2, 1]),
    ],
)
@pytest.mark.parametrize("at_once", [1, 99])
def test_of_those_alike_the_first_is_taken(
    fits: list[float],
    taken: list[int],
    at_once: int,
    build: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system, told = build.end_to_end().eval(), Eyes(fits)
    monkeypatch.setattr(system, "likelihoods", told)
    monkeypatch.setattr(choosing, "SEEN_AT_ONCE", 4)  # six in two parts
    monkeypatch.setattr(choosing, "DRAWN_AT_ONCE", at_once)
    kept = draw_best(system, CAPTIONS[:2], KEYS[:2], best_of=3)
    assert [caption for caption, _ in told.asked] == CAPTIONS[:2] * 3
    candidates = [photo.source for _, photo in told.asked]
    assert [next(i for i, c in enumerate(candidates) if c is p) for p in kept] == [
        2 * k + n for n, k in enumerate(taken)
    ]


@pytest.mark.parametrize("name", ["end_to_end", "pipeline"])
def test_the_first_drawing_is_that_of_a_caption_that_is_drawn_once(
    name: str, build: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, and drawing once asks no eyes."""
    system = getattr(build, name)().eval()
    asked = [Question(Dialogue([Turn("A", "Look!")]).responses, "B", key) for key in "xyz"]
    how = {"captions": [CAPTIONS[:2], [], CAPTIONS[2:3]], "max_new_tokens": 5, "seed": 3}
    told = Eyes([0.0] * 9)
    monkeypatch.setattr(system, "likelihoods", told)
    once, again = answer(system, asked, **how), answer(system, asked, **how, best_of=1)
    assert not told.asked
    best = answer(system, asked, **how, best_of=3)
    assert len(told.asked) == 9
    captions = [c for reply in once for c in reply.captions]
    seeds = [
        seeded(3, q.key, at)
        for q, r in zip(asked, once, strict=True)
        for at, part in enumerate(r.parts)
        if isinstance(part, Photo)
    ]
    straight = system.generator.draw(captions, seeds)
    for replies in (once, again, best):
        drawn = [photo for reply in replies for photo in reply.photos]
        assert [pixels(p).tobytes() for p in drawn] == [pixels(p).tobytes() for p in straight]
        assert [(r.raw, r.captions) for r in replies] == [(r.raw, r.captions) for r in once]


def test_few_drawings_are_kept_at_a_time(
    build: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand of each of many captions would fill the memory."""
    system = build.end_to_end().eval()
    sizes: list[int] = []

    def draw(captions: Sequence[str], generators: Any) -> list[Image.Image]:
        sizes.append(len(captions))
        return [Image.new("RGB", (4, 4))] * len(captions)

    monkeypatch.setattr(system, "draw", draw)
    monkeypatch.setattr(system, "likelihoods", lambda words, photos: torch.zeros(len(words)))
    assert len(draw_best(system, CAPTIONS, KEYS, best_of=1000)) == 4
    assert sizes[0] == 4 and sum(sizes) == 4000 and max(sizes) == choosing.DRAWN_AT_ONCE


@pytest.mark.parametrize("count", [0, -1, 1001, 1.5, "2", None])
def test_a_number_of_drawings_that_is_none_is_refused(count: Any, build: SimpleNamespace) -> None:
    agent = Agent(build.end_to_end().eval(), config())
    with pytest.raises(ConfigError) as caught:
        agent.draw(CAPTIONS, KEYS, best_of=count)
    assert str(caught.value).startswith(f"A caption cannot be drawn {count!r} times.")
    assert "Expected 1 to 1,000." in str(caught.value.hint)


def test_nothing_is_judged_where_nothing_is_drawn(build: SimpleNamespace) -> None:
    assert draw_best(build.end_to_end(), [], [], best_of=4) == []


def test_a_system_that_sees_nothing_says_that_it_cannot_choose(
    build: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind(System):
        def draw(self, captions: Sequence[str], generators: Any) -> list[Image.Image]:
            drawn.extend(captions)
            return [Image.new("RGB", (4, 4))] * len(captions)

    drawn: list[str] = []
    agent = Agent(Blind(), config())
    assert len(agent.draw(CAPTIONS, KEYS)) == len(drawn) == 4
    with pytest.raises(ConfigError) as caught:
        agent.draw(CAPTIONS, KEYS, best_of=2)
    assert str(caught.value).startswith("Blind sees no photos, so it cannot choose among drawings.")
    assert len(drawn) == 4


def test_a_captioner_of_one_s_own_that_only_describes_does_not_choose(
    build: SimpleNamespace, photos: list[Photo]
) -> None:
    class Mute(nn.Module):
        def describe(self, photos: Sequence[Photo]) -> list[str]:
            return ["a photo"] * len(photos)

    system = build.pipeline().eval()
    system.captioner = Mute()
    agent = Agent(system, config())
    assert len(agent.draw(CAPTIONS[:1], KEYS[:1])) == 1
    with pytest.raises(ConfigError, match="so it cannot choose among drawings"):
        agent.draw(CAPTIONS[:1], KEYS[:1], best_of=2)


def test_an_agent_draws_and_answers_alike(build: SimpleNamespace) -> None:
    agent = Agent(build.pipeline().eval(), config())
    dialogue = Dialogue([Turn("A", "Look!")], "d")
    question = Question(dialogue.responses, "B", "d")
    (reply,) = agent.respond_all([question], seed=2, captions=[CAPTIONS[:1]], best_of=3)
    at = next(i for i, part in enumerate(reply.parts) if isinstance(part, Photo))
    (drawn,) = agent.draw(CAPTIONS[:1], [("d", at)], seed=2, best_of=3)
    assert pixels(drawn.open()).tobytes() == pixels(reply.photos[0]).tobytes()
    words = [agent.respond(dialogue, seed=2, best_of=n).raw for n in (1, 2)]
    assert words[0] == words[1]
