"""Inception Score and Fréchet distance of the drawn photos. Guo et al. (2024), Table 2.

Drawn and gold photos are compared as unpaired sets. Both figures are biased when photos are few,
and Inception's 2048 × 2048 covariance is singular below 2049 photos: compare systems only at
similar n, which every signature therefore carries.

Always computed on the CPU, so that every machine prints the same figures.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pscli.errors import ConfigError
from pscli.metrics.base import Score, Scored
from pscli.metrics.extractor import Classifier, Extractor, load, photo_pixels, suffix
from pscli.predictions.folder import Prediction

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SPLITS = 10  # the released code's isc_splits
BATCH = 64  # torch-fidelity's, so that sums are rounded as it rounds them


class Seen(NamedTuple):
    """One instance.

    Args:
        drawn: [F] features of each predicted photo.
        logits: [K] class logits of each predicted photo; none if the extractor has no classes.
        gold: [F] features of each photo of the reference.
        due: Whether any reference of the folder has a photo.
    """

    drawn: list[Tensor]
    logits: list[Tensor]
    gold: list[Tensor]
    due: bool


class Images:
    """IS of the drawn photos and FID between drawn and gold ones.

    Args:
        extractor: `inception` gives `IS` and `FID`; `photoworld` (our network) gives
            `IS-photoworld` and `FID-photoworld`, which are comparable among themselves only;
            `module:Net` gives `IS-Net` and `FID-Net`.
        device: Where it computes: `cpu`, `cuda`, `auto` …

    Raises:
        ConfigError: if there is no such extractor. It is loaded when the first photo is seen.
    """

    def __init__(self, extractor: str = "photoworld", device: str = "cpu") -> None:
        self._name, self._device = extractor, device  # looked for when the first photo is seen
        self._is, self._fid = (f"{name}{suffix(extractor)}" for name in ("IS", "FID"))

    @functools.cached_property
    def _extractor(self) -> Extractor:
        return load(self._name, self._place)

    @functools.cached_property
    def _place(self) -> torch.device:
        from pscli.components.device import device_named

        return device_named(self._device)

    def values(self, predictions: Sequence[Prediction]) -> list[Seen | None]:
        """Features of every photo, each opened once.

        Raises:
            ConfigError: if the extractor cannot be loaded, or gives what is no features.
            DataError: if a photo cannot be decoded.
        """
        drawn = self._look([(path, p.id) for p in predictions for path in p.prediction.photos])
        gold = self._look([(path, p.id) for p in predictions for path in p.reference.photos])
        due = any(p.reference.photos for p in predictions)

        def one(p: Prediction) -> Seen | None:
            pairs = [next(drawn) for _ in p.prediction.photos]
            features, logits = [f for f, _ in pairs], [k for _, k in pairs if k is not None]
            golden = [next(gold)[0] for _ in p.reference.photos]
            return Seen(features, logits, golden, due) if features or golden else None

        return [one(p) for p in predictions]

    def _look(self, photos: Sequence[tuple[Path, str]]) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Features of each photo, and its class logits if the extractor has classes."""
        import torch

        for start in range(0, len(photos), BATCH):
            some = photos[start : start + BATCH]
            eyes = self._extractor
            images = torch.stack([photo_pixels(path, id, eyes.side) for path, id in some])
            with torch.no_grad():
                features = eyes.features(images.to(self._place))
                self._check(features, len(some))
                logits = eyes.logits(features) if isinstance(eyes, Classifier) else ()
                rows = [logit.cpu() for logit in logits]
            yield from itertools.zip_longest(features.float().cpu(), rows)

    def _check(self, features: Tensor, count: int) -> None:
        if features.ndim != 2 or len(features) != count or features.shape[1] < 2:
            raise ConfigError(
                f"The extractor '{self._name}' gives features of shape {tuple(features.shape)}.",
                f"Expected [{count}, F], F >= 2.",
            )
        if not features.isfinite().all():
            raise ConfigError(
                f"The extractor '{self._name}' gives features that are no numbers (NaN or ∞).",
                "Check its weights.",
            )

    def scores(self, values: Sequence[Seen]) -> Scored:
        drawn = [row for value in values for row in value.drawn]
        logits = [row for value in values for row in value.logits]
        gold = [row for value in values for row in value.gold]
        if drawn and not gold and values[0].due:
            return Scored()  # none is due among these: whether one was sent is sharing's to say
        reasons = {}
        if len(drawn) < 2:
            reasons[self._is] = f"needs 2 drawn photos, there are {len(drawn)}"
        elif not logits:
            reasons[self._is] = f"'{self._name}' knows no classes"
        if min(len(drawn), len(gold)) < 2:
            counts = f"there are {len(drawn)} and {len(gold)}"
            reasons[self._fid] = f"needs 2 drawn and 2 gold photos, {counts}"
        scores = []
        if self._is not in reasons:
            scores.append(self._inception_score(logits, len(gold)))
        if self._fid not in reasons:
            scores.append(self._distance(drawn, gold))
        return Scored(tuple(scores), reasons)

    def _inception_score(self, logits: Sequence[Tensor], gold: int) -> Score:
        import torch
        from torch_fidelity import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD
        from torch_fidelity.metric_isc import isc_features_to_metric

        n = len(logits)
        splits = min(SPLITS, n // 2)
        result = isc_features_to_metric(torch.stack(list(logits)), splits)
        mean, deviation = (result[key] for key in (KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD))
        how = f"splits:{splits if splits == SPLITS else f'{splits}-of-{SPLITS}'}|{self._how()}"
        return Score(self._is, mean, n, how, "higher", deviation, count=f"{n}/{gold}")

    def _distance(self, drawn: Sequence[Tensor], gold: Sequence[Tensor]) -> Score:
        import torch
        from torch_fidelity import KEY_METRIC_FID
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

        sides = (fid_features_to_statistics(torch.stack(list(rows))) for rows in (drawn, gold))
        value = fid_statistics_to_metric(*sides, verbose=False)[KEY_METRIC_FID]
        value = max(0.0, value)  # rounding may leave -1e-19
        n = len(drawn)
        return Score(self._fid, value, n, self._how(), "lower", count=f"{n}/{len(gold)}")

    def _how(self) -> str:
        from torch_fidelity import __version__

        resize = f"resize:{self._extractor.side}-bicubic-antialias"
        return f"extractor:{self._extractor.name}|{resize}|torch-fidelity:{__version__}"
