"""Everything that can be said of a folder of predictions, and systems side by side."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pscli.evaluation import Score, Scored
from pscli.evaluation.image import image_scores, names
from pscli.evaluation.predictions import Prediction, read_predictions
from pscli.evaluation.text import text_scores
from pscli.evaluation.world import (
    answer_scores,
    faithful_scores,
    sharing_accuracy,
    sharing_scores,
)

if TYPE_CHECKING:
    from rich.table import Table
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
        folder: As `pscli.evaluation.predictions` describes it.
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
        return faithful_scores(some, network)

    known = any(p.truth for p in predictions)
    metrics: tuple[Metric, ...] = (text_scores, images, sharing_scores, sharing_accuracy)
    metrics += (answer_scores, faithful) if known else ()
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
        return text_scores, sharing_accuracy, answer_scores
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


def table(systems: Sequence[tuple[str, Scores]]) -> Table:
    """Systems side by side: a row per metric, a column per system, a section per instance type.

    Below it, how each figure was computed, once each (n stands beside the figure instead), and
    why others are left out. An arrow says which direction is better.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    caption = Text("\n".join(_signatures(systems) + _left_out(systems)), justify="left")
    result = Table(
        box=box.SIMPLE_HEAD, caption=caption, caption_justify="left", caption_style="dim"
    )
    result.add_column("")
    for name, _ in systems:
        result.add_column(Text(name), justify="right")
    for kind in _kinds(systems):
        sections = [s.by_kind.get(kind, Scored()) if kind else s.overall for _, s in systems]
        sizes = [s.sizes.get(kind, 0) if kind else s.n for _, s in systems]
        if len(_kinds(systems)) > 1:
            result.add_row(
                Text(kind or "all", style="bold"), *(Text(f"n={n}", style="dim") for n in sizes)
            )
        metrics = dict.fromkeys(score.name for scored in sections for score in scored.scores)
        for metric in metrics:
            cells = [_cell(s[metric]) if metric in s else Text("–", "dim") for s in sections]
            result.add_row(Text(f"{metric} {_arrow(metric)}".strip()), *cells)
        result.add_section()
    return result


def _kinds(systems: Sequence[tuple[str, Scores]]) -> list[str]:
    """Sections of the table; "" is the one over all instances."""
    present = dict.fromkeys(kind for _, scores in systems for kind in scores.by_kind)
    known = [kind for kind in KINDS if kind in present]
    return ["", *known, *(kind for kind in present if kind not in KINDS)]


def _arrow(metric: str) -> str:
    if metric in NO_DIRECTION:
        return ""
    return "↓" if metric.startswith("FID") else "↑"


_COUNT = re.compile(r"\|n:([^|]*)")


def _cell(score: Score) -> Any:
    from rich.text import Text

    cell = Text(f"{score.value:.2f}")
    if score.deviation is not None:
        cell.append(f" ±{score.deviation:.2f}")
    if score.interval is not None:
        cell.append(f" [{score.interval[0]:.0f}–{score.interval[1]:.0f}]")
    count = _COUNT.search("|" + score.signature)
    return cell.append(f"  n={count[1] if count else score.n}", style="dim")


def _signatures(systems: Sequence[tuple[str, Scores]]) -> list[str]:
    lines: dict[str, None] = {}
    for _, scores in systems:
        for scored in (scores.overall, *scores.by_kind.values()):
            for score in scored.scores:
                how = _COUNT.sub("", "|" + score.signature).removeprefix("|")
                lines[f"{score.name} |{how}"] = None
    return list(lines)


def _left_out(systems: Sequence[tuple[str, Scores]]) -> list[str]:
    return [
        f"{system}{f', {kind}' if kind else ''}: no {name}, {reason}"
        for system, scores in systems
        for kind, scored in {"": scores.overall, **scores.by_kind}.items()
        for name, reason in scored.reasons.items()
    ]
