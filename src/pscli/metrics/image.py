"""How drawn photos compare with gold ones, as an extractor sees them. Guo et al. (2024), Table 2.

Drawn and gold photos are compared as unpaired sets, but for the cosines of one instance's. IS and
FID are biased when photos are few, and the covariance is singular where there are no more photos
than features: compare systems only at similar n, which every signature therefore carries. KID and
CMMD are unbiased at any n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pscli.errors import ConfigError
from pscli.metrics import photos
from pscli.metrics.base import Scored
from pscli.metrics.extractor import suffix, told
from pscli.metrics.features import Eyes, file_format
from pscli.metrics.several import Several
from pscli.predictions.folder import Prediction

if TYPE_CHECKING:
    from torch import Tensor

    from pscli.metrics.photos import Photos
    from pscli.metrics.resample import Array


class Seen(NamedTuple):
    """One instance.

    Args:
        drawn: [F] features of each predicted photo.
        logits: [K] class logits of each predicted photo; none if the extractor has no classes.
        gold: [F] features of each photo of the reference.
        due: Whether any reference of the folder has a photo.
        files: Formats of the drawn files, and of the gold ones.
    """

    drawn: list[Tensor]
    logits: list[Tensor]
    gold: list[Tensor]
    due: bool
    files: tuple[tuple[str, ...], tuple[str, ...]]


def images(extractor: str | Sequence[str] = "photoworld", device: str = "cpu") -> Images | Several:
    """`Images` of one extractor, or of each of several.

    Raises:
        ConfigError: if the scores of two would have the same names.
    """
    names = [extractor] if isinstance(extractor, str) else list(dict.fromkeys(extractor))
    ends = {suffix(name): name for name in names}
    if len(ends) < len(names):
        twice = next(name for name in names if ends[suffix(name)] != name)
        raise ConfigError(
            f"Scores of '{twice}' and '{ends[suffix(twice)]}' would have the same names.",
            "Score with one of them, or rename the folder of the other.",
        )
    each = [Images(name, device) for name in names]
    return each[0] if len(each) == 1 else Several(each)


class Images:
    """IS of the drawn photos; FID, KID, CMMD, precision and recall between drawn and gold ones; and
    how alike those of one instance are.

    Args:
        extractor: `inception` gives `IS`, `FID` …; `photoworld` (our network) gives
            `IS-photoworld`, `FID-photoworld` …, which are comparable among themselves only;
            `clip:PLACE` gives names that end as PLACE does, and `module:Net` gives `FID-Net` ….
        device: Where it computes: `cpu`, `cuda`, `auto` …

    Raises:
        ConfigError: if there is no such extractor. It is loaded when the first photo is seen.
    """

    def __init__(self, extractor: str = "photoworld", device: str = "cpu") -> None:
        self._eyes, self._end = Eyes(extractor, device), suffix(extractor)
        self._last: tuple[Sequence[Seen], Photos] | None = None

    def values(self, predictions: Sequence[Prediction]) -> list[Seen | None]:
        """Features of every photo.

        Raises:
            ConfigError: if the extractor cannot be loaded, or gives what is no features.
            DataError: if a photo cannot be decoded.
        """
        features = self._eyes.see([(f, p.id) for p in predictions for f in p.prediction.photos])
        classes, drawn = iter(self._eyes.logits(features)), iter(features)
        gold = iter(self._eyes.see([(f, p.id) for p in predictions for f in p.reference.photos]))
        due = any(p.reference.photos for p in predictions)

        def one(p: Prediction) -> Seen | None:
            ours, theirs = p.prediction.photos, p.reference.photos
            if not ours and not theirs:
                return None
            logits = [row for _ in ours if (row := next(classes, None)) is not None]
            files = _formats(ours), _formats(theirs)
            return Seen(
                [next(drawn) for _ in ours], logits, [next(gold) for _ in theirs], due, files
            )

        return [one(p) for p in predictions]

    def scores(self, values: Sequence[Seen]) -> Scored:
        some = self._photos(values)
        n, m = len(some.drawn), len(some.gold)
        if n and not m and values[0].due:
            return Scored()  # none is due among these: whether one was sent is sharing's to say
        figures = (photos.frechet, photos.kernel, photos.maximum_mean, photos.neighbours)
        found = photos.inception_score(some, self._eyes.name)
        found = sum((figure(some) for figure in (*figures, photos.cosines)), found)
        how = self._how(values) if found.scores else ""
        named = (
            replace(s, name=s.name + self._end, how=f"{s.how}|{how}".lstrip("|"), count=f"{n}/{m}")
            for s in found.scores
        )
        return Scored(tuple(named), {name + self._end: why for name, why in found.reasons.items()})

    def resampled(self, values: Sequence[Seen], counts: Array) -> dict[str, Array]:
        found = photos.resampled(self._photos(values), counts)
        return {name + self._end: figures for name, figures in found.items()}

    def _photos(self, values: Sequence[Seen]) -> Photos:
        """Kept for the resamples of the same values that come next."""
        if self._last is None or self._last[0] is not values:
            self._last = values, photos.Photos.of(values)
        return self._last[1]

    def _how(self, values: Sequence[Seen]) -> str:
        from torch_fidelity import __version__

        sides = (sorted({f for v in values for f in v.files[side]}) for side in (0, 1))
        files = "/".join("+".join(side) or "none" for side in sides)
        return f"{told(self._eyes.extractor)}|files:{files}|torch-fidelity:{__version__}"


def _formats(paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(map(file_format, paths))
