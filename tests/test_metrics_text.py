"""BLEU and ROUGE-L against hand counts, nltk and a literal longest common subsequence."""

from __future__ import annotations

import json
import math
import random
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from nltk.translate.bleu_score import corpus_bleu
from sacrebleu.metrics.bleu import BLEU
from typer.testing import CliRunner

from pscli.cli import app
from pscli.errors import ConfigError
from pscli.metrics.base import Score, Scored
from pscli.metrics.text import Text
from pscli.predictions.folder import Prediction, Side

NAMES = Text().names
WORDS = ["look", "at", "my", "red", "dog", "on", "the", "beach", "is", "it", "big", "yes"]


def corpus(seed: int = 0) -> tuple[list[str], list[str]]:
    """Forty pairs in which hypotheses copy some of their reference; each has 3 to 12 words."""
    rng = random.Random(seed)
    references = [" ".join(rng.choices(WORDS, k=rng.randint(5, 12))) for _ in range(40)]
    hypotheses = []
    for reference in references:
        words = [w if rng.random() < 0.7 else rng.choice(WORDS) for w in reference.split()]
        hypotheses.append(" ".join(words[: rng.randint(3, 12)]))
    return hypotheses, references


def prediction(text: str, reference: str) -> Prediction:
    return Prediction("x", None, Side(reference), Side(text))


def scored(hypotheses: list[str], references: list[str]) -> Scored:
    text = Text()
    values = text.values(list(map(prediction, hypotheses, references)))
    return text.scores([value for value in values if value is not None])


def bleu(hypotheses: list[str], references: list[str], order: int) -> Score:
    return scored(hypotheses, references)[f"BLEU-{order}"]


def individual_bleu(hypotheses: list[str], references: list[str], order: int) -> Score:
    return scored(hypotheses, references)[f"BLEU-{order} (individual)"]


def test_bleu_matches_a_hand_count() -> None:
    # the · cat · sat ↔ the · cat · is · here: 2 of 3 words, 1 of 2 pairs, 3 words against 4
    penalty = math.exp(1 - 4 / 3)
    hypotheses, references = ["the cat sat"], ["the cat is here"]
    assert bleu(hypotheses, references, 1).value == pytest.approx(100 * penalty * 2 / 3)
    assert bleu(hypotheses, references, 2).value == pytest.approx(100 * penalty * math.sqrt(1 / 3))
    assert individual_bleu(hypotheses, references, 2).value == pytest.approx(100 * penalty / 2)


@pytest.mark.parametrize("order", [1, 2])
def test_bleu_matches_nltk(order: int) -> None:
    hypotheses, references = corpus()
    tokens = [[r.split()] for r in references], [h.split() for h in hypotheses]
    expected = 100 * corpus_bleu(*tokens, weights=[1 / order] * order)
    assert bleu(hypotheses, references, order).value == pytest.approx(expected)
    expected = 100 * corpus_bleu(*tokens, weights=[0] * (order - 1) + [1])
    assert individual_bleu(hypotheses, references, order).value == pytest.approx(expected)


def test_the_conventions_differ_in_tokens_and_mean() -> None:
    """13a parts a word from its full stop; split does not, and both keep case."""
    hypotheses, references = ["a Dog."], ["a Dog"]
    assert bleu(hypotheses, references, 1).value == pytest.approx(100 * 2 / 3)
    assert individual_bleu(hypotheses, references, 1).value == pytest.approx(50)
    assert bleu(["a dog"], ["a Dog"], 1).value == pytest.approx(50)
    hypotheses, references = corpus(1)
    one, two = (individual_bleu(hypotheses, references, n).value for n in (1, 2))
    assert bleu(hypotheses, references, 2).value == pytest.approx(math.sqrt(one * two))


def literal_rouge_l(hypothesis: str, reference: str) -> float:
    a, b = (re.findall("[a-z0-9]+", text.lower()) for text in (hypothesis, reference))

    def longest(i: int, j: int) -> int:
        if i == len(a) or j == len(b):
            return 0
        if a[i] == b[j]:
            return 1 + longest(i + 1, j + 1)
        return max(longest(i + 1, j), longest(i, j + 1))

    common = longest(0, 0)
    return 200 * common / (len(a) + len(b)) if common else 0.0


def test_rouge_l_matches_a_literal_longest_common_subsequence() -> None:
    hypotheses, references = (texts[:12] for texts in corpus(2))
    hypotheses[0], hypotheses[1] = "", references[1].upper() + "!"
    expected = [literal_rouge_l(h, r) for h, r in zip(hypotheses, references, strict=True)]
    assert expected[:2] == [0, 100]
    assert scored(hypotheses, references)["ROUGE-L"].value == pytest.approx(sum(expected) / 12)


def test_only_references_with_text_count_and_empty_predictions_do() -> None:
    found = scored(["a b c d", "", "noise"], ["a b c d", "e f g h", " "])
    assert [score.name for score in found.scores] == list(NAMES)
    assert {score.n for score in found.scores} == {2}
    assert found["BLEU-1"].value == pytest.approx(100 * math.exp(1 - 4 / 2))
    assert found["ROUGE-L"].value == pytest.approx(50)


def test_without_reference_text_every_text_score_is_left_out() -> None:
    found = scored(["noise"], [""])
    assert found.scores == () and set(found.reasons) == set(NAMES)


def test_without_a_predicted_word_scores_are_zero() -> None:
    found = scored([""], ["a b c d"])
    assert {score.value for score in found.scores} == {0}
    assert found.reasons == {
        "Distinct-1": "no prediction has 1 token",
        "Distinct-2": "no prediction has 2 tokens",
    }


@pytest.mark.parametrize("seed", range(3))
def test_scores_from_single_instances_are_those_of_the_corpus(seed: int) -> None:
    """Oracle: sacreBLEU's corpus_score of any of the instances."""
    hypotheses, references = corpus(seed)
    hypotheses[:4] = ["", "!", "a dog , really .", references[3].split()[0]]
    values = Text().values(list(map(prediction, hypotheses, references)))
    for some in (range(40), range(0, 40, 3), [5], [3], [0, 0, 1]):
        found = Text().scores([values[i] for i in some])
        pair = [hypotheses[i] for i in some], [[references[i] for i in some]]
        for order in (1, 2):
            whole = BLEU(max_ngram_order=order, tokenize="13a", force=True).corpus_score(*pair)
            assert found[f"BLEU-{order}"].value == pytest.approx(whole.score, rel=1e-14)
            split = BLEU(
                max_ngram_order=order, tokenize="none", smooth_method="none", force=True
            ).corpus_score(*pair)
            name = f"BLEU-{order} (individual)"
            expected = split.bp * split.precisions[order - 1]
            assert found[name].value == pytest.approx(expected, rel=1e-14)


def test_what_no_tokenizer_sees_is_a_reason_and_no_zero() -> None:
    """Identical texts: 13a takes the Chinese sentence for one token, rouge-score for none."""
    chinese = scored(["这只猫真可爱"], ["这只猫真可爱"])
    assert {s.name: s.value for s in chinese.scores} == {
        "BLEU-1": pytest.approx(100),
        "BLEU-1 (individual)": pytest.approx(100),
        "chrF": pytest.approx(100),
        "length": 1,
        "length ratio": 1,
        "Distinct-1": 100,
    }
    assert chinese.reasons["BLEU-2"] == "no reference has 2 tokens (tok:13a)"
    assert chinese.reasons["ROUGE-L"] == (
        "rouge-score reads a-z and 0-9, which 1 of 1 references lack: --tokenize intl, zh, "
        "ja-mecab, ko-mecab or char reads others"
    )
    russian = scored(["Какая красивая кошка"] * 2, ["Какая красивая кошка", "a cat"])
    assert set(russian.reasons) == {"BLEU-4"}  # half of them are seen
    assert russian["ROUGE-L"].value == 0
    assert scored(["Какая кошка"] * 3, ["Какая кошка", "Какая", "a"]).reasons.keys() == {
        "BLEU-4",
        "ROUGE-L",
    }
    blank = scored(["<skipped>"], ["<skipped>"])  # 13a takes these for no text
    assert blank.reasons["BLEU-1"] == "no reference has a token (tok:13a)"


def test_a_score_carries_how_it_was_computed() -> None:
    score = bleu(["a b"], ["a b"], 2)
    pattern = (
        r"BLEU-2 100\.00 \|order:2\|cumulative\|tok:13a\|case:mixed\|smooth:exp\|sacreb.*\|n:1$"
    )
    assert re.match(pattern, str(score))
    assert score.better == "higher"
    assert "|individual|tok:split|" in individual_bleu(["a b"], ["a b"], 2).signature


def test_text_scores_need_no_torch() -> None:
    code = "import sys, pscli.metrics.score; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# ---------------------------------------------------------------------------- the authors' way


def as_authors(pairs: list[tuple[list[str], list[str]]], order: int) -> tuple[float, float]:
    """BLEU-n and ROUGE-L of (hypothesis, reference) tokens, written out: no library."""
    right = everything = length = wanted = 0
    f1s = []
    for hypothesis, reference in pairs:
        length, wanted = length + len(hypothesis), wanted + len(reference)
        grams = [
            [tuple(words[i : i + order]) for i in range(len(words) - order + 1)]
            for words in (hypothesis, reference)
        ]
        everything += len(grams[0])
        right += sum(min(grams[0].count(g), grams[1].count(g)) for g in set(grams[0]))
        common = lcs(hypothesis, reference)
        f1s.append(2 * common / (len(hypothesis) + len(reference)))
    penalty = 1.0 if length > wanted else math.exp(1 - wanted / length)
    return 100 * penalty * right / everything, 100 * sum(f1s) / len(f1s)


def lcs(a: list[str], b: list[str]) -> int:
    """Of all subsequences of the shorter one."""
    if not a or not b:
        return 0
    rest = lcs(a[1:], b)
    return max(rest, 1 + lcs(a[1:], b[b.index(a[0]) + 1 :])) if a[0] in b else rest


DOG, TOY = "Objects in the photo: Dog", "Objects in the photo: Dog, Toy"
A_TALK = [
    # said, captions, in order: of the prediction, then of the reference
    (("Here he is.", (DOG,), f"Here he is. [img] {DOG} [/img]"),
     ("Look! So cute.", (TOY,), f"Look! [img] {TOY} [/img] So cute.")),
    (("I like the beach", (), ""), ("I like The beach.", (), "")),
    (("", ("Objects in the photo: Tree",), ""), ("Wait a moment please", (), "")),
    (("What a nice day", (), ""), ("", ("Objects in the photo: Dog",), "")),
    (("", (), ""), ("Yes.", (), "")),
]  # fmt: skip


def sides() -> list[Prediction]:
    return [
        Prediction(str(i), None, Side(r[0], r[1], told=r[2]), Side(p[0], p[1], told=p[2]))
        for i, (p, r) in enumerate(A_TALK)
    ]


@pytest.mark.parametrize("captions", [True, False])
def test_the_authors_convention_by_hand(captions: bool) -> None:
    """Their released code: responses with `[img] caption [/img]` as text, split at white space."""
    pairs = []
    for p, r in A_TALK:
        said = [s[0] for s in (p, r)]
        if captions:
            said = [s[2] or " ".join([s[0], *(f"[img] {c} [/img]" for c in s[1])]) for s in (p, r)]
        if said[1]:
            pairs.append((said[0].split(), said[1].split()))
    text = Text("authors", captions)
    found = text.scores([v for v in text.values(sides()) if v is not None])
    assert [s.name for s in found.scores] == [
        "BLEU-1 (individual)",
        "BLEU-2 (individual)",
        "ROUGE-L",
    ]
    one, rouge = as_authors(pairs, 1)
    assert [s.value for s in found.scores] == pytest.approx([one, as_authors(pairs, 2)[0], rouge])
    assert {s.n for s in found.scores} == {len(pairs)} == {5 if captions else 4}
    assert all(("captions:as-text-in-[img]" in s.how) is captions for s in found.scores)
    assert "tok:split|case:mixed" in found["ROUGE-L"].how
    assert (Text("authors").captions, Text().captions) == (True, False)


def test_words_of_captions_without_their_marks_in_the_usual_convention() -> None:
    text, plain = Text(captions=True), Text()
    found = text.scores([v for v in text.values(sides()) if v is not None])

    def bare(side: Side) -> Side:
        return Side(side.line.replace("[img]", "").replace("[/img]", ""))

    same = [Prediction(p.id, None, bare(p.reference), bare(p.prediction)) for p in sides()]
    expected = plain.scores([v for v in plain.values(same) if v is not None])
    assert [s.value for s in found.scores] == [s.value for s in expected.scores]
    assert [s.how for s in found.scores] == [f"{s.how}|captions:as-text" for s in expected.scores]


def test_another_convention_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'mine'\. Known: sacrebleu, authors"):
        Text("mine")
    text = Text("authors")
    assert list(text.scores([]).reasons) == [
        "BLEU-1 (individual)",
        "BLEU-2 (individual)",
        "ROUGE-L",
    ]


def test_the_command_says_how(tmp_path: Path) -> None:
    side = {"text": "Hi there", "captions": ["A dog"]}
    line = {
        "id": "1",
        "reference": side | {"told": "Hi [img] A dog [/img] there"},
        "prediction": side,
    }
    (tmp_path / "predictions.jsonl").write_text(json.dumps(line))

    def score(*options: str) -> dict[str, float]:
        result = CliRunner().invoke(app, ["score", "--json", str(tmp_path), *options])
        assert result.exit_code == 0, result.output
        pairs = json.loads(result.stdout)["systems"][str(tmp_path)]["overall"]["scores"]
        return {pair["name"]: pair["value"] for pair in pairs}

    # By hand: of five pairs, "Hi there" and "there [img]" are wrong.
    assert score("--convention", "authors")["BLEU-2 (individual)"] == pytest.approx(60)
    assert score("--convention", "authors", "--no-captions")["BLEU-2 (individual)"] == 100
    assert score("--tokenize", "char")["BLEU-4"] == pytest.approx(100)  # of seven letters
    assert score("--captions")["BLEU-2 (individual)"] == pytest.approx(100 / 3)
    assert score()["BLEU-2"] == pytest.approx(100)
    assert CliRunner().invoke(app, ["score", str(tmp_path), "--convention", "x"]).exit_code == 2


def test_every_score_says_all_of_how_it_was_counted() -> None:
    """By hand, word for word; "dogs" is not "dog", as nothing is stemmed."""
    both = [prediction("the dogs", "the dog")]
    libraries = f"sacrebleu:{version('sacrebleu')}"
    exp, none = f"smooth:exp|{libraries}", f"smooth:none|{libraries}"
    rouge = f"stemmer:no|rouge-score:{version('rouge-score')}"
    found = {s.name: s for s in Text().scores(Text().values(both)).scores}  # type: ignore[arg-type]
    chrf = f"chars:1-6|words:0|beta:2|space:no|case:mixed|{libraries}"
    different = "different-of-all|of:predictions|tok:13a|case:mixed"
    assert {name: (s.how, s.better, s.count) for name, s in found.items()} == {
        "BLEU-1": (f"order:1|cumulative|tok:13a|case:mixed|{exp}", "higher", "1"),
        "BLEU-2": (f"order:2|cumulative|tok:13a|case:mixed|{exp}", "higher", "1"),
        "BLEU-1 (individual)": (f"order:1|individual|tok:split|case:mixed|{none}", "higher", "1"),
        "BLEU-2 (individual)": (f"order:2|individual|tok:split|case:mixed|{none}", "higher", "1"),
        "ROUGE-L": (f"mean-sentence-f1|tok:rouge-score(a-z0-9)|case:lower|{rouge}", "higher", "1"),
        "chrF": (chrf, "higher", "1"),
        "length": ("mean-of-predictions|tok:13a", None, "1"),
        "length ratio": ("predictions/references|tok:13a", None, "1"),
        "Distinct-1": (f"order:1|{different}", "higher", "1"),
        "Distinct-2": (f"order:2|{different}", "higher", "1"),
    }
    assert found["ROUGE-L"].value == found["BLEU-1 (individual)"].value == 50
    authors = Text("authors", captions=False)
    (*_, last) = authors.scores(authors.values(both)).scores  # type: ignore[arg-type]
    assert last.how == f"mean-sentence-f1|tok:split|case:mixed|{rouge}"
    assert Text().scores([]).reasons == dict.fromkeys(NAMES, "no reference has text")
    names = ("BLEU-1 (individual)", "BLEU-2 (individual)", "ROUGE-L")
    assert authors.scores([]).reasons == dict.fromkeys(names, "no reference has text")
