"""The judge's second look: how many things a 64×64 photo shows, how big they are, and where.

Captions leave just this out, and the talk asks about it. The judge's own network does not count;
these heads read its grid of features, and leave it as it is, with the figures that rest on it.
Trained on rendered scenes alone (`pscli foundations --only details`), with no system.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from pscli.photoworld.judge import Residual
from pscli.photoworld.scene import KINDS, SIDES, SIZES
from pscli.photoworld.shipped import WEIGHTS

# B photos, K kinds
MANY = 5  # things; so many, or more, are one class
GRID = 64, 8  # channels and side of the judge's grid that the heads read


@dataclass(frozen=True)
class DetailsOutput:
    """What the heads say of B photos.

    Args:
        numbers: [B, 1 + MANY] logits of how many things there are altogether.
        sizes: [B, 2] logits, in the order of SIZES.
        sides: [B, K, 3] logits of where a thing of each kind is, in the order of SIDES; they mean
            something only for a kind of which there is one.
    """

    numbers: Tensor
    sizes: Tensor
    sides: Tensor


class Details(nn.Module):
    """Heads on [B, 64, 8, 8] grids of the judge: number, size, and side of each kind."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        channels, side = GRID
        self.body = nn.Sequential(
            Residual(channels),
            nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False),
            nn.GroupNorm(8, width),
            nn.ReLU(),
            Residual(width),
            nn.Flatten(),
        )
        seen = width * (side // 2) ** 2
        self.numbers = nn.Linear(seen, 1 + MANY)
        self.sizes = nn.Linear(seen, len(SIZES))
        self.sides = nn.Linear(seen, len(KINDS) * len(SIDES))

    def forward(self, grid: Tensor) -> DetailsOutput:
        seen = self.body(grid)
        sides = self.sides(seen).unflatten(1, (len(KINDS), len(SIDES)))
        return DetailsOutput(self.numbers(seen), self.sizes(seen), sides)


def load_details(folder: Path = WEIGHTS / "details") -> Details:
    """The shipped heads, in evaluation mode and float32."""
    from safetensors.torch import load_file

    details = Details()
    weights = load_file(folder / "model.safetensors")
    details.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return details.eval()
