"""Everything that can be said of a folder of predictions, and systems side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pscli.metrics.base import Scored
from pscli.metrics.image import image_scores, names
from pscli.metrics.sharing import sharing_accuracy, sharing_scores
from pscli.metrics.text import text_scores
from pscli.predictions.folder import Prediction, read_predictions
from pscli.registry import find

if TYPE_CHECKING:
    from torch import nn

# What makes sense for each instance type of photoworld, besides text and sharing accuracy.
ABOUT_PHOTOS = ("share", "vary")
ABOUT_ANSWERS = ("look", "recall")
KINDS = ("chat", *ABOUT_ANSWERS[:1], *ABOUT_PHOTOS, *ABOUT_ANSWERS[1:])
REAL = "without filled-in photos"
NO_DIRECTION = ("answer chance", "answer majority")


@dataclass(frozen=True)
class Scores:
    """Scores of one folder.

    Args:
        n: Instances.
        overall: Over all instances.
        by_kind: Per instance type, in the order chat, look, share, vary, recall, others; where
            photos are filled in, also over the instances without any.
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
    folder: Path,
    extractor: str = "photoworld",
    by_kind: bool = True,
    network: nn.Module | None = None,
) -> Scores:
    """Scores of every prediction in the folder, overall and per instance type.

    Args:
        folder: As `pscli.predictions.folder` describes it.
        extractor: Feature extractor of the image scores, `photoworld` or `inception`.
        by_kind: Whether to score each instance type apart.
        network: Stands in for the shipped photoworld network.

    Raises:
        DataError: if the predictions cannot be read.
        ConfigError: if there is no such extractor or its weights cannot be had.
    """
    names(extractor)  # an unknown extractor is refused before anything is read
    predictions = read_predictions(folder)

    def images(some: Sequence[Prediction]) -> Scored:
        drawn = [photo for p in some for photo in p.prediction.photos]
        gold = [photo for p in some for photo in p.reference.photos]
        return image_scores(drawn, gold, extractor, network)

    def faithful(some: Sequence[Prediction]) -> Scored:
        return find("metric", "faithfulness")(some, network)

    known = any(p.truth for p in predictions)
    metrics: tuple[Metric, ...] = (text_scores, images, sharing_scores, sharing_accuracy)
    metrics += (find("metric", "answers"), faithful) if known else ()
    groups = _groups(predictions) if by_kind else {}
    scored = {k: _joined(some, _metrics(k, images, faithful)) for k, some in groups.items()}
    real = [p for p in predictions if not p.filled]
    if len(real) < len(predictions):
        groups[REAL], scored[REAL] = real, _joined(real, metrics)
    return Scores(
        n=len(predictions),
        overall=_joined(predictions, metrics),
        by_kind=scored,
        sizes={kind: len(some) for kind, some in groups.items()},
    )


Metric = Callable[[Sequence[Prediction]], Scored]


def _joined(predictions: Sequence[Prediction], metrics: Iterable[Metric]) -> Scored:
    return sum((metric(predictions) for metric in metrics), Scored())


def _metrics(kind: str, images: Metric, faithful: Metric) -> tuple[Metric, ...]:
    if kind in ABOUT_PHOTOS:
        return text_scores, images, sharing_accuracy, faithful
    if kind in ABOUT_ANSWERS:
        return text_scores, sharing_accuracy, find("metric", "answers")
    if kind in KINDS:
        return text_scores, sharing_accuracy
    return text_scores, images, sharing_accuracy


def _groups(predictions: Sequence[Prediction]) -> dict[str, list[Prediction]]:
    groups: dict[str, list[Prediction]] = {kind: [] for kind in KINDS}
    for p in predictions:
        kind = p.kind or (p.truth.kind if p.truth else None)
        if kind:
            groups.setdefault(kind, []).append(p)
    return {kind: some for kind, some in groups.items() if some}
