"""What sees the photos for image scores: feature extractors, and photos as their pixels."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pscli.errors import ConfigError
from pscli.metrics.base import made
from pscli.predictions.folder import open_photo
from pscli.registry import check

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

SMALL = 64  # pixels of a side; photos of this size take 12 kB, so that many are kept
KEPT = 8192


class Extractor(Protocol):
    """A network that is not trained with any system. Found by name, called without arguments.

    Args:
        name: What the signature of a score calls it.
        side: Pixels of a side of the photos that it takes.
    """

    name: str
    side: int

    def features(self, images: Tensor) -> Tensor:
        """[B, F] of photos [B, 3, side, side], uint8, RGB; F >= 2."""
        ...


@runtime_checkable
class Classifier(Extractor, Protocol):
    """An extractor that also tells classes apart, which the Inception Score needs."""

    def logits(self, features: Tensor) -> Tensor:
        """[B, K] logits over classes, from `features`."""
        ...


def suffix(name: str) -> str:
    """What a score's name ends with. FID without further words is Inception's.

    Raises:
        ConfigError: if no extractor can have this name.
    """
    check("extractor", name)
    return "" if name == "inception" else f"-{name.rpartition(':')[2]}"


def load(name: str, device: torch.device) -> Extractor:
    """The extractor of that name: of the registry, or anyone's `module:object`.

    Args:
        device: Where it computes, if it can be moved.

    Raises:
        ConfigError: if there is none, or its weights cannot be had.
    """
    extractor: Extractor = made("extractor", name, ("name", "side", "features"))
    if hasattr(extractor, "eval"):
        extractor.eval()
    if hasattr(extractor, "to"):
        extractor.to(device)
    return extractor


class Inception:
    """torch-fidelity's inception-v3-compat, whose FID is the one that papers print."""

    name = "inception-v3-compat"
    side = 299

    def __init__(self) -> None:
        from torch_fidelity import feature_extractor_inceptionv3 as theirs

        try:
            self._network = theirs.FeatureExtractorInceptionV3(self.name, ["2048"])
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                "The weights of the inception extractor cannot be loaded from "
                f"{theirs.URL_INCEPTION_V3} ({error}).",
                "Check the network, or score with `--extractor photoworld`, which needs none.",
            ) from error

    def to(self, device: torch.device) -> None:
        self._network.to(device)

    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self._network(images)[0]
        return features

    def logits(self, features: Tensor) -> Tensor:
        return features.mm(self._network.fc.weight.T)  # without the bias, as IS is defined on them


def photo_pixels(path: Path, id: str, side: int) -> Tensor:
    """`pixels` of a photo of the instance `id`. Small ones are kept, for the metric that comes
    next.

    Raises:
        DataError: if it cannot be decoded; it names the instance.
    """
    if side > SMALL:
        return pixels(open_photo(path, id), side)
    stat = path.stat()  # another photo may come to have the name
    return _small_pixels(path, id, side, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(KEPT)
def _small_pixels(path: Path, id: str, side: int, *version: int) -> Tensor:
    return pixels(open_photo(path, id), side)


def pixels(image: Image, side: int) -> Tensor:
    """The photo as a uint8 tensor of shape [3, side, side]; other proportions are squeezed.

    Pillow's bicubic filter, which averages when it scales down: FID is sensitive to the filter.
    """
    import numpy as np
    import torch
    from PIL.Image import Resampling

    scaled = image.resize((side, side), Resampling.BICUBIC)
    return torch.from_numpy(np.array(scaled)).permute(2, 0, 1)
