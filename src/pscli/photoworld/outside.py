"""A judge of photoworld's photos that is not ours: zero-shot CLIP, where its weights are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pscli.metrics.base import Score, Scored
from pscli.metrics.extractor import told
from pscli.metrics.features import Eyes
from pscli.metrics.sharing import rate
from pscli.photoworld.scene import COLOURS, KINDS
from pscli.predictions.folder import Prediction

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

NAMES = (
    "zero-shot faithfulness (sent)",
    "zero-shot faithfulness of gold photos",
    "zero-shot chance",
)
PROMPT = "a drawing of a {} {}"
Thing = tuple[str, str]  # colour, kind


class Judged(NamedTuple):
    """An instance in which a photo is due: whether CLIP finds the things in the drawn photo and in
    the gold one, None where there is none; and how probable that is by chance."""

    drawn: bool | None
    gold: bool | None
    chance: float


class ZeroShot:
    """How often CLIP, which nobody here has trained, sees in a photo what the talk has fixed.

    Each thing must fit the photo better than the same thing in any other colour and any other
    thing in its colour do, among those that are not fixed as well. The same for gold photos, since
    CLIP errs on drawings, is what there is to reach.

    Args:
        place: Folder or hub id of a CLIP; without, the metric says nothing.
        device: Where it computes.
    """

    def __init__(self, place: str = "", device: str = "cpu") -> None:
        self._eyes = Eyes(f"clip:{place}", device) if place else None

    def values(self, predictions: Sequence[Prediction]) -> list[Judged | None]:
        """Raises DataError if a photo cannot be decoded."""
        due = [p for p in predictions if p.truth and p.truth.share and p.truth.things]
        if self._eyes is None or not due:
            return [None] * len(predictions)
        drawn = {p.id: p.prediction.photos[0] for p in due if p.prediction.photos}
        gold = {p.id: p.reference.photos[0] for p in due if p.reference.photos}
        ours, theirs = (self._likeness(side) for side in (drawn, gold))

        def one(p: Prediction) -> Judged | None:
            things = set(p.truth.things) if p.truth and p.truth.share else set()
            if not things or not things <= set(ROWS):
                return None
            rivals = {thing: _rivals(thing, things) for thing in things}
            chance = 1.0
            for some in rivals.values():
                chance /= 1 + len(some)
            return Judged(_finds(ours.get(p.id), rivals), _finds(theirs.get(p.id), rivals), chance)

        return [one(p) for p in predictions]

    def _likeness(self, photos: dict[str, Path]) -> dict[str, Tensor]:
        """By instance, [colours × kinds] how well each thing fits its photo."""
        import torch

        assert self._eyes is not None
        if not photos:
            return {}
        texts = [PROMPT.format(colour, kind) for colour, kind in THINGS]
        words = self._eyes.extractor.texts(texts)  # type: ignore[attr-defined]
        seen = torch.stack(self._eyes.see([(path, id) for id, path in photos.items()]))
        fit = seen @ (words / words.norm(dim=1, keepdim=True)).T
        return dict(zip(photos, fit, strict=True))

    def scores(self, values: Sequence[Judged]) -> Scored:
        if self._eyes is None or not values:
            return Scored()
        how = f"colour-and-kind|prompt:{PROMPT.format('COLOUR', 'KIND')}"
        found, reasons = [], {}
        for name, side in zip(NAMES, ("drawn", "gold"), strict=False):
            hits = [hit for v in values if (hit := getattr(v, side)) is not None]
            if hits:
                seen = f"{how}|{told(self._eyes.extractor)}"
                found.append(rate(name, sum(hits), len(hits), seen))
            else:
                reasons[name] = f"there is no {side} photo"
        chance = 100 * sum(v.chance for v in values) / len(values)
        return Scored((*found, Score(NAMES[2], chance, len(values), "1/rivals", None)), reasons)


THINGS = tuple((colour, kind) for colour in COLOURS for kind in KINDS)
ROWS = {thing: row for row, thing in enumerate(THINGS)}


def _rivals(thing: Thing, fixed: set[Thing]) -> list[Thing]:
    alike = [other for other in THINGS if (other[0] == thing[0]) != (other[1] == thing[1])]
    return [other for other in alike if other not in fixed]


def _finds(fit: Tensor | None, rivals: dict[Thing, list[Thing]]) -> bool | None:
    """Whether each thing fits a photo better than its rivals; None without a photo."""
    if fit is None:
        return None
    return all(
        bool((fit[ROWS[thing]] > fit[[ROWS[other] for other in some]]).all())
        for thing, some in rivals.items()
    )
