"""How far a photo is from those that an agent was trained on, as its own vision encoder sees them.

The photos of training are taken for draws from a Gaussian of few directions (Tipping & Bishop 1999,
*Probabilistic Principal Component Analysis*; "Eq. n" refers to it) over features of a middle layer,
and a photo is as far as its Mahalanobis distance (Lee et al. 2018, *A Simple Unified Framework for
Detecting Out-of-Distribution Samples and Adversarial Attacks*). The last layers know only what they
were taught to tell apart: there the photos of a world that was never shown look like those of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from PIL.Image import Image
from safetensors.torch import load_file, save
from torch import Tensor

# P photos, D width of the vision encoder, K directions

DIRECTIONS = 64  # K at most: a file of 180 kB for the largest encoder of the paper's kind
LEAST = 100  # photos; of fewer nothing is said
FOLDS = 5
USUAL = 0.995  # of training photos that took no part in the fit, so many are within the limit


@dataclass(frozen=True)
class Glance:
    """How a perceptron sees at first glance. Args: perceptron: One for which `sees` holds."""

    perceptron: Any

    @torch.no_grad()
    def see(self, photos: Sequence[Image]) -> Tensor:
        """[P, D] float32: the states of the middle layer, averaged over the patches of a photo."""
        vision = self.perceptron.vision
        pixels = self.perceptron.pixels(photos).to(vision.device, vision.dtype)
        states = vision(pixels, output_hidden_states=True).hidden_states
        middle: Tensor = states[len(states) // 2]
        return middle.float().mean(dim=1)


def sees(perceptron: Any) -> bool:
    """Whether a perceptron can be asked for its first glance: ours can, by transformers' vision
    models."""
    return hasattr(perceptron, "pixels") and hasattr(perceptron.vision, "dtype")


@dataclass(frozen=True)
class Familiar:
    """What the photos of training are like.

    Args:
        mean: [D] µ.
        directions: [K, D] the first eigenvectors of the covariance, in 16 bits.
        variances: [K] their eigenvalues.
        rest: The mean of the other eigenvalues, σ² (Eq. 8).
        limit: A photo that is farther is unlike them.
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor
    rest: float
    limit: float = float("inf")

    @classmethod
    def fit(cls, features: Tensor) -> Self | None:
        """Of the features [P, D] of training photos; None of too few, or where they are all alike.

        The limit comes from photos that took no part: each fifth is measured by the other four.
        """
        if len(features) < LEAST:
            return None
        folds = torch.arange(len(features)) % FOLDS
        parts = [(cls._of(features[folds != n]), features[folds == n]) for n in range(FOLDS)]
        whole = cls._of(features)
        if whole is None:
            return None
        apart = torch.cat([made.distances(held) for made, held in parts if made is not None])
        limit = float(apart.quantile(USUAL))
        return cls(whole.mean, whole.directions, whole.variances, whole.rest, limit)

    @classmethod
    def _of(cls, features: Tensor) -> Self | None:
        """The maximum of the likelihood (Eqs. 7 and 8), without a limit."""
        x = features.double()
        mean = x.mean(dim=0)
        values, vectors = torch.linalg.eigh((x - mean).T.cov())
        values, vectors = values.flip(0), vectors.flip(1)  # the largest first
        kept = min(DIRECTIONS, x.shape[1] - 1, len(x) // 8)
        rest = float(values[kept:].mean())
        if rest <= 1e-12 * float(values[0]):
            return None
        return cls(mean.float(), vectors[:, :kept].T.half(), values[:kept].float(), rest)

    def distances(self, features: Tensor) -> Tensor:
        """[P] Mahalanobis distances of features [P, D] under the covariance W W^T + σ² I, of which
        W W^T = Σ_k (λ_k - σ²) v_k v_k^T (Eq. 7)."""
        x = features.double().cpu() - self.mean.double()
        directions = self.directions.double()
        along = x @ directions.T
        beside = x - along @ directions
        near = (along.square() / self.variances.double()).sum(dim=1)
        return (near + beside.square().sum(dim=1) / self.rest).sqrt()

    def unlike(self, features: Tensor) -> list[bool]:
        """Of each photo, by its features [P, D], whether it is unlike those of training."""
        return (self.distances(features) > self.limit).tolist()

    def to_bytes(self) -> bytes:
        """As a file of safetensors."""
        numbers = torch.tensor([self.rest, self.limit], dtype=torch.float64)
        tensors = {"mean": self.mean, "directions": self.directions, "variances": self.variances}
        return save({**{k: v.contiguous() for k, v in tensors.items()}, "numbers": numbers})

    @classmethod
    def from_file(cls, file: Path) -> Self:
        """Raises KeyError, ValueError or SafetensorError if the file holds something else."""
        found = load_file(file)
        rest, limit = found.pop("numbers").tolist()
        return cls(**found, rest=rest, limit=limit)
