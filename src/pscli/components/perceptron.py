"""Image perceptron: photos to visual embeddings that the LLM reads as context.

Guo et al. (2024), §2.3; "Eq. n" refers to it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self, cast

import numpy as np
import torch
from PIL.Image import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Blip2QFormerModel, Blip2VisionModel

from pscli.components.weights import whole

# P photos, S side in pixels, N patches + 1, Q visual tokens, D width of the LLM


class Perceptron(Protocol):
    """What systems need of whatever sees for them: a module with these.

    Args:
        length: Visual tokens a photo, Q.
        width: Width D of the embeddings, the LLM's own.
    """

    length: int
    width: int

    @property
    def vision(self) -> nn.Module:
        """The part that looks at pixels; what it makes is kept where it does not train."""

    def look(self, photos: Sequence[Image]) -> Tensor:
        """[P, …] of photos of any size, whatever `forward` reads."""

    def __call__(self, seen: Tensor) -> Tensor:
        """[P, Q, D] visual embeddings H^v of what `look` gives."""

    @classmethod
    def from_pretrained(cls, place: str, revision: str | None = None) -> Self: ...

    def save_pretrained(self, folder: Path) -> None: ...


class _Perceptron(nn.Module):
    """What ours share: a vision encoder, its pixels, and a folder of their own.

    Args:
        vision: H̃^v = ViT(I), the first line of Eq. 3.
        width: Width D of the LLM's embeddings.
    """

    name: str
    length: int  # visual tokens per photo, Q

    def __init__(self, vision: Blip2VisionModel, width: int) -> None:
        super().__init__()
        self.vision = vision
        self.width = width

    def look(self, photos: Sequence[Image]) -> Tensor:
        """[P, N, ·] patches H̃^v = ViT(I) of photos (Eq. 3)."""
        patches: Tensor = self.vision(self.pixels(photos)).last_hidden_state
        return patches

    def pixels(self, photos: Sequence[Image]) -> Tensor:
        """[P, 3, S, S] in [-1, 1]; photos of any size are scaled to the encoder's."""
        side = cast("int", self.vision.config.image_size)  # not a pair: photos are square
        scaled = (p.convert("RGB").resize((side, side), resample=3) for p in photos)
        stacked = torch.from_numpy(np.stack([np.asarray(image) for image in scaled]))
        return stacked.permute(0, 3, 1, 2).float().to(self.vision.device) / 127.5 - 1

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.vision.save_pretrained(folder / "vision")
        own = {k: v for k, v in self.state_dict().items() if k.split(".")[0] in self.own}
        save_file({k: v.contiguous() for k, v in own.items()}, folder / "model.safetensors")
        settings = {"perceptron": self.name, "length": self.length, "width": self.width}
        (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")

    def load_own(self, folder: Path) -> None:
        """Loads what is neither the vision encoder's nor the Q-Former's."""
        found = self.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
        lacking = [name for name in found.missing_keys if name.split(".")[0] in self.own]
        if lacking or found.unexpected_keys:
            raise ValueError(f"model.safetensors has no {lacking or found.unexpected_keys}.")

    own: tuple[str, ...] = ("projection",)


def in_place(words: Tensor, place: Tensor, visual: Tensor) -> Tensor:
    """[B, L, D] embeddings of words, with H^v [P, Q, D] where `place` [B, L] is true (Eq. 3)."""
    return words.masked_scatter(place[..., None], visual.flatten(0, 1).to(words.dtype))


class QFormerPerceptron(_Perceptron):
    """H^v = Q-Former(Q, H̃^v) (Eq. 3), projected to the LLM's width.

    BLIP-2's own projection fits the width of its OPT; another LLM needs this new one.
    """

    name = "qformer"
    own = ("queries", "projection")

    def __init__(
        self, vision: Blip2VisionModel, qformer: Blip2QFormerModel, length: int, width: int
    ) -> None:
        super().__init__(vision, width)
        self.qformer = qformer
        self.length = length
        self.queries = nn.Parameter(0.02 * torch.randn(1, length, qformer.config.hidden_size))
        self.projection = nn.Linear(qformer.config.hidden_size, width)

    def forward(self, patches: Tensor) -> Tensor:
        """[P, Q, D] visual embeddings H^v of patches [P, N, ·] (Eq. 3)."""
        queries = self.queries.expand(len(patches), -1, -1)
        seen = self.qformer(query_embeds=queries, encoder_hidden_states=patches).last_hidden_state
        visual: Tensor = self.projection(seen)  # H^v
        return visual

    def save_pretrained(self, folder: Path) -> None:
        super().save_pretrained(folder)
        self.qformer.save_pretrained(folder / "qformer")

    @classmethod
    def from_pretrained(cls, place: str | Path, revision: str | None = None) -> Self:
        folder = Path(place)
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        perceptron = cls(
            whole(Blip2VisionModel, folder / "vision", dtype=torch.float32),
            whole(Blip2QFormerModel, folder / "qformer", dtype=torch.float32),
            settings["length"],
            settings["width"],
        )
        perceptron.load_own(folder)
        return perceptron


class LinearPerceptron(_Perceptron):
    """Vision encoder and linear projection, patch by patch: the other way that §2.3 names."""

    name = "linear"

    def __init__(self, vision: Blip2VisionModel, width: int) -> None:
        super().__init__(vision, width)
        side, patch = cast("tuple[int, int]", (vision.config.image_size, vision.config.patch_size))
        self.length = (side // patch) ** 2
        self.projection = nn.Linear(vision.config.hidden_size, width)

    def forward(self, patches: Tensor) -> Tensor:
        """[P, Q, D] visual embeddings, one for each of the patches [P, N, ·] but the first."""
        visual: Tensor = self.projection(patches[:, 1:])
        return visual

    @classmethod
    def from_pretrained(cls, place: str | Path, revision: str | None = None) -> Self:
        """Loads a folder of its own; the projection is new if the folder is a Q-Former's."""
        folder = Path(place)
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        vision = whole(Blip2VisionModel, folder / "vision", dtype=torch.float32)
        perceptron = cls(vision, settings["width"])
        if settings["perceptron"] == cls.name:
            perceptron.load_own(folder)
        return perceptron
