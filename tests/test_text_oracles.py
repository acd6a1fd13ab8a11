"""Text scores against sacreBLEU, rouge-score and NLTK, on 5,000 random and 5,000 real pairs."""

from __future__ import annotations

import functools
import json
import random
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from nltk.tokenize import word_tokenize
from nltk.translate.bleu_score import corpus_bleu
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from pscli.errors import ConfigError
from pscli.metrics import tokens
from pscli.metrics.distinct import distinct, resampled_distinct
from pscli.metrics.overlap import chrf, longest_common, overlap
from pscli.metrics.text import CONVENTIONS, Text, Words
from pscli.metrics.tokens import CHOICES, tokenizer
from pscli.predictions.folder import Prediction, Side

PHOTOCHAT = Path(__file__).parents[2] / "shared" / "data" / "photochat"
N = 5_000
Pairs = tuple[list[str], list[str]]  # hypotheses, references
STRANGE = """look at my red dog Dog dogs don't it's U.S.A. 3.50 $5 10,000 state-of-the-art ... . ,
! ?! 'tis "so" (very) :) 😊 👍🏽 é ÉTÉ naïve straße кот Кот 猫 这只猫 かわいい 고양이 बिल्ली
&quot;hi&quot; <skipped> <b> a_b http://x.org/?q=1 @me #tag x2 2x -- –"""
WORDS = [*STRANGE.split(), "\u200b", "\u00a0", "\t", "\n", ""]


@functools.cache
def random_pairs() -> Pairs:
    """Hypotheses copy much of their reference; a few of either are empty or strange."""
    rng = random.Random(0)
    references = [
        " ".join(rng.choices(WORDS, k=rng.choice((1, 2, 3, 9, 20)))) for _ in range(N + N // 20)
    ]
    hypotheses = []
    for reference in references:
        kept = [w if rng.random() < 0.7 else rng.choice(WORDS) for w in reference.split(" ")]
        rng.random() < 0.2 and rng.shuffle(kept)
        hypotheses.append(" ".join(kept[: rng.randint(0, 20)]))
    return hypotheses, references


@functools.cache
def real_pairs() -> Pairs:
    """Messages of PhotoChat, each predicted as the one that the same person wrote before."""
    files = sorted(PHOTOCHAT.glob("test/*.json"))
    if not files:
        pytest.skip("PhotoChat is not there")
    hypotheses: list[str] = []
    references: list[str] = []
    for talk in (talk for file in files for talk in json.loads(file.read_text("utf-8"))):
        said: dict[int, str] = {}
        for turn in talk["dialogue"]:
            if turn["message"].strip() and turn["user_id"] in said:
                hypotheses.append(said[turn["user_id"]])
                references.append(turn["message"])
            said[turn["user_id"]] = turn["message"]
    assert len(references) >= N
    return hypotheses[:N], references[:N]


SOURCES = pytest.mark.parametrize("source", [random_pairs, real_pairs])


def seen(source: Callable[[], Pairs]) -> Pairs:
    """Pairs whose reference has text: the others are left out on purpose."""
    some = [pair for pair in zip(*source(), strict=True) if pair[1].strip()]
    return [h for h, _ in some], [r for _, r in some]


def values(text: Text, pairs: Pairs) -> list[Words]:
    some = [Prediction("x", None, Side(r), Side(h)) for h, r in zip(*pairs, strict=True)]
    return [value for value in text.values(some) if value is not None]


def figures(
    pairs: Pairs, convention: str = "sacrebleu", tokenize: str | None = None
) -> dict[str, float]:
    text = Text(convention, tokenize=tokenize)
    return {score.name: score.value for score in text.scores(values(text, pairs)).scores}


@SOURCES
@pytest.mark.parametrize("tokenize", ["13a", "intl", "zh", "ja-mecab", "char", "none"])
def test_bleu_and_chrf_are_those_of_sacrebleu(source: Callable[[], Pairs], tokenize: str) -> None:
    if tokenize == "ja-mecab":
        pytest.importorskip("MeCab")
    pairs = seen(source)
    if tokenize != "13a":
        pairs = pairs[0][:900], pairs[1][:900]
    found = figures(pairs, tokenize=tokenize)
    for order in (1, 2, 4):
        whole = BLEU(tokenize=tokenize, max_ngram_order=order, force=True)
        score = whole.corpus_score(pairs[0], [pairs[1]])
        assert found[f"BLEU-{order}"] == pytest.approx(score.score, abs=1e-9)
        assert 0.5 < score.score < 90
    assert found["chrF"] == pytest.approx(CHRF().corpus_score(pairs[0], [pairs[1]]).score, abs=1e-9)
    assert found["length ratio"] == pytest.approx(score.sys_len / score.ref_len)
    assert found["length"] == pytest.approx(score.sys_len / len(pairs[1]))


@SOURCES
def test_smoothing_is_that_of_sacrebleu_pair_by_pair(source: Callable[[], Pairs]) -> None:
    """Single pairs have orders without a match, and without an n-gram at all."""
    text = Text()
    hypotheses, references = (side[:500] for side in seen(source))
    rows = values(text, (hypotheses, references))
    ours = text.figures(text.sums(rows))
    for order in (1, 2, 4):
        one = BLEU(max_ngram_order=order, effective_order=False, force=True)
        # Where a reference has no n-gram, sacreBLEU has a figure all the same; we say why not.
        short = [len(one.tokenizer(r).split()) < order for r in references]
        pairs = zip(hypotheses, references, short, strict=True)
        expected = [np.nan if s else one.corpus_score([h], [[r]]).score for h, r, s in pairs]
        assert ours[f"BLEU-{order}"].tolist() == pytest.approx(expected, abs=1e-9, nan_ok=True)
    pairs = zip(hypotheses, references, strict=True)
    expected = [CHRF().corpus_score([h], [[r]]).score for h, r in pairs]
    assert ours["chrF"].tolist() == pytest.approx(expected, abs=1e-9)


@SOURCES
def test_rouge_l_is_that_of_rouge_score(source: Callable[[], Pairs]) -> None:
    pairs = seen(source)
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    each = [scorer.score(r, h)["rougeL"].fmeasure for h, r in zip(*pairs, strict=True)]
    assert figures(pairs)["ROUGE-L"] == pytest.approx(100 * sum(each) / len(each), abs=1e-9)

    class Own:
        def tokenize(self, text: str) -> Sequence[str]:
            return tokenizer("intl")(text)

    scorer = RougeScorer(["rougeL"], tokenizer=Own())
    each = [scorer.score(r, h)["rougeL"].fmeasure for h, r in zip(*pairs, strict=True)]
    found = figures(pairs, tokenize="intl")["ROUGE-L"]
    assert found == pytest.approx(100 * sum(each) / len(each), abs=1e-9)


@SOURCES
@pytest.mark.parametrize("tokenize", [None, "none"])
def test_the_convention_of_nltk_is_its_corpus_bleu(
    source: Callable[[], Pairs], tokenize: str | None
) -> None:
    both = zip(*seen(source), strict=True)
    some = [pair for pair in both if len(pair[1].split()) > 3]
    pairs = [h for h, _ in some], [r for _, r in some]
    cut = str.split if tokenize else functools.partial(word_tokenize, preserve_line=True)
    split = [[cut(r)] for r in pairs[1]], [cut(h) for h in pairs[0]]
    for some in (slice(None), slice(7), slice(100, 103)):  # few may have no match of four tokens
        found = figures((pairs[0][some], pairs[1][some]), "nltk-cumulative", tokenize)
        for order in (1, 2, 4):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                whole = corpus_bleu(split[0][some], split[1][some], [1 / order] * order)
            assert found[f"BLEU-{order}"] == pytest.approx(100 * whole, abs=1e-9)


def test_a_hypothesis_shorter_than_n_has_one_wrong_n_gram_for_nltk() -> None:
    """By hand: of pairs, `a b` is right of `a b` and one that `a` does not have: 1/2; √(3/3 · 1/2);
    no penalty at 3 words against 3."""
    found = figures((["a b", "a"], ["a b", "a"]), "nltk-cumulative", "none")
    assert found["BLEU-2"] == pytest.approx(100 * 0.5**0.5)
    assert figures((["a b", "a"], ["a b", "a"]))["BLEU-2"] == pytest.approx(100)


# -- hand counts -------------------------------------------------------------------------------


def test_overlap_by_hand() -> None:
    # a b a b ↔ b a b c: a once, b twice; ba, ab; bab | 4, 3, 2 of each
    assert overlap("abab", "babc", 3) == [3, 4, 4, 2, 3, 3, 1, 2, 2]
    assert overlap(("a",), (), 2) == [0, 1, 0, 0, 0, 0]


def test_chrf_by_hand() -> None:
    """ab ↔ abc: letters 2/2 and 2/3, pairs 1/1 and 1/2; no triple of the former counts.
    Means 1 and 7/12; F_2 = 5 · 7/12 / (4 + 7/12) = 7/11."""
    assert figures((["a b"], ["a bc"]))["chrF"] == pytest.approx(700 / 11)
    assert chrf(np.array([[0.0, 0, 2, 0, 0, 1]])).tolist() == [0]


def test_distinct_by_hand() -> None:
    """a b a · a b: 2 of 5 words, 2 of 3 pairs (ab, ba, ab)."""
    texts = [("a", "b", "a"), ("a", "b"), ()]
    assert distinct(texts, 1) == pytest.approx(40)
    assert distinct(texts, 2) == pytest.approx(200 / 3)
    assert np.isnan(distinct(texts, 4)) and np.isnan(distinct([], 1))
    found = figures((["a b a", "a b"], ["x", "x"]))
    assert (found["Distinct-1"], found["length"]) == (pytest.approx(40), 2.5)
    assert found["length ratio"] == 2.5


@pytest.mark.parametrize("seed", range(20))
def test_the_longest_common_subsequence_is_that_of_the_table(seed: int) -> None:
    rng = random.Random(seed)
    a, b = (rng.choices("abcd", k=rng.randint(0, 90)) for _ in range(2))
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    for i, j in np.ndindex(len(a), len(b)):
        step = table[i, j] + 1 if a[i] == b[j] else max(table[i, j + 1], table[i + 1, j])
        table[i + 1, j + 1] = step
    assert longest_common(a, b) == table[-1, -1]


# -- resamples ---------------------------------------------------------------------------------


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_figures_of_resamples_are_scores_of_repeated_values(convention: str) -> None:
    text = Text(convention)
    rows = values(text, tuple(side[:60] for side in seen(random_pairs)))
    counts = np.random.default_rng(0).multinomial(60, np.full(60, 1 / 60), 9).astype(float)
    counts[8] = np.eye(60)[3]
    found = text.resampled(rows, counts)
    assert list(found) == list(text.names)
    for k, row in enumerate(counts.astype(int)):
        some = [value for value, times in zip(rows, row, strict=True) for _ in range(times)]
        scores = {score.name: score.value for score in text.scores(some).scores}
        for name, figure in found.items():
            assert figure[k] == pytest.approx(scores.get(name, np.nan), nan_ok=True)


def test_of_no_values_sums_are_none() -> None:
    text = Text()
    assert len(text.sums([])) == 0
    assert all(np.isnan(v).all() for v in text.figures(text.sums([]).sum(0)[None]).values())


def test_distinct_of_resamples_without_a_token_is_none() -> None:
    texts = [(), ("a", "b"), ("b",)]
    counts = np.array([[1.0, 0, 0], [5, 1, 2], [0, 0, 3]])
    assert resampled_distinct(texts, 1, counts) == pytest.approx([np.nan, 50, 100 / 3], nan_ok=True)
    assert np.isnan(resampled_distinct([(), ()], 1, np.ones((4, 2)))).tolist() == [True] * 4


# -- tokenizers --------------------------------------------------------------------------------

IDENTICAL = {
    "zh": ["这只猫真可爱", "今天天气很好"],
    "char": ["这只猫真可爱", "今天天气很好"],
    "intl": ["Какая красивая кошка", "Да, очень!"],
    "none": ["कितनी प्यारी बिल्ली", "हाँ बहुत"],
    "ja-mecab": ["猫はかわいいです", "今日は天気がいい"],
}


@pytest.mark.parametrize("name", IDENTICAL)
def test_identical_texts_get_all_in_any_script(name: str) -> None:
    if name == "ja-mecab":
        pytest.importorskip("MeCab")
    found = figures((IDENTICAL[name], IDENTICAL[name]), tokenize=name)
    for score in ("BLEU-1", "BLEU-2", "ROUGE-L", "chrF"):
        assert found[score] == pytest.approx(100)
    swapped = figures((IDENTICAL[name], IDENTICAL[name][::-1]), tokenize=name)
    assert swapped["ROUGE-L"] < 50


def test_signatures_name_the_tokenizer() -> None:
    def hows(*options: str | None) -> dict[str, str]:
        text = Text(options[0] or "sacrebleu", tokenize=options[1])
        rows = values(text, (["a b c d"], ["a b c d"]))
        return {score.name: score.how for score in text.scores(rows).scores}

    usual = hows(None, None)
    assert usual == hows("sacrebleu", "13a")
    assert "|tok:rouge-score(a-z0-9)|case:lower|" in usual["ROUGE-L"]
    zh = hows(None, "zh")
    for name in ("BLEU-2", "ROUGE-L", "Distinct-2", "length", "length ratio"):
        assert "|tok:zh" in zh[name] and "|tok:zh" not in usual[name]
    assert "tok:split" in zh["BLEU-2 (individual)"] and "|case:mixed|" in zh["ROUGE-L"]
    assert zh["chrF"] == usual["chrF"]
    nltk = hows("nltk-cumulative", None)
    assert "|tok:nltk.word_tokenize(preserve_line)|case:mixed|smooth:none|nltk:" in nltk["BLEU-4"]
    assert "|tok:rouge-score(a-z0-9)|" in nltk["ROUGE-L"] and "|tok:split|" not in str(nltk)
    assert "|tok:split|" in hows("nltk-cumulative", "none")["BLEU-1"]
    assert "|tok:zh|" in hows("authors", "zh")["BLEU-2 (individual)"]


def test_references_without_a_token_are_counted_in_the_signature() -> None:
    text = Text()
    rows = values(text, (["😊", "a dog", "yes"], ["😊", "a dog", "yes"]))
    (rouge,) = [score for score in text.scores(rows).scores if score.name == "ROUGE-L"]
    assert rouge.value == pytest.approx(200 / 3)
    assert rouge.how.endswith("|references-without-a-token:1")


@pytest.mark.parametrize("name", ["spam", "13A", "spm", "rouge-score", ""])
def test_another_tokenizer_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"no tokenizer '{name}'.*Known: 13a, intl, zh, "):
        Text(tokenize=name)


@pytest.mark.parametrize(
    ("name", "module", "cure"),
    [
        ("ja-mecab", "tokenizer_ja_mecab", r'pip install "sacrebleu\[ja\]"'),
        ("ko-mecab", "tokenizer_ko_mecab", r'pip install "sacrebleu\[ko\]"'),
    ],
)
def test_what_a_tokenizer_lacks_is_said(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, cure: str
) -> None:
    monkeypatch.setattr(f"sacrebleu.tokenizers.{module}.MeCab", None)
    tokenizer.cache_clear()
    with pytest.raises(ConfigError, match=f"The tokenizer '{name}' cannot be had.*{cure}"):
        Text(tokenize=name)


def test_flores_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    tokenizer.cache_clear()
    with pytest.raises(ConfigError, match=r"'flores200' cannot be had.*pip install sentencepiece"):
        Text(tokenize="flores200")


def test_every_choice_has_an_error_or_tokens() -> None:
    for name in CHOICES:
        try:
            assert tokenizer(name)("") == ()
        except ConfigError:
            assert name in tokens.NEEDS
