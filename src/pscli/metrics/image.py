"""Inception Score and Fréchet distance of the drawn photos. Guo et al. (2024), Table 2.

Drawn and gold photos are compared as unpaired sets. Both figures are biased when photos are few,
and Inception's 2048 × 2048 covariance is singular below 2049 photos: compare systems only at
similar n, which every signature therefore carries.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pscli.dialogue.schema import Photo
from pscli.errors import ConfigError
from pscli.metrics.base import Score, Scored
from pscli.registry import find

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn
    from torch.utils.data import Dataset

EXTRACTORS = ("photoworld", "inception")
SPLITS = 10  # the released code's isc_splits


def image_scores(
    drawn: Sequence[Path],
    gold: Sequence[Path],
    extractor: str = "photoworld",
    network: nn.Module | None = None,
) -> Scored:
    """IS of the drawn photos and FID between drawn and gold ones.

    Always computed on the CPU, so that every machine prints the same figures.

    Args:
        drawn: Files of the predicted photos.
        gold: Files of the references' photos.
        extractor: `inception` (torch-fidelity's inception-v3-compat) gives `IS` and `FID`;
            `photoworld` (our network) gives `IS-photoworld` and `FID-photoworld`, which are
            comparable among themselves only.
        network: Stands in for the shipped photoworld network.

    Raises:
        ConfigError: if there is no such extractor or its weights cannot be had.
        DataError: if a photo cannot be decoded.
    """
    is_name, fid_name = names(extractor)
    reasons = {}
    if len(drawn) < 2:
        reasons[is_name] = f"needs 2 drawn photos, there are {len(drawn)}"
    if len(drawn) < 2 or len(gold) < 2:
        reasons[fid_name] = (
            f"needs 2 drawn and 2 gold photos, there are {len(drawn)} and {len(gold)}"
        )
    if is_name in reasons:
        return Scored(reasons=reasons)
    splits = min(SPLITS, len(drawn) // 2)
    values = _measure(drawn, gold, extractor, network, splits, fid=fid_name not in reasons)
    signature = _signature(extractor, f"n:{len(drawn)}/{len(gold)}")
    scores = [
        Score(
            is_name,
            values["inception_score_mean"],
            len(drawn),
            f"splits:{splits if splits == SPLITS else f'{splits}-of-{SPLITS}'}|{signature}",
            deviation=values["inception_score_std"],
        )
    ]
    if fid_name not in reasons:
        value = max(0.0, values["frechet_inception_distance"])  # rounding may leave -1e-19
        scores.append(Score(fid_name, value, len(drawn), signature))
    return Scored(tuple(scores), reasons)


def names(extractor: str) -> tuple[str, str]:
    """Names of the two scores. Raises ConfigError if there is no such extractor."""
    if extractor not in EXTRACTORS:
        import difflib

        near = difflib.get_close_matches(extractor, EXTRACTORS, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Choose from {', '.join(EXTRACTORS)}."
        raise ConfigError(f"Unknown extractor '{extractor}'.", hint)
    return ("IS", "FID") if extractor == "inception" else ("IS-photoworld", "FID-photoworld")


def _signature(extractor: str, count: str) -> str:
    from torch_fidelity import __version__

    name, side = ("inception-v3-compat", 299) if extractor == "inception" else ("photoworld", 64)
    return f"extractor:{name}|{count}|resize:{side}-bicubic-antialias|torch-fidelity:{__version__}"


def _measure(
    drawn: Sequence[Path],
    gold: Sequence[Path],
    extractor: str,
    network: nn.Module | None,
    splits: int,
    fid: bool,
) -> dict[str, float]:
    import torch_fidelity

    if extractor == "inception":
        side = 299
        _fetch_inception()
        options: dict[str, Any] = {"feature_extractor": "inception-v3-compat"}
    else:
        side = 64
        options = {"feature_extractor": _register(), "network": network or load_network()}
    values: dict[str, float] = torch_fidelity.calculate_metrics(
        input1=_dataset(drawn, side),
        input2=_dataset(gold, side) if fid else None,
        isc=True,
        fid=fid,
        isc_splits=splits,
        cuda=False,
        cache=False,  # it would write features under the user's home
        save_cpu_ram=True,  # no worker processes
        verbose=False,
        **options,
    )
    return values


def _dataset(paths: Sequence[Path], side: int) -> Dataset[Any]:
    from torch.utils.data import Dataset

    class Photos(Dataset[Any]):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, index: int) -> Tensor:
            return pixels(Photo(paths[index]).open(), side)

    return Photos()


def pixels(image: Image, side: int) -> Tensor:
    """The photo as a uint8 tensor of shape [3, side, side]; other proportions are squeezed.

    Pillow's bicubic filter, which averages when it scales down: FID is sensitive to the filter.
    """
    import numpy as np
    import torch
    from PIL.Image import Resampling

    scaled = image.resize((side, side), Resampling.BICUBIC)
    return torch.from_numpy(np.array(scaled)).permute(2, 0, 1)


def _fetch_inception() -> None:
    """Puts Inception's weights where torch-fidelity looks for them."""
    from torch import hub
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    try:
        hub.load_state_dict_from_url(URL_INCEPTION_V3, progress=False)
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"The weights of the inception extractor cannot be loaded from {URL_INCEPTION_V3} "
            f"({error}).",
            "Check the network, or score with `--extractor photoworld`, which needs none.",
        ) from error


def load_network() -> nn.Module:
    """The shipped photoworld extractor."""
    return find("extractor", "photoworld")()


@functools.cache
def _register() -> str:
    """Name under which torch-fidelity knows our extractor; registered once per process."""
    import torch
    from torch_fidelity import register_feature_extractor
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    class Photoworld(FeatureExtractorBase):
        """uint8 photos [B, 3, 64, 64] to features [B, F] (FID) and scene logits [B, K] (IS)."""

        def __init__(self, name: str, features_list: list[str], network: nn.Module, **_: Any):
            super().__init__(name, features_list)
            self.network = network

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("features", "scene_logits")

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return {"isc": "scene_logits", "fid": "features"}[metric]

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            output = self.network(images.float() / 127.5 - 1)
            return tuple(getattr(output, name) for name in self.features_list)

    register_feature_extractor("photoworld", Photoworld)
    return "photoworld"
