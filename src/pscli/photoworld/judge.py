"""photoworld's judge: a small convolutional network that names what a 64×64 photo shows.

It stands where Inception stands for real photos: its features give FID-photoworld, its class
probabilities IS-photoworld, and its decisions photo faithfulness. No system is trained with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pscli.photoworld.scene import COLOURS, KINDS, LIGHTS, SETTINGS
from pscli.photoworld.shipped import WEIGHTS

LAST = -4  # where the layers of the body's last stage begin

# B images, K kinds, C colours


@dataclass(frozen=True)
class ExtractorOutput:
    """What the extractor says of B images.

    Args:
        features: [B, F] pooled features, for the Fréchet distance.
        kinds: [B, K, 1 + C] logits per kind: 0 = absent, then its colour in order of COLOURS.
        settings: [B, 8] logits.
        lights: [B, 3] logits.
    """

    features: Tensor
    kinds: Tensor
    settings: Tensor
    lights: Tensor


class Residual(nn.Module):
    """Two convolutions around which the grid also passes unchanged."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.GroupNorm(8, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.GroupNorm(8, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class Extractor(nn.Module):
    """Residual network: 64×64 RGB in [-1, 1] → kinds with colours, setting, light."""

    name = "photoworld"
    side = 64

    def __init__(self, widths: tuple[int, ...] = (24, 40, 64, 96)) -> None:
        super().__init__()
        self.widths = widths
        layers: list[nn.Module] = []
        for before, width in zip((3, *widths), widths, strict=False):
            layers += [
                nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False),
                nn.GroupNorm(8, width),
                nn.ReLU(),
                Residual(width),
            ]
        self.body = nn.Sequential(*layers)
        width = widths[-1]
        self.kinds = nn.Linear(2 * width, len(KINDS) * (1 + len(COLOURS)))
        self.settings = nn.Linear(2 * width, len(SETTINGS))
        self.lights = nn.Linear(2 * width, len(LIGHTS))

    def forward(self, images: Tensor) -> ExtractorOutput:
        return self.decided(self.grid(images))

    def grid(self, images: Tensor) -> Tensor:
        """[B, 64, 8, 8] of photos in [-1, 1]: what is seen before the last stage."""
        grid: Tensor = self.body[:LAST](images)
        return grid

    def decided(self, grid: Tensor) -> ExtractorOutput:
        """What `grid` shows."""
        features = self._pooled(grid)
        return ExtractorOutput(
            features, self._kinds(features), self.settings(features), self.lights(features)
        )

    def features(self, images: Tensor) -> Tensor:
        """[B, F] of uint8 photos, for the Fréchet distance."""
        return self._pooled(self.grid(images.float() / 127.5 - 1))

    def logits(self, features: Tensor) -> Tensor:
        """[B, K] of a distribution over kinds, for the Inception Score."""
        kinds = self._kinds(features)
        return kinds[..., 1:].logsumexp(-1) - kinds[..., 0]

    def _pooled(self, grid: Tensor) -> Tensor:
        last = self.body[LAST:](grid)
        return torch.cat([last.mean((2, 3)), last.amax((2, 3))], dim=1)

    def _kinds(self, features: Tensor) -> Tensor:
        kinds: Tensor = self.kinds(features).unflatten(1, (len(KINDS), 1 + len(COLOURS)))
        return kinds


def load_extractor(folder: Path = WEIGHTS / "extractor") -> Extractor:
    """The shipped extractor, in evaluation mode and float32."""
    from safetensors.torch import load_file

    extractor = Extractor()
    extractor.load_state_dict(
        {
            k: v.float() if v.is_floating_point() else v
            for k, v in load_file(folder / "model.safetensors").items()
        }
    )
    return extractor.eval()
