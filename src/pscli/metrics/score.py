"""Everything that can be said of a folder of predictions, overall and by instance type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pscli.dialogue.schema import INSTANCE_TYPES
from pscli.errors import ConfigError
from pscli.metrics.base import Metric, Scored, made
from pscli.predictions.folder import Prediction, read_predictions
from pscli.registry import TABLES

REAL, SEEN = "without filled-in photos", "without photos that are only told"
WITHOUT = {"filled": REAL, "described": SEEN}  # sections without the instances of a mark
METHODS = ("values", "scores")


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
    extractor: str = "photoworld",
    own: Iterable[str] = (),
    convention: str = "sacrebleu",
    captions: bool | None = None,
    device: str = "cpu",
) -> dict[str, Metric]:
    """The registry's metrics and others, by name.

    Args:
        extractor: Feature extractor of the image scores: of the registry, or `module:object`.
        own: More metrics, `module:object` each.
        device: Where the extractor computes.
        convention, captions: Of the text scores: see `text.Text`.

    Raises:
        ConfigError: if one cannot be found or is none.
    """
    options: dict[str, list[Any]] = {"images": [extractor, device], "text": [convention, captions]}
    return {
        name: made("metric", name, METHODS, *options.get(name, []))
        for name in dict.fromkeys([*TABLES["metric"], *own])
    }


def score(
    predictions: Sequence[Prediction], metrics: dict[str, Metric], by_kind: bool = True
) -> Scores:
    """Scores of predictions, overall and per instance type.

    Args:
        predictions: At least one.
        by_kind: Whether to score each instance type apart.

    Raises:
        ConfigError: if a metric does not give a value for each prediction, or no scores.
    """
    # Sums round, and IS splits, by order; answers come in any.
    predictions = sorted(predictions, key=lambda prediction: prediction.id)
    columns = {name: _values(name, metric, predictions) for name, metric in metrics.items()}

    def section(rows: Iterable[int], whole: bool = False) -> Scored:
        rows = list(rows)
        found = Scored()
        for name, metric in metrics.items():
            values = [v for v in map(columns[name].__getitem__, rows) if v is not None]
            if values or whole:
                found = _added(found, name, metric.scores(values))
        return found

    groups = _groups(predictions) if by_kind else {}
    scored = {kind: section(rows) for kind, rows in groups.items()}
    for mark, name in WITHOUT.items():
        rest = [row for row, p in enumerate(predictions) if not getattr(p, mark)]
        if len(rest) < len(predictions):
            groups[name], scored[name] = rest, section(rest, whole=True)
    return Scores(
        n=len(predictions),
        overall=section(range(len(predictions)), whole=True),
        by_kind=scored,
        sizes={kind: len(rows) for kind, rows in groups.items()},
    )


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


def _groups(predictions: Sequence[Prediction]) -> dict[str, list[int]]:
    """Rows of each instance type."""
    groups: dict[str, list[int]] = {kind: [] for kind in INSTANCE_TYPES}
    for row, p in enumerate(predictions):
        kind = p.kind or (p.truth.kind if p.truth else None)
        if kind:
            groups.setdefault(kind, []).append(row)
    return {kind: rows for kind, rows in groups.items() if rows}
