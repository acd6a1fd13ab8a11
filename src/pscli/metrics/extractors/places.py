"""Vision networks of transformers from any folder or hub id: CLIP and DINOv2.

Photos are scaled, cropped and normalised by the processor that they were published with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pscli.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

BATCH = 64  # texts


class _Placed:
    """A network in a folder or under a hub id.

    Args:
        place: Of the weights.

    Raises:
        ConfigError: if no place is named.
        CheckpointError: if there is no such network, or a weight of it is missing.
    """

    family: ClassVar[str]
    instead: ClassVar[str]  # how a folder of it is named
    side = 0

    def __init__(self, place: str = "") -> None:
        if not place:
            raise ConfigError(
                f"The extractor '{self.family}' has no weights of its own.",
                f"Name their folder or hub id: {self.family}:PLACE.",
            )
        from pscli.components.cache import fingerprint
        from pscli.components.hub import ask_for
        from pscli.components.load import loading
        from pscli.components.vision import Pixels
        from pscli.components.weights import whole
        from pscli.config import PartConfig

        ask_for(self.family, PartConfig(self.family, place), self.instead)
        with loading(self.family, place):
            self.network: Any = whole(self._kind(), place).requires_grad_(False).eval()
            self._pixels = Pixels.from_pretrained(place)
        if self._pixels is None:
            raise ConfigError(
                f"{place} has no preprocessor_config.json, so how it takes photos is not known.",
                f"Add that of the {self.family} model that it comes from.",
            )
        self.name = f"{self.family}({place})"
        self.weights = f"blake2b:{fingerprint(self.network)}"
        self.resize = _described(self._pixels.processor)
        self.identity = f"{self.family} {self.weights} {self.resize}"

    def _kind(self) -> Any:
        raise NotImplementedError

    def pixels(self, photo: Image) -> Tensor:
        assert self._pixels is not None
        return self._pixels([photo])[0]

    def to(self, device: torch.device) -> None:
        self.network.to(device)


class Clip(_Placed):
    """CLIP (Radford et al. 2021): features are the projected embeddings of photos."""

    family, instead = "clip", "--clip FOLDER, or --extractor clip:FOLDER"

    def __init__(self, place: str = "") -> None:
        super().__init__(place)
        self._place = place

    def _kind(self) -> Any:
        from transformers import CLIPModel

        return CLIPModel

    def features(self, images: Tensor) -> Tensor:
        pooled = self.network.vision_model(images).pooler_output
        features: Tensor = self.network.visual_projection(pooled)
        return features

    def texts(self, texts: Sequence[str]) -> Tensor:
        """[T, F] projected embeddings of T >= 1 texts, each cut off after the network's length."""
        import torch
        from transformers import AutoTokenizer

        from pscli.components.load import loading

        with loading(self.family, self._place):
            tokenizer = AutoTokenizer.from_pretrained(self._place, trust_remote_code=False)
        options = {"max_length": self.length, "truncation": True, "padding": True}
        rows = []
        for start in range(0, len(texts), BATCH):
            some = tokenizer(list(texts[start : start + BATCH]), return_tensors="pt", **options)
            with torch.no_grad():
                some = some.to(self.network.device)
                pooled = self.network.text_model(some.input_ids, some.attention_mask).pooler_output
                rows.append(self.network.text_projection(pooled).float().cpu())
        return torch.cat(rows)

    @property
    def length(self) -> int:
        """Tokens of a text."""
        return int(self.network.config.text_config.max_position_embeddings)


class DinoV2(_Placed):
    """DINOv2 (Oquab et al. 2023): features are the class token."""

    family, instead = "dinov2", "--extractor dinov2:FOLDER"

    def _kind(self) -> Any:
        from transformers import Dinov2Model

        return Dinov2Model

    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self.network(images).pooler_output
        return features


def _described(processor: Any) -> str:
    """What a processor does to photos: `224-bicubic-antialias,crop:224`."""
    from PIL.Image import Resampling

    settings = processor.to_dict()
    size = settings.get("size") or {}
    resample = Resampling(settings.get("resample") or 0).name.lower()
    # Either the shorter side, or both.
    scale = size.get("shortest_edge") or "x".join(str(size[k]) for k in ("height", "width"))
    told = f"{scale}-{resample}-antialias" if settings.get("do_resize", True) else "none"
    crop = settings.get("crop_size") or {}
    if settings.get("do_center_crop") and crop:
        told += f",crop:{crop.get('height')}"
    return told
