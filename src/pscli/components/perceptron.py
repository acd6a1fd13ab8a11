"""Image perceptron: photos to visual embeddings that the LLM reads as context.

Guo et al. (2024), §2.3; "Eq. n" refers to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from PIL.Image import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Blip2Config, Blip2QFormerModel

from pscli.components.vision import Pixels, config_of, tower
from pscli.components.weights import fill, some, whole
from pscli.files import write_json

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
    def from_pretrained(cls, place: str, revision: str | None = None, **options: Any) -> Self:
        """Loads it. Args: options: `width` D of the LLM, for new projections, and what is set of
        `variant` and `dtype`."""

    def save_pretrained(self, folder: Path) -> None: ...


class _Perceptron(nn.Module):
    """What ours share: a vision encoder, its pixels, and a folder of their own.

    Args:
        vision: H̃^v = ViT(I), the first line of Eq. 3.
        width: Width D of the LLM's embeddings.
        pixels: How photos are made ready for the encoder.
    """

    name: str
    length: int  # visual tokens per photo, Q
    own: tuple[str, ...] = ("projection",)  # what is neither the encoder's nor the Q-Former's

    def __init__(self, vision: nn.Module, width: int, pixels: Pixels | None = None) -> None:
        super().__init__()
        self.vision: Any = vision
        self.width = width
        config: Any = vision.config
        self.pixels = pixels or Pixels(config.image_size)

    def look(self, photos: Sequence[Image]) -> Tensor:
        """[P, N, ·] patches H̃^v = ViT(I) of photos (Eq. 3)."""
        pixels = self.pixels(photos).to(self.vision.device, self.vision.dtype)
        patches: Tensor = self.vision(pixels).last_hidden_state
        return patches

    def save_pretrained(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.vision.save_pretrained(folder / "vision")
        self.pixels.save_pretrained(folder)
        own = {k: v for k, v in self.state_dict().items() if k.split(".")[0] in self.own}
        save_file({k: v.contiguous() for k, v in own.items()}, folder / "model.safetensors")
        settings = {"perceptron": self.name, "length": self.length, "width": self.width}
        settings |= {"places": True} if "places" in own else {}
        write_json(folder / "config.json", settings)

    def load_own(self, folder: Path) -> None:
        found = self.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
        lacking = [name for name in found.missing_keys if name.split(".")[0] in self.own]
        if lacking or found.unexpected_keys:
            raise ValueError(f"model.safetensors has no {lacking or found.unexpected_keys}.")


def in_place(words: Tensor, place: Tensor, visual: Tensor) -> Tensor:
    """[…, L, D] embeddings of words, with H^v [P, Q, D] where `place` […, L] is true (Eq. 3)."""
    return words.masked_scatter(place[..., None], visual.flatten(0, 1).to(words.dtype))


class QFormerPerceptron(_Perceptron):
    """H^v = Q-Former(Q, H̃^v) (Eq. 3), projected to the LLM's width.

    BLIP-2's own projection fits the width of its OPT; another LLM needs this new one.

    Args:
        places: [N, ·] table of positions that is added to the patches, for a vision encoder that
            has lost with its depth where a patch is. Deviation, Eq. 3: BLIP-2 has none.
    """

    name = "qformer"
    own = ("queries", "projection", "places")

    def __init__(
        self,
        vision: nn.Module,
        qformer: Blip2QFormerModel,
        length: int,
        width: int,
        pixels: Pixels | None = None,
        places: Tensor | None = None,
    ) -> None:
        super().__init__(vision, width, pixels)
        self.qformer = qformer
        self.places = None if places is None else nn.Parameter(places)
        self.length = length
        self.queries = nn.Parameter(0.02 * torch.randn(1, length, qformer.config.hidden_size))
        self.projection = nn.Linear(qformer.config.hidden_size, width)

    def forward(self, patches: Tensor) -> Tensor:
        """[P, Q, D] visual embeddings H^v of patches [P, N, ·] (Eq. 3)."""
        queries = self.queries.expand(len(patches), -1, -1)
        patches = patches.to(queries.dtype)
        if self.places is not None:
            patches = patches + self.places
        seen = self.qformer(query_embeds=queries, encoder_hidden_states=patches).last_hidden_state
        visual: Tensor = self.projection(seen)  # H^v
        return visual

    def save_pretrained(self, folder: Path) -> None:
        super().save_pretrained(folder)
        self.qformer.save_pretrained(folder / "qformer")

    @classmethod
    def from_pretrained(
        cls,
        place: str | Path,
        revision: str | None = None,
        *,
        width: int | None = None,
        dtype: str = "float32",
        **where: Any,
    ) -> Self:
        """Loads a folder of its own, or a BLIP-2 folder or hub id, from which it takes the vision
        model, the Q-Former and the query tokens; the projection is new then.

        Args:
            width: Of the LLM; a folder of its own says itself what it was made for.
            dtype: Of the vision model.
        """
        settings = config_of(place, revision)
        where["revision"] = revision
        if "perceptron" in settings:
            folder = Path(place)
            vision = tower(folder / "vision", dtype=dtype)
            of: Any = vision.config
            table = (of.image_size // of.patch_size) ** 2 + 1, of.hidden_size
            perceptron = cls(
                vision,
                whole(Blip2QFormerModel, folder / "qformer", dtype=torch.float32),
                settings["length"],
                settings["width"],
                Pixels.from_pretrained(folder),
                torch.zeros(table) if settings.get("places") else None,
            )
            perceptron.load_own(folder)
            return perceptron
        if settings.get("model_type") != "blip-2" or width is None:
            raise ValueError(
                f"it is a '{settings.get('model_type')}', which has no Q-Former; "
                "a vision model alone is seen by --perceptron linear."
            )
        config: Any = Blip2Config.from_pretrained(str(place), **where)
        perceptron = cls(
            tower(place, dtype=dtype, **where),
            Blip2QFormerModel(config.qformer_config),
            config.num_query_tokens,
            width,
            Pixels.from_pretrained(place, revision),
        )
        weights = some(place, ("qformer.", "query_tokens"), **where)
        fill(perceptron.qformer, weights, "qformer.")
        perceptron.queries.data = weights["query_tokens"].float()
        return perceptron.eval()


class LinearPerceptron(_Perceptron):
    """Vision encoder and linear projection, patch by patch: the other way that §2.3 names."""

    name = "linear"

    def __init__(self, vision: nn.Module, width: int, pixels: Pixels | None = None) -> None:
        super().__init__(vision, width, pixels)
        self.length = (self.vision.config.image_size // self.vision.config.patch_size) ** 2
        self.projection = nn.Linear(self.vision.config.hidden_size, width)

    def forward(self, patches: Tensor) -> Tensor:
        """[P, Q, D] visual embeddings, one for each of the patches [P, N, ·] of a photo.

        What stands before them, such as a class token, is left out.
        """
        visual: Tensor = self.projection(patches[:, -self.length :].to(self.projection.weight))
        return visual

    @classmethod
    def from_pretrained(
        cls,
        place: str | Path,
        revision: str | None = None,
        *,
        width: int | None = None,
        dtype: str = "float32",
        **where: Any,
    ) -> Self:
        """Loads a folder of its own, or a vision model: CLIP's, SigLIP's, BLIP-2's, or that of a
        Q-Former perceptron. The projection of all but its own is new.

        Args:
            width: Of the LLM; a folder of its own says itself what it was made for.
            dtype: Of the vision model.
        """
        settings = config_of(place, revision)
        pixels = Pixels.from_pretrained(place, revision)
        if "perceptron" in settings:
            vision = tower(Path(place) / "vision", dtype=dtype)
        else:
            vision = tower(place, dtype=dtype, revision=revision, **where)
        if settings.get("perceptron") == cls.name:
            perceptron = cls(vision, settings["width"], pixels)
            perceptron.load_own(Path(place))
            return perceptron
        return cls(vision, width or settings["width"], pixels)
