"""torch-fidelity's inception-v3-compat, whose FID is the one that papers print."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

from pscli.errors import ConfigError
from pscli.metrics.extractor import whole_pixels

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

PUBLISHED = "pt-inception-2015-12-05-6726825d"  # ends with its SHA-256


class Inception:
    """Sees photos as they are: the network scales them itself, as TensorFlow 1 did.

    Args:
        weights: A file of torch-fidelity's weights; fetched from where it publishes them if empty.

    Raises:
        ConfigError: if they cannot be loaded.
    """

    name = "inception-v3-compat"
    side = 299
    resize = "299-bilinear-tf1-no-antialias"

    def __init__(self, weights: str = "") -> None:
        from torch_fidelity import feature_extractor_inceptionv3 as theirs

        path = _checked(Path(weights)) if weights else None
        try:
            self._network = theirs.FeatureExtractorInceptionV3(
                self.name, ["2048"], feature_extractor_weights_path=path
            )
        except (OSError, RuntimeError) as error:
            if path:
                raise _refusal(path, f"they do not fit ({str(error)[:200]})") from error
            raise ConfigError(
                "The weights of the inception extractor cannot be loaded from "
                f"{theirs.URL_INCEPTION_V3} ({error}).",
                "Check the network, name a file that holds them (score --inception-weights), or "
                "take the extractor `photoworld`, which needs none.",
            ) from error
        self.weights = f"sha256:{_sha256(path)[:12]}" if path else PUBLISHED

    @property
    def identity(self) -> str:
        return f"{self.name} {self.weights}"

    def pixels(self, photo: Image) -> Tensor:
        return whole_pixels(photo)

    def to(self, device: torch.device) -> None:
        self._network.to(device)

    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self._network(images)[0]
        return features

    def logits(self, features: Tensor) -> Tensor:
        return features.mm(self._network.fc.weight.T)  # without the bias, as IS is defined on them


def _checked(path: Path) -> Path:
    """The path, if the file holds tensors alone: torch-fidelity runs whatever code a file has."""
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist.", "Check --inception-weights.") from error
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise _refusal(path, f"it is no file of tensors ({str(error)[:200]})") from error
    if not isinstance(found, dict):
        raise _refusal(path, f"it holds a {type(found).__name__}")
    return path


def _refusal(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"The weights of the inception extractor cannot be loaded from {path}: {why}.",
        f"Expected torch-fidelity's weights-inception-{PUBLISHED.removeprefix('pt-inception-')}"
        ".pth, or others of that form.",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
