"""Scores as they are printed and kept, sections, groups of runs, and what is no metric; by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pscli.dialogue.schema import Truth
from pscli.errors import ConfigError
from pscli.files import append_line
from pscli.metrics.base import Score, Scored, made
from pscli.metrics.group import grouped
from pscli.metrics.score import REAL, SEEN, Scores, metrics, score, score_folder
from pscli.metrics.sharing import Shared, Sharing, rate, wilson
from pscli.predictions.folder import FILE_NAME, Prediction, Side

PLAIN = Score("BLEU-2", 12.346, 7, "order:2|tok:13a", "higher")
WHOLE = Score("IS", 3.0, 968, "splits:10", None, 0.126, (1.26, 4.04), "968/1000")


# -- single scores -----------------------------------------------------------------------------


def test_a_score_in_words() -> None:
    assert str(PLAIN) == "BLEU-2 12.35 |order:2|tok:13a|n:7"
    assert str(WHOLE) == "IS 3.00 ± 0.13 [1.3, 4.0] |splits:10|n:968/1000"
    assert (PLAIN.signature, PLAIN.count) == ("order:2|tok:13a|n:7", "7")
    assert str(replace(PLAIN, deviation=0.0)).startswith("BLEU-2 12.35 ± 0.00 |")


def test_a_score_as_json() -> None:
    expected = {
        "name": "BLEU-2", "value": 12.346, "n": 7, "count": "7", "better": "higher",
        "signature": "order:2|tok:13a|n:7",
    }  # fmt: skip
    assert PLAIN.to_json() == expected
    assert replace(PLAIN, deviation=0.0).to_json() == expected | {"deviation": 0.0}
    whole = WHOLE.to_json()
    assert (whole["deviation"], whole["interval"]) == (0.126, (1.26, 4.04))
    assert (whole["better"], whole["count"], whole["n"]) == (None, "968/1000", 968)
    assert type(replace(PLAIN, value=3).to_json()["value"]) is float


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_every_number_of_a_score_must_be_one(bad: float) -> None:
    assert PLAIN.finite and WHOLE.finite
    for changes in (
        {"value": bad}, {"deviation": bad}, {"interval": (bad, 1.0)}, {"interval": (1.0, bad)}
    ):  # fmt: skip
        assert not replace(WHOLE, **changes).finite  # type: ignore[arg-type]


def test_scores_add_up_and_are_found_by_name() -> None:
    both = Scored((PLAIN,), {"a": "1", "b": "1"}) + Scored((WHOLE,), {"b": "2"})
    assert both == Scored((PLAIN, WHOLE), {"a": "1", "b": "2"})
    assert both["IS"] is WHOLE and both["BLEU-2"] is PLAIN
    assert "IS" in both and "a" not in both and "IS" not in Scored()
    with pytest.raises(KeyError):
        both["a"]
    assert both.to_json() == {
        "scores": [PLAIN.to_json(), WHOLE.to_json()], "reasons": {"a": "1", "b": "2"}
    }  # fmt: skip


# -- what is no metric -------------------------------------------------------------------------


class Halves:
    """Half the length of each text; nothing of an empty one."""

    def __init__(self, *args: str) -> None:
        self.args = args

    def values(self, predictions: Sequence[Prediction]) -> list[float | None]:
        return [len(p.prediction.text) / 2 or None for p in predictions]

    def scores(self, values: Sequence[float]) -> Scored:
        if not values:
            return Scored(reasons={"half": "no text"})
        return Scored((Score("half", sum(values), len(values), "h", None),), {"other": "never"})


def needs(argument: str) -> None: ...


def seven() -> int:
    return 7


def test_a_metric_is_made_with_its_arguments_or_refused() -> None:
    found = made("metric", f"{__name__}:Halves", ("values", "scores"), "a", "b")
    assert isinstance(found, Halves) and found.args == ("a", "b")
    with pytest.raises(ConfigError) as caught:
        made("extractor", f"{__name__}:needs", ())
    assert str(caught.value) == (
        f"The extractor '{__name__}:needs' cannot be made: needs() missing 1 required positional "
        "argument: 'argument'. Expected a class or function without arguments."
    )
    with pytest.raises(ConfigError) as caught:
        made("metric", f"{__name__}:seven", ("values", "__class__", "scores"))
    assert str(caught.value) == (
        f"The metric '{__name__}:seven' gives a int without values, scores. "
        "docs/extending.md shows one."
    )


# -- sharing -----------------------------------------------------------------------------------


def test_every_score_of_sharing() -> None:
    """3 sent and due, 1 sent alone, 2 due alone, 4 neither: J = 3/6, F1 = 2J/(1+J) = 2/3."""
    shared = [(True, True)] * 3 + [(True, False)] + [(False, True)] * 2 + [(False, False)] * 4
    away = dict.fromkeys(range(2), 0) | {3: 4}  # of the four sent, two hit and one is 4 turns off
    values = [Shared(*pair, True, away.get(i)) for i, pair in enumerate(shared)]
    found = Sharing().scores(values)
    assert not found.reasons
    how, by = "photo-sent", {"interval_by": "wilson95"}
    low, high = (x / 100 for x in wilson(3, 6))
    span = (200 * low / (1 + low), 200 * high / (1 + high))
    assert found.scores == (
        Score("sharing precision", 75.0, 4, how, "higher", interval=wilson(3, 4), **by),
        Score("sharing recall", 60.0, 5, how, "higher", interval=wilson(3, 5), **by),
        Score(
            "sharing F1", pytest.approx(200 / 3), 6,  # type: ignore[arg-type]
            "photo-sent|of:sent-or-due", "higher", interval_by="wilson95-of-jaccard",
            interval=pytest.approx(span),  # type: ignore[arg-type]
        ),
        Score(
            "turn distance", pytest.approx(4 / 3), 3,  # type: ignore[arg-type]
            "mean-of-photos-sent|to-nearest-one-due|in-turns", "lower", count="3/4",
        ),
        Score("sharing accuracy", 70.0, 10, how, "higher", interval=wilson(7, 10), **by),
    )  # fmt: skip


def at(id: str, sent: bool, due: bool) -> Prediction:
    return Prediction(id, None, Side(missing=int(due)), Side(missing=int(sent)))


def test_turns_between_the_photo_that_is_sent_and_the_one_that_is_due() -> None:
    some = [
        at("a/b/1", True, False),  # due at 4 and 20
        at("a/b/4", False, True),
        at("a/b/13", True, False),
        at("a/b/20", True, True),
        at("c/3", True, False),  # none is due
        at("d/3", False, True),  # none is sent
    ]
    found = [value and value.distance for value in Sharing().values(some)]
    assert found == [3, None, 7, 0, None, None]
    score = Sharing().scores(Sharing().values(some))["turn distance"]
    assert (score.value, score.count, score.better) == (pytest.approx(10 / 3), "3/4", "lower")
    for wrong in ("b", "b/", "b/-1", "b/x", "b/1\n", "b/" + "1" * 10):
        values = Sharing().values([*some, at(wrong, False, False)])
        assert {value.distance for value in values} == {None}
    assert {v.distance for v in Sharing().values(some[:4])} == {None}  # is `a/b` a dialogue?
    assert Sharing().values([]) == []


def test_figures_of_resamples_of_sharing_are_scores_of_repeated_values() -> None:
    ids = [f"{talk}/{turn}" for talk in "abcde" for turn in range(4)]
    rng = np.random.default_rng(0)
    some = [at(id, *map(bool, rng.random(2) < 0.4)) for id in ids]
    values = Sharing().values(some)
    counts = rng.multinomial(20, np.full(20, 1 / 20), 30).astype(float)
    counts[:20] = np.eye(20)
    found = Sharing().resampled(values, counts)
    for k, row in enumerate(counts.astype(int)):
        drawn = [v for v, times in zip(values, row, strict=True) for _ in range(times)]
        scores = {s.name: s.value for s in Sharing().scores(drawn).scores}
        for name, value in scores.items():
            assert found[name][k] == pytest.approx(value)
        if len({v.due for v in drawn}) > 1:
            assert {name for name in found if np.isfinite(found[name][k])} == scores.keys()


def test_what_was_sent_and_what_was_due() -> None:
    photos = (Path("never-opened.png"),) * 2
    some = [
        Prediction("x", None, Side(photos=due), Side(photos=sent))
        for sent, due in ((photos, ()), ((), photos), ((), ()))
    ]
    pairs = [(True, False), (False, True), (False, False)]
    assert Sharing().values(some) == [Shared(*pair, mixed=True) for pair in pairs]
    told = replace(some[2], prediction=Side(missing=1), reference=Side(missing=2))
    assert Sharing().values([told]) == [Shared(True, True, mixed=False)]  # nobody can see these
    for part in (some[1:2] * 2, some[:1]):  # all are due, none is
        assert {value and value.mixed for value in Sharing().values(part)} == {False}
    assert Sharing().values(some[2:] * 2) == [None, None]  # of no photo at all nothing is said


def test_why_a_score_of_sharing_is_left_out() -> None:
    why = "no photo is predicted and none is due"
    assert Sharing().scores([]) == Scored(reasons={"sharing F1": why})
    nothing = Shared(False, False, mixed=False)
    assert Sharing().scores([nothing]).reasons == {
        "sharing precision": "no photo is predicted",
        "sharing recall": "no reference has a photo",
        "sharing F1": "no photo is predicted and none is due",
    }
    (accuracy,) = Sharing().scores([nothing]).scores
    assert (accuracy.value, accuracy.n) == (100, 1)
    alone = Sharing().scores([Shared(False, True, mixed=True)])  # all due here, others elsewhere
    assert [s.name for s in alone.scores] == ["sharing accuracy"] and not alone.reasons


def test_wilson_by_hand() -> None:
    """With z = 2: (p + 2/n ± 2 √(p(1 - p)/n + 1/n²)) / (1 + 4/n), in percent."""
    for hits, n in ((0, 4), (2, 4), (4, 4), (3, 12)):
        p = hits / n
        half = 2 * math.sqrt(p * (1 - p) / n + 1 / n**2)
        ends = [100 * (p + 2 / n + sign * half) / (1 + 4 / n) for sign in (-1, 1)]
        assert wilson(hits, n, z=2.0) == pytest.approx(ends, abs=1e-9)
    for n in range(1, 300):  # rounding leads nowhere outside
        assert 0 <= wilson(0, n)[0] < 1e-9 and 100 - 1e-9 < wilson(n, n)[1] <= 100
    spread: Any = {"interval": wilson(1, 4), "interval_by": "wilson95"}
    assert rate("x", 1, 4, "how") == Score("x", 25.0, 4, "how", "higher", **spread)


# -- folders, sections, groups -----------------------------------------------------------------


def said(text: str, kind: str | None = None, **more: Any) -> Prediction:
    return Prediction("x", kind, Side(), Side(text), **more)


SOME = [
    said("aa", "own"), said("", "share"), said("aaaa", "look"), said("", filled=True),
    said("aa", truth=Truth("chat")), said("aa", "look"),
]  # fmt: skip


def test_sections_by_hand() -> None:
    """The types in their order, then others; one in which nobody has a value says nothing."""
    found = score(SOME, {"halves": Halves()})
    half = {kind: scored["half"].value for kind, scored in found.by_kind.items() if scored.scores}
    assert half == {"chat": 1, "look": 3, "own": 1, REAL: 5}
    assert list(found.by_kind) == ["chat", "look", "share", "own", REAL]
    assert found.sizes == {"chat": 1, "look": 2, "share": 1, "own": 1, REAL: 5}
    assert found.by_kind["share"] == Scored()
    assert (found.n, found.overall["half"].value, found.overall["half"].n) == (6, 5, 4)
    assert found.overall.reasons == {"other": "never"}
    silent = score(SOME[1:2], {"halves": Halves()}, by_kind=False)
    assert silent == Scores(1, Scored(reasons={"half": "no text"}))
    whole = score(SOME, {"halves": Halves()}, by_kind=False)
    assert list(whole.by_kind) == [REAL] and whole.overall == found.overall
    assert score(SOME[:2], {"halves": Halves()}).to_json() == {
        "n": 2,
        "overall": score(SOME[:2], {"halves": Halves()}).overall.to_json(),
        "kinds": {
            "share": {"n": 1, "scores": [], "reasons": {}},
            "own": {"n": 1} | found.by_kind["own"].to_json(),
        },
    }
    for mark, section in (("filled", REAL), ("described", SEEN)):
        marked = score([said("", **{mark: True})], {"halves": Halves()})
        assert marked.by_kind == {section: Scored(reasons={"half": "no text"})}
        marked = score([said("a", **{mark: True}), said("aa")], {"halves": Halves()})
        assert (marked.by_kind[section]["half"].value, marked.sizes) == (1, {section: 1})


class Given:
    """Values and scores as they are told."""

    def __init__(self, values: Any, scores: Any) -> None:
        self._values, self._scores = values, scores

    def values(self, predictions: Sequence[Prediction]) -> Any:
        return self._values

    def scores(self, values: Sequence[Any]) -> Any:
        return self._scores


@pytest.mark.parametrize(
    ("values", "scores", "problem"),
    [
        (
            [1], None, "The metric 'mine' gives 1 values for 2 predictions. Expected a list of one "
            "each, None where it says nothing.",
        ),
        (
            iter([1, 2]), None, "The metric 'mine' gives list_iterator values for 2 predictions. "
            "Expected a list of one each, None where it says nothing.",
        ),
        ([1, 2], 7, "The metric 'mine' gives a int, no `Scored`. docs/extending.md shows one."),
        (
            [1, 2], Scored((PLAIN, replace(PLAIN, name="half"))),
            "The metric 'mine' names a score 'half', as another does.",
        ),
    ],
)  # fmt: skip
def test_a_metric_that_gives_something_else_is_refused(
    values: Any, scores: Any, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        score([said("aa"), said("a")], {"halves": Halves(), "mine": Given(values, scores)})
    assert str(caught.value) == problem


def test_what_is_no_number_is_a_reason() -> None:
    wrong = replace(PLAIN, name="wrong", value=math.nan)
    given = Given([1], Scored((wrong, PLAIN), {"why": "so"}))
    found = score([said("aa")], {"halves": Halves(), "mine": given}).overall
    assert [s.name for s in found.scores] == ["half", "BLEU-2"]
    assert found.reasons == {"other": "never", "why": "so", "wrong": "it came out as nan"}


def test_metrics_of_the_registry_and_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own = f"{__name__}:Halves"
    table = {"images": own, "text": own}
    monkeypatch.setattr("pscli.metrics.score.TABLES", {"metric": table})
    monkeypatch.setattr("pscli.registry.TABLES", {"metric": table})
    found: Any = metrics("mine", [own, own, "text"])
    assert {name: metric.args for name, metric in found.items()} == {
        "images": ("mine", "cpu"), "text": ("sacrebleu", None, None), own: (),
    }  # fmt: skip
    assert metrics()["images"].args == ("photoworld", "cpu")  # type: ignore[attr-defined]


def test_a_folder_is_scored_by_what_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {"images": f"{__name__}:Halves"}
    monkeypatch.setattr("pscli.metrics.score.TABLES", {"metric": table})
    monkeypatch.setattr("pscli.registry.TABLES", {"metric": table})
    side = {"text": "aa"}
    append_line(
        tmp_path / FILE_NAME, {"id": "x", "kind": "look", "reference": side, "prediction": side}
    )
    found = score_folder(tmp_path)
    assert (found.overall["half"].value, list(found.by_kind)) == (1, ["look"])
    assert score_folder(tmp_path, by_kind=False).by_kind == {}
    seen: list[Any] = []
    monkeypatch.setattr("pscli.metrics.score.metrics", lambda *args: seen.append(args) or {})
    score_folder(tmp_path, "eyes", own=["mine"])
    assert seen == [("eyes", ["mine"])]


def test_a_group_of_runs_by_hand() -> None:
    """Means 2 and n = 6.5 → 6; the sample deviation of 1 and 3 is √2."""

    def run(value: float, n: int, *more: Score, kinds: tuple[str, ...] = ("look",)) -> Scores:
        first = Score("a", value, n, "how", "lower", interval=(0.0, 1.0), count=f"{n}/9")
        scored = Scored((first, *more), {f"left out of {n}": "why"})
        return Scores(n, scored, dict.fromkeys(kinds, scored), dict.fromkeys(kinds, n))

    found = grouped([run(1.0, 5, PLAIN), run(3.0, 8, kinds=("chat", "look"))])
    mean = Score(
        "a", 2.0, 6, "how|mean±sd-of:2", "lower", deviation=pytest.approx(math.sqrt(2)),  # type: ignore[arg-type]
        count="5/9,8/9",
    )  # fmt: skip
    scored = Scored((mean,), {"left out of 5": "why", "left out of 8": "why"})
    assert found == Scores(6, scored, {"look": scored}, {"look": 6})
    alone = grouped([run(1.0, 5)])
    assert alone.overall["a"] == Score("a", 1.0, 5, "how|mean±sd-of:1", "lower", count="5/9")
    assert grouped([run(1.0, 5), run(1.0, 5)]).overall["a"].count == "5/9"


def test_a_score_gets_better_in_a_way_that_is_known() -> None:
    for better in (1, "up", "Higher"):
        with pytest.raises(ConfigError, match=f"'mine' has {better!r} .*'higher', 'lower'"):
            Score("mine", 1.0, 1, "how", better)  # type: ignore[arg-type]
    assert Score("mine", 1.0, 1, "how", None).better is None
