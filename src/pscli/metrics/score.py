"""Everything that can be said of a folder of predictions, overall and by instance type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pscli.dialogue.schema import INSTANCE_TYPES, ONLY_DRAWS
from pscli.errors import ConfigError
from pscli.metrics.base import Metric, Score, Scored, made
from pscli.metrics.resample import interval, sampled, units
from pscli.predictions.folder import Prediction, read_predictions
from pscli.registry import TABLES

REAL, SEEN = "without filled-in photos", "without photos that are only told"
WITHOUT = {"filled": REAL, "described": SEEN}  # sections without the instances of a mark
METHODS = ("values", "scores")
SPOKEN = {  # metrics of what a system that only draws does not do
    "text": "no words: this system only draws",
    "sharing": "no decision: this system only draws, and was asked where a photo is due",
}


@dataclass(frozen=True)
class Scores:
    """Scores of one folder.

    Args:
        n: Instances.
        overall: Over all instances.
        by_kind: Per instance type, in the order chat, look, share, vary, recall, others; where
            photos are filled in, or told by their captions, also over the instances without any.
        sizes: Instances of each type.
    """

    n: int
    overall: Scored
    by_kind: dict[str, Scored] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """`{"n": …, "overall": {"scores": […], "reasons": {…}}, "kinds": {"chat": …}}`."""
        kinds = {
            kind: {"n": self.sizes[kind]} | scored.to_json()
            for kind, scored in self.by_kind.items()
        }
        return {"n": self.n, "overall": self.overall.to_json(), "kinds": kinds}


@dataclass(frozen=True)
class Valued:
    """What each instance contributes to each metric.

    Args:
        predictions: In the order of their ids: sums round, and IS splits, by order, and answers
            come in any.
        columns: By name of metric, a value per prediction.
    """

    predictions: Sequence[Prediction]
    columns: dict[str, Sequence[Any]]

    @property
    def groups(self) -> dict[str, list[int]]:
        """Rows of each instance type, and of those without a mark that others have."""
        found = _types(self.predictions)
        for mark, name in WITHOUT.items():
            rest = [row for row, p in enumerate(self.predictions) if not getattr(p, mark)]
            if len(rest) < len(self.predictions):
                found[name] = rest
        return found

    def of(self, metric: str, rows: Iterable[int]) -> tuple[list[int], list[Any]]:
        """Those of some rows of which a metric says something, and their values."""
        column = self.columns[metric]
        kept = [row for row in rows if column[row] is not None]
        return kept, [column[row] for row in kept]


def score_folder(
    folder: Path, extractor: str = "photoworld", by_kind: bool = True, own: Iterable[str] = ()
) -> Scores:
    """Scores of every prediction in a folder, as `pscli.predictions.folder` describes it.

    Args: see `metrics` and `score`.

    Raises:
        DataError: if the predictions or their photos cannot be read.
        ConfigError: if there is no such extractor or metric, or its weights cannot be had.
    """
    chosen = metrics(extractor, own)  # unknown names are refused before anything is read
    return score(read_predictions(folder), chosen, by_kind)


def metrics(
    extractor: str | Sequence[str] = "photoworld",
    own: Iterable[str] = (),
    convention: str = "sacrebleu",
    captions: bool | None = None,
    device: str = "cpu",
    tokenize: str | None = None,
    clip: str = "",
) -> dict[str, Metric]:
    """The registry's metrics and others, by name.

    Args:
        extractor: Feature extractors of the image scores: of the registry, or `module:object`.
        own: More metrics, `module:object` each.
        device: Where the extractor computes.
        convention, captions, tokenize: Of the text scores: see `text.Text`.
        clip: Folder or hub id of a CLIP, for the scores that need one.

    Raises:
        ConfigError: if one cannot be found or is none.
    """
    text = [convention, captions, tokenize]
    options: dict[str, list[Any]] = {"images": [extractor, device], "text": text}
    options |= {key: [clip, device] for key in ("clip", "zero-shot")}
    return {
        name: made("metric", name, METHODS, *options.get(name, []))
        for name in dict.fromkeys([*TABLES["metric"], *own])
    }


def score(
    predictions: Sequence[Prediction],
    metrics: dict[str, Metric],
    by_kind: bool = True,
    draws: int = 0,
) -> Scores:
    """`scored` of the predictions' values."""
    return scored(valued(predictions, metrics), metrics, by_kind, draws)


def valued(predictions: Sequence[Prediction], metrics: dict[str, Metric]) -> Valued:
    """Values of predictions, at least one.

    Raises:
        ConfigError: if a metric does not give a value for each.
    """
    predictions = sorted(predictions, key=lambda prediction: prediction.id)
    kept = [name for name in metrics if not (name in SPOKEN and only_drawn(predictions))]
    columns: dict[str, Sequence[Any]] = {name: [None] * len(predictions) for name in metrics}
    columns |= {name: _values(name, metrics[name], predictions) for name in kept}
    return Valued(predictions, columns)


def only_drawn(predictions: Sequence[Prediction]) -> bool:
    """Whether they are all of a system that only draws."""
    return all(ONLY_DRAWS in prediction.prediction.notes for prediction in predictions)


def scored(
    values: Valued, metrics: dict[str, Metric], by_kind: bool = True, draws: int = 0
) -> Scores:
    """Scores, overall and per instance type.

    Args:
        by_kind: Whether to score each instance type apart.
        draws: Resamples behind the 95 % intervals; 0 leaves those that have a closed form.

    Raises:
        ConfigError: if a metric gives no scores.
    """
    ids = [prediction.id for prediction in values.predictions]
    mute = only_drawn(values.predictions)

    def section(rows: Iterable[int], whole: bool = False) -> Scored:
        found = Scored()
        for name, metric in metrics.items():
            kept, some = values.of(name, rows)
            if some or whole:
                more = metric.scores(some)
                if mute and name in SPOKEN:
                    more = Scored(reasons=dict.fromkeys(more.reasons, SPOKEN[name]))
                found = _added(found, name, more)
                if draws and some and more.scores:
                    found = _spread(found, metric, some, [ids[row] for row in kept], draws)
        return found

    groups = values.groups
    kept = {name: rows for name, rows in groups.items() if by_kind or name in WITHOUT.values()}
    return Scores(
        n=len(ids),
        overall=section(range(len(ids)), whole=True),
        by_kind={
            name: section(rows, whole=name in WITHOUT.values()) for name, rows in kept.items()
        },
        sizes={name: len(rows) for name, rows in kept.items()},
    )


def _spread(
    found: Scored, metric: Metric, values: Sequence[Any], ids: Sequence[str], draws: int
) -> Scored:
    """The same scores with intervals, where resamples tell one."""
    numbers = units(ids)
    size = int(numbers.max()) + 1
    told = sampled(metric, values, numbers, size, draws)

    def one(score: Score) -> Score:
        if score.name not in told.draws:
            return score
        ends = interval(score.value, told.draws[score.name], size, told.jackknife.get(score.name))
        if ends is None:
            return score
        of = "instances" if size == len(ids) else "dialogues"
        return replace(score, interval=ends[:2], interval_by=f"{ends.by}|of:{of}")

    return replace(found, scores=tuple(map(one, found.scores)))


def _values(name: str, metric: Metric, predictions: Sequence[Prediction]) -> Sequence[Any]:
    values = metric.values(predictions)
    if not isinstance(values, Sequence) or len(values) != len(predictions):
        count = len(values) if isinstance(values, Sequence) else type(values).__name__
        raise ConfigError(
            f"The metric '{name}' gives {count} values for {len(predictions)} predictions.",
            "Expected a list of one each, None where it says nothing.",
        )
    return values


def _added(before: Scored, name: str, scored: Any) -> Scored:
    """Scores and those of one more metric, without figures that are no numbers."""
    if not isinstance(scored, Scored):
        raise ConfigError(
            f"The metric '{name}' gives a {type(scored).__name__}, no `Scored`.",
            "docs/extending.md shows one.",
        )
    twice = [score.name for score in scored.scores if score.name in before]
    if twice:
        raise ConfigError(f"The metric '{name}' names a score '{twice[0]}', as another does.")
    wrong = {s.name: f"it came out as {s.value}" for s in scored.scores if not s.finite}
    kept = tuple(score for score in scored.scores if score.finite)
    return before + Scored(kept, scored.reasons | wrong)


def _types(predictions: Sequence[Prediction]) -> dict[str, list[int]]:
    """Rows of each instance type."""
    groups: dict[str, list[int]] = {kind: [] for kind in INSTANCE_TYPES}
    for row, p in enumerate(predictions):
        kind = p.kind or (p.truth.kind if p.truth else None)
        if kind:
            groups.setdefault(kind, []).append(row)
    return {kind: rows for kind, rows in groups.items() if rows}
