"""What sees the photos for image scores: feature extractors, and photos as their pixels."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pscli.errors import ConfigError
from pscli.metrics.base import made
from pscli.predictions.folder import open_photo
from pscli.registry import TABLES, check

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

SMALL = 64  # pixels of a side; photos of this size take 12 kB, so that many are kept
KEPT = 8192
PLACED = ("inception", "clip", "dinov2")  # of the registry's, those whose weights may lie anywhere


class Extractor(Protocol):
    """A network that is not trained with any system. Found by name, called without arguments, or
    with the place of its weights where the name is `NAME:PLACE`.

    It may also have
    - `pixels(photo)`, [3, H, W] of an RGB image, if it scales photos itself, and `resize`, what
      the signature says of that;
    - `weights`, a checksum of them, for the signature;
    - `identity`, a text that changes whenever its features would: they are kept on disk then.

    Args:
        name: What the signature of a score calls it.
        side: Pixels of a side of the photos that it takes, unless it scales them itself.
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
    known, place = split(check("extractor", name))
    if known == "inception":
        return ""
    return f"-{os.path.basename(os.path.normpath(place)) if place else name.rpartition(':')[2]}"


def split(name: str) -> tuple[str, str]:
    """Name of the registry and place of the weights of `NAME:PLACE`; else the name itself.

    Raises:
        ConfigError: if the weights of that name have a place of their own.
    """
    known, _, place = name.partition(":")
    if known not in TABLES["extractor"]:
        return name, ""
    if place and known not in PLACED:
        raise ConfigError(
            f"The extractor '{known}' has weights of its own, so it has no '{place}'.",
            f"Leave out ':{place}'; a place is for {', '.join(PLACED)}.",
        )
    return known, place


def extractors(names: Sequence[str], inception: Path | None) -> list[str]:
    """Those that are asked for: photoworld's by default.

    Args:
        inception: Weights of the inception extractor, which is then one of them.
    """
    if not inception:
        return list(names) or ["photoworld"]
    weighted = f"inception:{inception}"
    return list(dict.fromkeys([weighted if n == "inception" else n for n in (*names, weighted)]))


def load(name: str, device: torch.device) -> Extractor:
    """The extractor of that name: of the registry, or anyone's `module:object`.

    Args:
        name: The registry's may be followed by the place of their weights: `clip:FOLDER-OR-ID`.
        device: Where it computes, if it can be moved.

    Raises:
        ConfigError, CheckpointError: if there is none, or its weights cannot be had.
    """
    known, place = split(name)
    needs = ("name", "side", "features")
    extractor: Extractor = made("extractor", known, needs, *([place] if place else []))
    if hasattr(extractor, "eval"):
        extractor.eval()
    if hasattr(extractor, "to"):
        extractor.to(device)
    return extractor


def told(extractor: Extractor) -> str:
    """What a signature says of an extractor: its name, its weights, and what became of photos."""
    resize = getattr(extractor, "resize", f"{extractor.side}-bicubic-antialias")
    weights = getattr(extractor, "weights", "")
    parts = [f"extractor:{extractor.name}", f"weights:{weights}" if weights else ""]
    return "|".join([*filter(None, parts), f"resize:{resize}", "colour:rgb8,alpha-on-white"])


def seen_by(extractor: Extractor, path: Path, id: str) -> Tensor:
    """[3, H, W] what an extractor takes of a photo of the instance `id`.

    Raises:
        DataError: if it cannot be decoded; it names the instance.
    """
    own = getattr(extractor, "pixels", None)
    if own is None:
        return photo_pixels(path, id, extractor.side)
    tensor: Tensor = own(open_photo(path, id))
    return tensor


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
    from PIL.Image import Resampling

    return whole_pixels(image.resize((side, side), Resampling.BICUBIC))


def whole_pixels(image: Image) -> Tensor:
    """The photo as a uint8 tensor of shape [3, H, W]."""
    import numpy as np
    import torch

    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
