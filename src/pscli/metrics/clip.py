"""What CLIP says of photos and words, where its weights are given.

CLIP-I: how alike drawn and gold photo of an instance are. CLIPScore (Hessel et al. 2021, eq. 1):
how well a photo fits a caption. MM-Relevance (Feng et al. 2023, MMDialog, §5): how well the texts
and photos of a response fit those of the reference, in order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pscli.metrics.base import Score, Scored
from pscli.metrics.extractor import told
from pscli.metrics.features import Eyes
from pscli.metrics.resample import Array, Sums
from pscli.predictions.folder import Prediction, Side

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT, PREFIX = 2.5, "A photo depicts "  # of CLIPScore: its w, and what its captions begin with
NAMES = (
    "CLIP-I",
    "CLIPScore",
    "CLIPScore (gold captions)",
    "MM-Relevance precision",
    "MM-Relevance recall",
    "MM-Relevance",
)
WHY = {
    NAMES[0]: "no instance has a drawn and a gold photo",
    NAMES[1]: "no drawn photo has a caption",
    NAMES[2]: "no drawn photo has a gold caption",
} | dict.fromkeys(NAMES[3:], "no reference has a text or photo of which all is there")
_MARK = re.compile(r"\[img\].*?\[/img\]", re.DOTALL)
Cosine = Sequence[float]


class Likened(NamedTuple):
    """One instance.

    Args:
        photos: Cosine of each drawn photo and the gold one in its place.
        own, gold: Cosine of each drawn photo and its own caption, and the gold one in its place.
        relevance: Precision, recall and F1; empty where a photo is missing or nothing is due.
        due: Photos of the reference.
    """

    photos: Cosine
    own: Cosine
    gold: Cosine
    relevance: Cosine
    due: int


class ClipScores(Sums):
    """CLIP-I and MM-Relevance × 100, and CLIPScore, as means.

    Args:
        place: Folder or hub id of a CLIP; without, the metric says nothing.
        device: Where it computes.

    Raises:
        ConfigError, CheckpointError: from `values`, if there is no such network.
    """

    def __init__(self, place: str = "", device: str = "cpu") -> None:
        self._eyes = Eyes(f"clip:{place}", device) if place else None

    def values(self, predictions: Sequence[Prediction]) -> list[Likened | None]:
        """Raises DataError if a photo cannot be decoded."""
        if self._eyes is None:
            return [None] * len(predictions)
        seen = self._embedded(predictions)
        return [_likened(p, seen) for p in predictions]

    def _embedded(self, predictions: Sequence[Prediction]) -> dict[str | Path, Array]:
        """[F] of length 1 by photo and text."""
        assert self._eyes is not None
        sides = [(side, p.id) for p in predictions for side in (p.prediction, p.reference)]
        photos = {path: id for side, id in sides for path in side.photos}
        captions = (PREFIX + text for side, _ in sides for text in side.captions if text)
        words = (part for side, _ in sides for part in elements(side) if isinstance(part, str))
        texts = list(dict.fromkeys([*captions, *words]))
        seen = self._eyes.see(list(photos.items()))
        read = self._eyes.extractor.texts(texts) if texts else []  # type: ignore[attr-defined]
        keys: list[str | Path] = [*photos, *texts]
        return dict(zip(keys, map(_unit, [*seen, *read]), strict=True))

    def sums(self, values: Sequence[Likened]) -> Array:
        def row(value: Likened) -> list[float]:
            means = [(sum(some), len(some)) for some in (value.photos, value.own, value.gold)]
            relevance = [(x, 1) for x in value.relevance] or [(0.0, 0)] * 3
            return [number for pair in means + relevance for number in pair]

        return np.array([row(value) for value in values], dtype=np.float64).reshape(-1, 12)

    def figures(self, sums: Array) -> dict[str, Array]:
        totals, counts = sums[:, ::2], sums[:, 1::2]
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.where(counts > 0, totals / counts, np.nan)
        scales = (100, 1, 1, 100, 100, 100)
        return {name: scales[k] * means[:, k] for k, name in enumerate(NAMES)}

    def scores(self, values: Sequence[Likened]) -> Scored:
        if self._eyes is None:
            return Scored()
        sums = self.sums(values).sum(0, keepdims=True)
        counts, figures = sums[0, 1::2].astype(int), self.figures(sums)
        hows = self._hows() if counts.any() else ("",) * 6
        due = f"/{sum(value.due for value in values)}"  # behind the photos that there are
        found = [
            Score(
                name, float(figures[name][0]), int(n), how, "higher",
                count=f"{n}{'' if name.startswith('MM') else due}",
            )
            for name, n, how in zip(NAMES, counts, hows, strict=True)
            if n
        ]  # fmt: skip
        return Scored(tuple(found), {name: WHY[name] for name in NAMES if np.isnan(figures[name])})

    def _hows(self) -> tuple[str, ...]:
        assert self._eyes is not None
        eyes = self._eyes.extractor
        seen, text = told(eyes), f"text:{eyes.length}-tokens"  # type: ignore[attr-defined]
        score = f"w:{WEIGHT}|max(cos,0)|prefix:{PREFIX.strip()}|{text}|{seen}"
        relevance = f"elements-aligned-from-left|mean-of-instances|scale:100|{text}|{seen}"
        return f"scale:100|{seen}", score, score, *(relevance,) * 3


def _likened(p: Prediction, seen: dict[str | Path, Array]) -> Likened:
    ours, theirs = p.prediction, p.reference
    return Likened(
        [_cosine(seen, a, b) for a, b in zip(ours.photos, theirs.photos, strict=False)],
        _clip_scores(seen, ours.photos, ours.captions),
        _clip_scores(seen, ours.photos, theirs.captions),
        _relevance(seen, ours, theirs),
        len(theirs.photos),
    )


def _clip_scores(
    seen: dict[str | Path, Array], photos: Sequence[Path], captions: Sequence[str]
) -> Cosine:
    pairs = zip(photos, captions, strict=False)
    return [WEIGHT * max(_cosine(seen, a, PREFIX + b), 0.0) for a, b in pairs if b]


def _relevance(seen: dict[str | Path, Array], ours: Side, theirs: Side) -> Cosine:
    """Soft precision, recall and F1: cosines of the elements that have the same place, over the
    elements of one side, or of the other."""
    drawn, gold = elements(ours), elements(theirs)
    if not gold or ours.missing or theirs.missing:
        return ()
    total = sum(_cosine(seen, a, b) for a, b in zip(drawn, gold, strict=False))
    return total / max(1, len(drawn)), total / len(gold), 2 * total / (len(drawn) + len(gold))


def elements(side: Side) -> list[str | Path]:
    """Texts and photos of a response in order; the text first where no order is told."""
    texts = [text.strip() for text in _MARK.split(side.told)]
    photos: Sequence[Path | str] = side.photos
    if not side.told or len(texts) != len(photos) + 1:
        texts = [side.text.strip(), *[""] * len(photos)]
    mixed = [part for pair in zip(texts, [*photos, ""], strict=True) for part in pair]
    return [part for part in mixed if part != ""]


def _cosine(seen: dict[str | Path, Array], a: str | Path, b: str | Path) -> float:
    return float(seen[a] @ seen[b])


def _unit(row: Tensor) -> Array:
    vector: Array = row.double().numpy()
    return vector / (np.linalg.norm(vector) or 1.0)
