"""Vision models of several families, and the pixels that each was trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import transformers
from PIL.Image import Image
from torch import Tensor, nn
from transformers.utils import CONFIG_NAME, IMAGE_PROCESSOR_NAME
from transformers.utils.hub import cached_file

from pscli.components.weights import DTYPES, fill, some, whole

TOWERS = {  # names in transformers, which loads a family when it is asked for
    "blip_2_vision_model": "Blip2VisionModel",
    "clip": "CLIPVisionModel",
    "clip_vision_model": "CLIPVisionModel",
    "siglip": "SiglipVisionModel",
    "siglip_vision_model": "SiglipVisionModel",
}


class Pixels:
    """Makes photos ready for a vision model, as the processor says that it was published with.

    Args:
        side: S, for the models of photoworld, which have none: scaled to S × S, in [-1, 1].
        processor: Of transformers.
    """

    def __init__(self, side: int, processor: Any = None) -> None:
        self.side, self.processor = side, processor

    def __call__(self, photos: Sequence[Image]) -> Tensor:
        """[P, 3, S, S] float32."""
        if self.processor is None:
            return scaled(photos, self.side)
        rgb = [photo.convert("RGB") for photo in photos]
        made: Tensor = self.processor(images=rgb, return_tensors="pt")["pixel_values"]
        return made

    @classmethod
    def from_pretrained(cls, place: str | Path, revision: str | None = None) -> Self | None:
        """That of a folder or hub id; None if it has none."""
        found = cached_file(
            str(place), IMAGE_PROCESSOR_NAME, revision=revision,
            _raise_exceptions_for_missing_entries=False,
        )  # fmt: skip
        if found is None:
            return None
        processor = transformers.AutoImageProcessor.from_pretrained(
            str(place), revision=revision, trust_remote_code=False
        )
        return cls(0, processor)

    def save_pretrained(self, folder: Path) -> None:
        if self.processor is not None:
            self.processor.save_pretrained(folder)


def scaled(photos: Sequence[Image], side: int) -> Tensor:
    """[P, 3, side, side] float32 in [-1, 1], of photos of any size."""
    arrays = [np.asarray(p.convert("RGB").resize((side, side), resample=3)) for p in photos]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1


def config_of(place: str | Path, revision: str | None = None) -> dict[str, Any]:
    """`config.json` of a folder or hub id."""
    found = cached_file(str(place), CONFIG_NAME, revision=revision)
    settings: dict[str, Any] = json.loads(Path(found or "").read_text(encoding="utf-8"))
    return settings


def tower(place: str | Path, *, dtype: str = "float32", **where: Any) -> nn.Module:
    """The vision model in a folder or hub id, which may hold more than that.

    Args:
        where: `revision`, `variant`.

    Raises:
        ValueError: if it is of no known family.
    """
    family = config_of(place, where.get("revision")).get("model_type")
    vision: Any
    if family == "blip-2":
        config: Any = transformers.Blip2Config.from_pretrained(str(place), **where)
        vision = transformers.Blip2VisionModel(config.vision_config)
        fill(vision, some(place, ("vision_model.",), **where), "vision_model.")
        vision.to(DTYPES[dtype]).eval()
    elif family in TOWERS:
        vision = whole(getattr(transformers, TOWERS[family]), place, dtype=DTYPES[dtype], **where)
    else:
        raise ValueError(f"it is a '{family}'; known: {', '.join(TOWERS)}.")
    model: nn.Module = vision
    return model
