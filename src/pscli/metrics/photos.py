"""Figures of drawn and gold photos by their features, each with what it depends on.

As torch-fidelity computes them where it does: IS (Salimans et al. 2016), FID (Heusel et al. 2017),
KID (Bińkowski et al. 2018), precision and recall (Kynkäänniemi et al. 2019). CMMD is of Jayasumana
et al. (2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from pscli.metrics import distances
from pscli.metrics.base import Score, Scored
from pscli.metrics.frechet import frechet_resampled
from pscli.metrics.resample import Array

if TYPE_CHECKING:
    from torch import Tensor

    from pscli.metrics.distances import Likeness

# N drawn photos, M gold ones, F features, K classes, P pairs, R resamples

IS, FID, KID, CMMD = "IS", "FID", "KID×1000", "CMMD"
PRC = ("photo precision", "photo recall")
COSINES = ("own-photo cosine", "other-photo cosine")
SPLITS = 10  # of IS: the released code's isc_splits
SPLIT_SEED = 2020  # torch-fidelity's, by which it shuffles photos before it splits them
NEIGHBOURS = 3  # of precision and recall: torch-fidelity's prc_neighborhood
MOST = 6000  # photos of a side whose kernels are kept whole for resamples, 290 MB each
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Photos:
    """The photos of some instances.

    Args:
        drawn, gold: [N, F] and [M, F] features.
        logits: [N, K], or [0] if the extractor has no classes.
        drawn_of, gold_of: Number of the instance of each.
        pairs: Rows of the drawn and the gold photo that have the same place in one instance.
    """

    drawn: Tensor
    gold: Tensor
    logits: Tensor
    drawn_of: Indices
    gold_of: Indices
    pairs: tuple[list[int], list[int]]

    @classmethod
    def of(cls, instances: Sequence[Any]) -> Self:
        drawn_of = [n for n, some in enumerate(instances) for _ in some.drawn]
        gold_of = [n for n, some in enumerate(instances) for _ in some.gold]
        pairs, ours, theirs = [], 0, 0
        for some in instances:
            both = range(min(len(some.drawn), len(some.gold)))
            pairs += [(ours + k, theirs + k) for k in both]
            ours, theirs = ours + len(some.drawn), theirs + len(some.gold)
        return cls(
            _stacked([row for some in instances for row in some.drawn]),
            _stacked([row for some in instances for row in some.gold]),
            _stacked([row for some in instances for row in some.logits]),
            np.array(drawn_of, dtype=np.intp),
            np.array(gold_of, dtype=np.intp),
            ([a for a, _ in pairs], [b for _, b in pairs]),
        )

    @property
    def fewest(self) -> int:
        return min(len(self.drawn), len(self.gold))

    @property
    def width(self) -> int:
        """F."""
        return int(self.drawn.shape[1])

    @cached_property
    def rows(self) -> tuple[Array, Array]:
        """Drawn and gold features in float64."""
        return self.drawn.double().numpy(), self.gold.double().numpy()

    @cached_property
    def distance(self) -> float:
        """Squared Fréchet distance; N, M >= 2."""
        from torch_fidelity import KEY_METRIC_FID
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

        sides = (fid_features_to_statistics(rows) for rows in (self.drawn, self.gold))
        value = fid_statistics_to_metric(*sides, verbose=False)[KEY_METRIC_FID]
        return max(0.0, float(value))  # rounding may leave -1e-19

    @cached_property
    def likeness(self) -> Likeness:
        drawn, gold = (rows[some] for rows, some in zip(self.rows, self.pairs, strict=True))
        return distances.Likeness(distances.unit(drawn), distances.unit(gold))

    @cached_property
    def kernels(self) -> dict[str, distances.Kernels]:
        """Of KID and CMMD, by name; none of so many photos that they would take the memory."""
        if max(len(self.drawn), len(self.gold)) > MOST:
            return {}
        of = distances.Kernels.of
        return {
            KID: of(distances.polynomial, *self.rows),
            CMMD: of(distances.gaussian, *map(distances.unit, self.rows)),
        }

    @cached_property
    def probabilities(self) -> Array:
        """[N, K] of classes."""
        found: Array = self.logits.double().softmax(1).numpy()
        return found

    def lacking(self, names: Sequence[str], least: int) -> Scored:
        why = f"needs {least} drawn and {least} gold photos, "
        why += f"there are {len(self.drawn)} and {len(self.gold)}"
        return Scored(reasons=dict.fromkeys(names, why))


def _stacked(rows: Sequence[Tensor]) -> Tensor:
    import torch

    return torch.stack(list(rows)) if rows else torch.zeros(0, 0)


# -- figures -----------------------------------------------------------------------------------


def inception_score(photos: Photos, extractor: str) -> Scored:
    """IS: mean and standard deviation over splits."""
    from torch_fidelity import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD
    from torch_fidelity.metric_isc import isc_features_to_metric

    n = len(photos.drawn)
    if n < 2:
        return Scored(reasons={IS: f"needs 2 drawn photos, there are {n}"})
    if not len(photos.logits):
        return Scored(reasons={IS: f"'{extractor}' knows no classes"})
    splits = _splits(n)
    result = isc_features_to_metric(photos.logits, splits)
    how = f"splits:{splits if splits == SPLITS else f'{splits}-of-{SPLITS}'}"
    mean, deviation = result[KEY_METRIC_ISC_MEAN], result[KEY_METRIC_ISC_STD]
    return Scored((Score(IS, mean, n, how, "higher", deviation),))


def frechet(photos: Photos) -> Scored:
    """FID, or the Fréchet distance over whichever features."""
    if photos.fewest < 2:
        return photos.lacking([FID], 2)
    n, m, width = len(photos.drawn), len(photos.gold), photos.width
    how = warning = ""
    if photos.fewest <= width:
        how = f"singular:n<={width}"
        warning = (
            f"{n}/{m} photos are no more than the extractor's {width} features, so that the "
            "covariance is singular and the figure depends on n more than on the photos. KID and "
            "CMMD are unbiased at any n."
        )
    return Scored((Score(FID, photos.distance, n, how, "lower", warning=warning),))


def kernel(photos: Photos) -> Scored:
    """KID × 1000: mean and standard deviation over subsets of the unbiased estimator."""
    from torch_fidelity import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD
    from torch_fidelity.metric_kid import kid_features_to_metric

    if photos.fewest < 2:
        return photos.lacking([KID], 2)
    times, size = distances.subsets(len(photos.drawn), len(photos.gold))
    result = kid_features_to_metric(
        photos.drawn, photos.gold, kid_subsets=times, kid_subset_size=size, verbose=False
    )
    mean, deviation = (1000 * result[key] for key in (KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD))
    how = f"kernel:poly3|unbiased|subsets:{times}x{size}"
    spread = deviation if times > 1 else None
    return Scored((Score(KID, mean, len(photos.drawn), how, "lower", spread),))


def maximum_mean(photos: Photos) -> Scored:
    """CMMD: 1000 × the unbiased squared discrepancy of normalised features."""
    if photos.fewest < 2:
        return photos.lacking([CMMD], 2)
    value = distances.SCALE * distances.mmd2(distances.gaussian, *map(distances.unit, photos.rows))
    how = f"kernel:rbf|sigma:{distances.SIGMA:g}|scale:{distances.SCALE:g}|normalised|unbiased"
    return Scored((Score(CMMD, value, len(photos.drawn), how, "lower"),))


def neighbours(photos: Photos) -> Scored:
    """Precision: drawn photos that lie among gold ones; recall: gold ones among the drawn."""
    from torch_fidelity import KEY_METRIC_PRECISION, KEY_METRIC_RECALL
    from torch_fidelity.metric_prc import prc_features_to_metric

    if photos.fewest <= NEIGHBOURS:
        return photos.lacking(PRC, NEIGHBOURS + 1)
    result = prc_features_to_metric(
        photos.drawn, photos.gold, prc_neighborhood=NEIGHBOURS, verbose=False,
        save_cpu_ram=max(len(photos.drawn), len(photos.gold)) > MOST,
    )  # fmt: skip
    values = [100 * result[key] for key in (KEY_METRIC_PRECISION, KEY_METRIC_RECALL)]
    n, how = len(photos.drawn), f"neighbours:{NEIGHBOURS}"
    return Scored(tuple(Score(*pair, n, how, "higher") for pair in zip(PRC, values, strict=True)))


def cosines(photos: Photos) -> Scored:
    """Mean cosine of the photos of one instance, and of those of different ones."""
    pairs = len(photos.pairs[0])
    if pairs < 2:
        why = f"needs 2 instances with a drawn and a gold photo, there are {pairs}"
        return Scored(reasons=dict.fromkeys(COSINES, why))
    once = np.ones((1, pairs))
    (own,), (others,) = photos.likeness.own(once), photos.likeness.others(once)
    how = f"scale:100|pairs:{pairs}"
    return Scored(
        (
            Score(COSINES[0], 100 * float(own), pairs, how, "higher"),
            Score(COSINES[1], 100 * float(others), pairs, how, None),
        )
    )


# -- resamples ---------------------------------------------------------------------------------


def resampled(photos: Photos, counts: Array) -> dict[str, Array]:
    """Figures of resamples, by name. Precision and recall have none: a photo that is drawn twice
    is its own neighbour, so that the copies, and not the photos, would be judged.

    Args:
        counts: [R, instances], how often each is drawn.
    """
    drawn, gold = counts[:, photos.drawn_of], counts[:, photos.gold_of]
    found: dict[str, Array] = {}
    if len(photos.logits) > 1:
        order = np.random.RandomState(SPLIT_SEED).permutation(len(photos.logits))
        parts = _parts(order, _splits(len(order)))
        found[IS] = distances.weighted_inception_score(photos.probabilities, parts, drawn)
    if photos.fewest > 1:
        found[FID] = frechet_resampled(photos.distance, *photos.rows, drawn, gold)
        for name, kernels in photos.kernels.items():
            found[name] = 1000 * distances.weighted_mmd2(kernels, drawn, gold)
    if len(photos.pairs[0]) > 1:
        weights = drawn[:, photos.pairs[0]]
        found[COSINES[0]] = 100 * photos.likeness.own(weights)
        found[COSINES[1]] = 100 * photos.likeness.others(weights)
    return found


def _splits(n: int) -> int:
    return min(SPLITS, n // 2)


def _parts(order: Indices, splits: int) -> list[Indices]:
    n = len(order)
    return [order[i * n // splits : (i + 1) * n // splits] for i in range(splits)]
