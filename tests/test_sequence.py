"""Templates, label masks and packing against hand counts and a plain causal model."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer as TokenizerObject
from tokenizers.processors import TemplateProcessing
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from pscli.dialogue.batch import collate
from pscli.dialogue.schema import Dialogue, Photo, Response, Turn
from pscli.dialogue.sequence import IGNORE, Packed, Template, plain_ids, seen, told
from pscli.errors import ConfigError

Dialogues = Callable[..., Dialogue]


@pytest.fixture
def template(tokenizer: Any) -> Template:
    return Template(tokenizer, seen(tokenizer, 3))


@pytest.fixture
def dog(random_photo: Callable[[random.Random], Photo]) -> Photo:
    return Photo(random_photo(random.Random(0)).source, "A red dog")


def written(tokenizer: Any, ids: list[int]) -> str:
    return tokenizer.decode(ids)


def words(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids


def literal(tokenizer: Any, responses: list[Response], index: int) -> tuple[list[int], list[bool]]:
    """Response `index` after its context, piece by piece, and which of it is supervised."""
    ids, supervised = [tokenizer.bos_token_id], [False]
    speakers: list[str] = []
    for number, response in enumerate(responses[: index + 1]):
        if response.speaker not in speakers:
            speakers.append(response.speaker)
        name = words(tokenizer, "ABCDEF"[speakers.index(response.speaker)] + ":")
        rest = []
        for part in response.parts:
            if isinstance(part, str):
                rest += words(tokenizer, " " + part)
            elif number == index:
                caption = words(tokenizer, f" {part.caption}")
                rest += tokenizer.convert_tokens_to_ids(["[IMG]"]) + caption
                rest += tokenizer.convert_tokens_to_ids(["[/IMG]"])
            else:
                marks = ["[IMG]", "<photo>", "<photo>", "<photo>", "[/IMG]"]
                rest += tokenizer.convert_tokens_to_ids(marks)
        rest.append(tokenizer.eos_token_id)
        ids += name + rest
        supervised += [False] * len(name) + [number == index] * len(rest)
    return ids, supervised


def runs(packed: Packed) -> list[list[int]]:
    """Runs of supervised labels."""
    groups = groupby(packed.labels, key=lambda label: label != IGNORE)
    return [list(run) for supervised, run in groups if supervised]


# -- what a response looks like ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("turns", "context", "target"),
    [
        ([Turn("X", "Hi you")], "A: Hi you</s>", "A: Hi you</s>"),
        (
            [Turn("X", photo="dog")],
            "A:[IMG]<photo><photo><photo>[/IMG]</s>",
            "A:[IMG] A red dog[/IMG]</s>",
        ),
        (
            [Turn("X", "Look", "dog"), Turn("X", "yes")],
            "A: Look[IMG]<photo><photo><photo>[/IMG] yes</s>",
            "A: Look[IMG] A red dog[/IMG] yes</s>",
        ),
        (
            [Turn("X", photo="dog"), Turn("X", "or", "dog"), Turn("X", "a"), Turn("X", "b")],
            "A:[IMG]<photo><photo><photo>[/IMG] or[IMG]<photo><photo><photo>[/IMG] a b</s>",
            "A:[IMG] A red dog[/IMG] or[IMG] A red dog[/IMG] a b</s>",
        ),
    ],
)
def test_a_response_is_texts_and_photos_in_any_order(
    template: Template, dog: Photo, turns: list[Turn], context: str, target: str
) -> None:
    turns = [Turn(t.speaker, t.text, dog if t.photo else None) for t in turns]
    (response,) = Dialogue(turns).responses
    ids, photos = template.context(response, template.letters[0])
    assert written(template.tokenizer, ids) == context
    assert photos == response.photos
    ids, spans = template.target(response, template.letters[0], "k")
    assert written(template.tokenizer, ids) == target
    assert [written(template.tokenizer, ids[s.start : s.end]) for s in spans] == [
        " A red dog"
    ] * len(response.photos)
    assert [s.key for s in spans] == [f"k/{n}" for n in range(len(spans))]


def test_speakers_are_named_in_the_order_in_which_they_speak(template: Template) -> None:
    names = template.names(["zoe", "amy", "zoe", "bob"])
    assert {s: written(template.tokenizer, ids) for s, ids in names.items()} == {
        "zoe": "A:", "amy": "B:", "bob": "C:",
    }  # fmt: skip
    names = template.names(map(str, range(28)))
    last = [written(template.tokenizer, names[s]) for s in ("24", "25", "26", "27")]
    assert last == ["Y:", "Z:", "A:", "B:"]


@pytest.mark.parametrize("mark", ["[IMG]", "[/IMG]", "<photo>", "</s>", "<s>", "<pad>"])
def test_marks_that_a_user_typed_stay_plain_characters(template: Template, mark: str) -> None:
    text = f"a {mark} b{mark}"
    caption = Photo(None, f"x{mark} y")  # type: ignore[arg-type]
    (response,) = Dialogue([Turn("X", text, caption)]).responses
    special = template.id(mark)
    assert special not in template.tokens(text)
    assert written(template.tokenizer, template.tokens(text)) == f" {text}"
    ids, (span,) = template.target(response, template.letters[0], "")
    assert special not in ids[span.start : span.end]
    assert special not in told(template.tokenizer)(caption)
    plain = Dialogue([Turn("X", text), Turn("Y", text), Turn("X", text)])
    for packed in template.pack(plain):
        assert packed.photos == [] and packed.captions == []
        expected = {"</s>": 3, "<s>": 1}.get(mark, 0)
        assert packed.ids.count(special) == expected


def test_a_tokenizer_that_begins_every_text_begins_a_sequence_once(
    tokenizer: Any, dog: Photo
) -> None:
    """As Llama's does."""
    beginning = TokenizerObject.from_str(tokenizer.backend_tokenizer.to_str())
    beginning.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )
    like_llama = PreTrainedTokenizerFast(
        tokenizer_object=beginning, bos_token="<s>", eos_token="</s>",
        additional_special_tokens=["[IMG]", "[/IMG]", "<photo>"],
    )  # fmt: skip
    assert written(like_llama, like_llama("a").input_ids) == "<s>a"
    template = Template(like_llama, told(like_llama))
    turns = [Turn("X", "a", dog), Turn("Y", "b", dog)]
    (packed,) = template.pack(Dialogue(turns))
    assert packed.ids.count(tokenizer.bos_token_id) == 1
    prompt = template.prompt(Dialogue(turns).responses, "X")
    assert written(tokenizer, prompt.ids) == (
        "<s>A: a[IMG] A red dog[/IMG]</s>B: b[IMG] A red dog[/IMG]</s>A:"
    )


def test_a_tokenizer_without_marks_is_refused(tokenizer: Any) -> None:
    class Bare:
        unk_token_id = None

        def convert_tokens_to_ids(self, token: str) -> int | None:
            return None if token == "[/IMG]" else 1

    with pytest.raises(ConfigError) as caught:
        Template(Bare(), seen(tokenizer, 3))  # type: ignore[arg-type]
    assert str(caught.value) == (
        "The tokenizer does not know [/IMG]. Add it with `tokenizer.add_special_tokens` and "
        "resize the LLM's embeddings."
    )


# -- labels, positions, masks ------------------------------------------------------------------


def test_labels_positions_and_segments_by_hand(template: Template, dog: Photo) -> None:
    """`<s> A: a </s>`, then the photo as target and as context, then `A: a </s>`.

    "A:" and "B:" are two tokens, " a" is one, " A red dog" is as many as the tokenizer says.
    """
    n = len(words(template.tokenizer, " A red dog"))
    (packed,) = template.pack(
        Dialogue([Turn("X", "a"), Turn("Y", photo=dog), Turn("X", "a")], "d7")
    )
    expected = [
        ("<s>", 0, 0, 0), ("A", 1, 0, 0), (":", 2, 0, 0), (" a", 3, 0, 0), ("</s>", 4, 0, 0),
        ("B", 5, 1, 0), (":", 6, 1, 0), ("[IMG]", 7, 1, 1),
        *[("caption", 8 + i, 1, 1) for i in range(n)],
        ("[/IMG]", 8 + n, 1, 1), ("</s>", 9 + n, 1, 1),
        ("B", 5, 0, 0), (":", 6, 0, 0), ("[IMG]", 7, 0, 0), ("<photo>", 8, 0, 0),
        ("<photo>", 9, 0, 0), ("<photo>", 10, 0, 0), ("[/IMG]", 11, 0, 0), ("</s>", 12, 0, 0),
        ("A", 13, 0, 0), (":", 14, 0, 0), (" a", 15, 0, 1), ("</s>", 16, 0, 1),
    ]  # fmt: skip
    assert len(packed) == len(expected)
    for i, (token, position, segment, supervised) in enumerate(expected):
        if token != "caption":
            assert written(template.tokenizer, [packed.ids[i]]) == token
        assert packed.positions[i] == position
        assert packed.segments[i] == segment
        assert packed.labels[i] == (packed.ids[i] if supervised else IGNORE)
    assert packed.photos == [dog]
    (span,) = packed.captions
    assert (span.start, span.end, span.key) == (8, 8 + n, "d7/1/0")
    assert written(template.tokenizer, packed.ids[span.start : span.end]) == " A red dog"
    assert packed.dropped == 0


@pytest.mark.parametrize("seed", range(8))
def test_every_response_after_the_first_is_supervised_exactly_once(
    template: Template, random_dialogue: Dialogues, seed: int
) -> None:
    dialogue = random_dialogue(seed, turns=9)
    responses = dialogue.responses
    wanted = []
    for index in range(1, len(responses)):
        ids, supervised = literal(template.tokenizer, responses, index)
        wanted.append([t for t, s in zip(ids, supervised, strict=True) if s])
    for limit in (10_000, 160, 100):
        short = Template(template.tokenizer, template.see, limit)
        packed = short.pack(dialogue)
        assert [run for p in packed for run in runs(p)] == wanted
        assert all(len(p) <= limit for p in packed)
        spoken = [s.photo for p in packed for s in p.captions]
        assert spoken == [photo for r in responses[1:] for photo in r.photos]
        keys = [s.key for p in packed for s in p.captions]
        assert len(set(keys)) == len(keys)
    assert len(template.pack(dialogue)) == 1
    assert template.max_length == 512


@pytest.mark.parametrize("limit", [10_000, 40])
def test_a_photo_without_a_caption_is_context_only(
    template: Template, dog: Photo, limit: int
) -> None:
    bare = replace(dog, caption=None)
    turns = [Turn("X", "a"), Turn("Y", "b", bare), Turn("X", "c"), Turn("Y", photo=dog)]
    packed = Template(template.tokenizer, template.see, limit).pack(Dialogue(turns))
    learnt = [written(template.tokenizer, run).strip() for p in packed for run in runs(p)]
    assert learnt == ["c</s>", "[IMG] A red dog[/IMG]</s>"]
    assert [s.photo for p in packed for s in p.captions] == [dog]
    assert bare in packed[0].photos


@pytest.mark.parametrize("seed", range(6))
def test_a_position_counts_what_it_sees_and_targets_are_hidden(
    template: Template, random_dialogue: Dialogues, seed: int
) -> None:
    sequences = [p for n in (seed, seed + 100) for p in template.pack(random_dialogue(n))]
    batch = collate(sequences, template.tokenizer.pad_token_id)
    for row, packed in enumerate(sequences):
        length = len(packed)
        mask = batch.mask[row, 0, :length, :length]
        assert (mask.sum(1) - 1).tolist() == packed.positions
        assert not mask.triu(1).any() and mask.diagonal().all()
        segments = torch.tensor(packed.segments)
        seen_by_others = mask & (segments[:, None] != segments[None]) & (segments[None] > 0)
        assert not seen_by_others.any()
        assert batch.mask[row, 0].any(-1).all()  # no row without anything to attend to
        assert not batch.mask[row, 0, :length, length:].any()
    assert batch.tokens == sum(len(run) for p in sequences for run in runs(p))


# -- packed losses are the one-by-one losses ---------------------------------------------------


def packed_losses(system: Any, packed: Packed) -> list[float]:
    batch = system.prepare(collate([packed], system.llm.tokenizer.pad_token_id))
    hidden = system.llm.hidden(system.embed(batch.ids, batch.seen), batch.mask, batch.positions)
    scores = F.log_softmax(system.llm.logits(hidden[0, :-1]), dim=-1)
    labels = batch.labels[0, 1:]
    return [-float(scores[i, t]) for i, t in enumerate(labels) if t != IGNORE]


def plain_losses(system: Any, responses: list[Response]) -> list[float]:
    """Each response after its re-encoded context, by transformers' own mask and positions."""
    losses = []
    for index in range(1, len(responses)):
        ids, supervised = literal(system.llm.tokenizer, responses, index)
        photos = [photo for r in responses[:index] for photo in r.photos]
        embeddings = system.llm.embed(torch.tensor([ids])).clone()
        if photos:
            visual = system.perceptron(system.perceptron.look([p.open() for p in photos]))
            place = torch.tensor(ids) == system.llm.tokenizer.convert_tokens_to_ids("<photo>")
            embeddings[0, place] = visual.flatten(0, 1)
        scores = F.log_softmax(system.llm.model(inputs_embeds=embeddings).logits[0], dim=-1)
        losses += [-float(scores[i - 1, ids[i]]) for i in range(len(ids)) if supervised[i]]
    return losses


def check_losses(system: Any, template: Template, dialogue: Dialogue) -> None:
    with torch.no_grad():
        packed = [loss for p in template.pack(dialogue) for loss in packed_losses(system, p)]
        plain = plain_losses(system, dialogue.responses)
    torch.testing.assert_close(torch.tensor(packed), torch.tensor(plain), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_packed_losses_equal_one_by_one(
    build: SimpleNamespace, template: Template, random_dialogue: Dialogues, seed: int
) -> None:
    photos = (0.0, 0.3, 0.5, 0.7, 1.0)[seed]
    check_losses(build.end_to_end(), template, random_dialogue(seed, 6, photos))


def test_packed_losses_equal_one_by_one_with_photos_in_the_middle(
    build: SimpleNamespace, template: Template, random_photo: Callable[[random.Random], Photo]
) -> None:
    rng = random.Random(5)
    first, second, third = (random_photo(rng) for _ in range(3))
    turns = [
        Turn("X", "Look", first), Turn("X", "at my dog", second), Turn("X", "on the beach"),
        Turn("Y", "", third), Turn("Y", "is it yours", first), Turn("Y", "yes"),
        Turn("X", "What a lovely photo"), Turn("Y", "", second), Turn("X", "Yes"),
    ]  # fmt: skip
    check_losses(build.end_to_end(), template, Dialogue(turns))


def test_padding_changes_no_loss(
    build: SimpleNamespace, template: Template, random_dialogue: Dialogues
) -> None:
    system = build.end_to_end()
    sequences = [template.pack(random_dialogue(n, t))[0] for n, t in ((0, 3), (1, 9))]
    batch = system.prepare(collate(sequences, template.tokenizer.pad_token_id))
    with torch.no_grad():
        embeddings = system.embed(batch.ids, batch.seen)
        scores = system.llm.logits(system.llm.hidden(embeddings, batch.mask, batch.positions))
        nll = F.cross_entropy(scores[:, :-1].mT, batch.labels[:, 1:], reduction="none")
        together = nll[batch.labels[:, 1:] != IGNORE]
        alone = [loss for p in sequences for loss in packed_losses(system, p)]
    torch.testing.assert_close(together, torch.tensor(alone), rtol=1e-5, atol=1e-5)


# -- what does not fit -------------------------------------------------------------------------


def test_truncation_keeps_the_newest_and_says_what_it_dropped(
    template: Template, dog: Photo
) -> None:
    turns = [Turn("X", "a", dog), Turn("Y", "b"), Turn("X", "c"), Turn("Y", "d")]
    # `<s>` 1, the photo 3 + 1 + 5 = 9, a text `B: b </s>` 4.
    for limit, dropped, text in (
        (21, 1, "<s>B: b</s>A: c</s>B: d</s>"),
        (13, 1, "<s>B: b</s>A: c</s>B: d</s>"),
        (12, 2, "<s>A: c</s>B: d</s>"),
        (5, 3, "<s>B: d</s>"),
    ):
        short = Template(template.tokenizer, template.see, limit)
        packed = short.pack(Dialogue(turns))[-1]
        assert (packed.dropped, written(template.tokenizer, packed.ids)) == (dropped, text)
        assert packed.photos == []
        assert packed.positions == list(range(len(packed)))
        assert [written(template.tokenizer, run) for run in runs(packed)] == [" d</s>"]


def test_a_prompt_keeps_the_newest_and_ends_where_the_reply_begins(
    template: Template, dog: Photo
) -> None:
    responses = Dialogue([Turn("X", "a", dog), Turn("Y", "b"), Turn("X", "c")]).responses
    for limit, dropped, text in (
        (20, 0, "<s>A: a[IMG]<photo><photo><photo>[/IMG]</s>B: b</s>A: c</s>B:"),
        (19, 1, "<s>B: b</s>A: c</s>B:"),
        (10, 2, "<s>A: c</s>B:"),
        (6, 3, "<s>B:"),
        (1, 3, "<s>B:"),
    ):
        short = Template(template.tokenizer, template.see, limit)
        packed = short.prompt(responses, "Y")
        assert (packed.dropped, written(template.tokenizer, packed.ids)) == (dropped, text)
        assert packed.photos == ([dog] if dropped == 0 else [])
        assert set(packed.labels) == {IGNORE} and set(packed.segments) == {0}


def test_a_dialogue_that_does_not_fit_falls_back_to_single_sequences(template: Template) -> None:
    dialogue = Dialogue([Turn("XY"[i % 2], "abcdef"[i]) for i in range(6)], "long")
    short = Template(template.tokenizer, template.see, 13)  # `<s>` and three texts of 4
    texts = [written(template.tokenizer, p.ids) for p in short.pack(dialogue)]
    assert texts == [
        "<s>A: a</s>B: b</s>A: c</s>",
        "<s>B: b</s>A: c</s>B: d</s>",
        "<s>A: c</s>B: d</s>A: e</s>",
        "<s>B: d</s>A: e</s>B: f</s>",
    ]
    assert [p.dropped for p in short.pack(dialogue)] == [0, 1, 2, 3]


def test_a_response_that_cannot_fit_is_left_out_and_named(template: Template) -> None:
    short = Template(template.tokenizer, template.see, 5)
    dialogue = Dialogue([Turn("X", "a"), Turn("Y", "b b"), Turn("X", "c")], "d3")
    named = []
    (packed,) = short.pack(dialogue, lambda at, reason: named.append((at, reason)))
    assert written(template.tokenizer, packed.ids) == "<s>A: c</s>"
    assert named == [
        (
            "dialogue d3, response 1",
            "a response that is longer than max_length 5 "
            "(raise it with --set sequence.max_length=…)",
        )
    ]


def test_a_dialogue_of_one_response_has_no_instance(template: Template) -> None:
    assert template.pack(Dialogue([Turn("X", "a"), Turn("X", "b")])) == []


# -- the pipeline's photos, told in words ------------------------------------------------------


def test_told_photos_are_captions_and_stand_once(tokenizer: Any, dog: Photo) -> None:
    told_template = Template(tokenizer, told(tokenizer))
    turns = [Turn("X", "a"), Turn("Y", "b", dog), Turn("X", "c")]
    (packed,) = told_template.pack(Dialogue(turns))
    text = "<s>A: a</s>B: b[IMG] A red dog[/IMG]</s>A: c</s>"
    assert written(tokenizer, packed.ids) == text
    assert packed.photos == [] and len(packed.captions) == 1
    assert packed.positions == list(range(len(packed))) and set(packed.segments) == {0}
    assert [written(tokenizer, run) for run in runs(packed)] == [
        " b[IMG] A red dog[/IMG]</s>",
        " c</s>",
    ]
    other = Template(tokenizer, told(tokenizer, lambda photo: "A photo"))
    (packed,) = other.pack(Dialogue(turns))
    assert "A red dog[/IMG]</s>B: b[IMG] A photo[/IMG]</s>" in written(tokenizer, packed.ids)
    assert packed.photos == []


def test_a_photo_of_which_nobody_said_anything_is_told_in_no_words(tokenizer: Any) -> None:
    bare = Photo(None)  # type: ignore[arg-type]
    assert told(tokenizer)(bare) == plain_ids(tokenizer, "")
    template = Template(tokenizer, told(tokenizer))
    ids, (span,) = template.target(Response("X", (Turn("X", "", bare),)), [], "d/1")
    assert span.end - span.start == len(plain_ids(tokenizer, ""))
    assert len(ids) == 3 + span.end - span.start  # [IMG], [/IMG], the end
