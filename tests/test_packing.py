"""Packing and prompts of any dialogue against their literal form, and their cost by its length."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from literal import Literal
from pscli.datasets.records import Dropped
from pscli.dialogue.schema import Dialogue, Photo, Response, Turn
from pscli.dialogue.sequence import IGNORE, Template, seen, told

LONG = 2000  # turns
BOUND = 5.0  # seconds of this process, for what takes less than one
TEXTS = ["", " ", "a", "b b", "Yes, it is.", "[IMG] </s> <photo>", "é 写真", "a b c d e f" * 3]
CAPTIONS = [None, "", " ", "A red dog", "A blue boat at the beach", "[/IMG]", "a b c d e f" * 3]


def sees(tokenizer: Any) -> list[Callable[[Photo], list[int]]]:
    """Photos seen, told by their captions, and told by somebody else."""
    other = told(tokenizer, lambda photo: "A photo" if photo.caption else "")
    return [seen(tokenizer, 3), told(tokenizer), other]


def any_dialogue(rng: random.Random) -> Dialogue:
    """Texts, photos and both, blank turns, one speaker or more than there are letters."""
    speakers = [f"s{i}" for i in range(rng.choice([1, 2, 2, 3, 30]))]
    turns = []
    for _ in range(rng.choice([0, 1, 2, 4, 8, 12, 40])):
        photo = None
        if rng.random() < 0.3:
            gone = rng.random() < 0.2
            photo = Photo(None, rng.choice(CAPTIONS), missing=gone)  # type: ignore[arg-type]
        turns.append(Turn(rng.choice(speakers), rng.choice(TEXTS), photo))
    return Dialogue(turns, rng.choice(["", "d", "d7"]))


@pytest.mark.parametrize("part", range(10))
def test_packing_and_prompts_are_those_of_the_literal_form(tokenizer: Any, part: int) -> None:
    """500 random dialogues."""
    for seed in range(50 * part, 50 * part + 50):
        rng = random.Random(seed)
        dialogue, see = any_dialogue(rng), rng.choice(sees(tokenizer))
        limit = rng.choice([rng.randint(1, 30), rng.randint(30, 200), 400, 10_000])
        template, oracle = Template(tokenizer, see, limit), Literal(tokenizer, see, limit)
        assert template.pack(dialogue) == oracle.pack(dialogue)[0], (seed, limit)
        speaker = rng.choice([turn.speaker for turn in dialogue.turns] + ["new"])
        shown = dialogue.responses[: rng.randint(0, 40)]
        assert template.prompt(shown, speaker) == oracle.prompt(shown, speaker), (seed, limit)


turns = st.builds(
    Turn,
    st.sampled_from("XYZ"),
    st.sampled_from(TEXTS),
    st.none() | st.builds(Photo, st.none(), st.sampled_from(CAPTIONS), missing=st.booleans()),
)


@given(st.lists(turns, max_size=9), st.integers(0, 2), st.integers(1, 80))
def test_every_instance_is_learnt_once_or_named_and_nothing_is_too_long(
    tokenizer: Any, said: list[Turn], see: int, limit: int
) -> None:
    dialogue, dropped = Dialogue(said, "d"), []
    template = Template(tokenizer, sees(tokenizer)[see], limit)
    packed = template.pack(dialogue, lambda at, reason: dropped.append((at, reason)))
    assert all(len(p) <= limit for p in packed)
    # The one who speaks, and how many have spoken before: where a run of labels belongs.
    starts = [
        (i, p)
        for p in packed
        for i, t in enumerate(p.labels)
        if t != IGNORE and p.labels[i - 1] < 0
    ]
    responses = dialogue.responses
    left_out = {int(at.rpartition(" ")[2]) for at, _ in dropped if "response" in at}
    assert len(starts) + len(left_out) == max(0, len(responses) - 1)
    oracle = Literal(tokenizer, template.see, limit)
    wanted = [i for i in range(1, len(responses)) if i not in left_out]
    assert oracle.pack(dialogue)[1] == wanted
    for (start, p), index in zip(starts, wanted, strict=True):
        run = p.labels[start : start + p.labels[start:].index(tokenizer.eos_token_id) + 1]
        name = len(template.letters[0])
        assert run == oracle.target(responses[index], responses, "")[0][name:]
    assert len(dropped) == len(left_out) + (len(responses) < 2)
    if len(responses) < 2:
        assert dropped == [("dialogue d", "a dialogue in which nobody replies")]
    for speaker in "XW":
        prompt = template.prompt(responses, speaker)
        least = 1 + len(template.letters[0])
        assert len(prompt) <= max(limit, least)
        assert len(prompt) == least or prompt.dropped < len(responses)


def test_what_is_left_out_is_named_and_stays_as_context(tokenizer: Any) -> None:
    """By hand: `<s>` 1, a text `A: a </s>` 4; 40 words are longer than 13 tokens."""
    bare = Photo(None)  # type: ignore[arg-type]
    turns = [Turn("X", "a"), Turn("Y", photo=bare), Turn("X", "b " * 40), Turn("Y", "c")]
    dropped = Dropped()
    packed = Template(tokenizer, seen(tokenizer, 1), 13).pack(Dialogue(turns, "d3"), dropped)
    assert [tokenizer.decode(p.ids) for p in packed] == ["<s>B: c</s>"]
    assert packed[0].dropped == 3
    assert dropped.lines() == [
        "1 × a response with a photo without a caption (it stays as context), "
        "first in dialogue d3, response 1",
        "1 × a response that is longer than max_length 13 (raise it with "
        "--set sequence.max_length=…), first in dialogue d3, response 2",
    ]
    turns[2] = Turn("X", "d")
    (packed,) = Template(tokenizer, seen(tokenizer, 1)).pack(Dialogue(turns))
    written = "<s>A: a</s>B:[IMG]<photo>[/IMG]</s>A: d</s>B: c</s>"
    assert tokenizer.decode(packed.ids) == written and packed.photos == [bare]


def test_a_single_sequence_may_be_filled_to_the_last_token(tokenizer: Any) -> None:
    """By hand: `<s>` 1, `A: a </s>` 4, the photo 2 + 5 + 1 = 8, `A: c </s>` 4: 17 in all.

    Packed together they would be 17 and the photo's caption.
    """
    dog = Photo(None, "a b")  # type: ignore[arg-type]
    dialogue = Dialogue([Turn("X", "a"), Turn("Y", photo=dog), Turn("X", "c")])
    for limit, dropped in ((17, 0), (16, 1)):
        first, second = Template(tokenizer, seen(tokenizer, 3), limit).pack(dialogue)
        assert (first.dropped, second.dropped) == (0, dropped)
        assert tokenizer.decode(first.ids) == "<s>A: a</s>B:[IMG] a b[/IMG]</s>"
        assert len(second) == (17 if limit == 17 else 13)


# -- cost --------------------------------------------------------------------------------------


class Counting:
    """A tokenizer that counts the texts that it is given."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.calls = tokenizer, 0

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        return self.tokenizer(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)


def long_talk(length: int) -> Dialogue:
    """Every tenth turn shares a photo; half of them together with words."""
    return Dialogue(
        [
            Turn(
                "XY"[i % 2],
                "" if i % 20 == 0 else f"Message number {i} of a long talk.",
                Photo(None, "A red dog") if i % 10 == 0 else None,  # type: ignore[arg-type]
            )
            for i in range(length)
        ],
        "long",
    )


@pytest.mark.parametrize("limit", [400, 1_000_000])
def test_two_thousand_turns_take_seconds(tokenizer: Any, limit: int) -> None:
    template, dialogue = Template(tokenizer, seen(tokenizer, 3), limit), long_talk(LONG)
    began = time.process_time()
    packed = template.pack(dialogue)
    assert time.process_time() - began < BOUND
    assert sum(len(p.captions) for p in packed) == LONG // 10 - 1
    began = time.process_time()
    prompt = template.prompt(dialogue.responses, "X")
    assert time.process_time() - began < BOUND
    assert (prompt.dropped > 0) == (limit == 400)


def test_a_response_of_thousands_of_turns_takes_seconds() -> None:
    response = Response("X", (Turn("X", "word " * 100),) * 20_000)
    began = time.process_time()
    assert len(response.text) == 20_000 * 500 - 1
    assert time.process_time() - began < BOUND


@pytest.mark.parametrize("limit", [400, 1_000_000])
def test_a_text_is_read_by_the_tokenizer_once_or_twice(tokenizer: Any, limit: int) -> None:
    """26 names; a text each; of those that share, the text again and the caption."""
    for length in (100, 200, 400):
        counting = Counting(tokenizer)
        template = Template(counting, seen(tokenizer, 3), limit)  # type: ignore[arg-type]
        template.pack(long_talk(length))
        texts, shared, alone = length - length // 20, length // 10, length // 20
        assert counting.calls == 26 + texts + (shared - alone) + shared
    counting = Counting(tokenizer)
    short = Template(counting, seen(tokenizer, 3), 100)  # type: ignore[arg-type]
    short.prompt(long_talk(LONG).responses, "X")
    assert counting.calls < 26 + 10  # what does not fit is not read
