"""Adapters: low-rank updates beside weights that do not train (Hu et al. 2021), by peft.

They are injected in place, so that a model is called as before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from pscli.components.weights import refuse_lacking
from pscli.errors import ConfigError

WEIGHTS = "adapter_model.safetensors"
_ADDED = ("lora_", "trainable_tokens")  # in the names of the parameters that adapters add


def library() -> Any:
    """peft, if it is there.

    Raises:
        ConfigError: if it is not.
    """
    try:
        import peft
    except ImportError as error:
        raise ConfigError(
            "Adapters need the package peft.", "Install it: pip install 'pscli[lora]'."
        ) from error
    return peft


def is_adapter(name: str) -> bool:
    """Whether a parameter of this name belongs to an adapter."""
    return any(added in name for added in _ADDED)


def adapted(module: nn.Module) -> bool:
    """Whether a module has adapters, which alone train then."""
    return any(is_adapter(name) for name, _ in module.named_parameters())


def adapt(model: nn.Module, rank: int, rows: dict[str, list[int]]) -> Any:
    """Injects adapters into every linear layer of an LLM, and returns peft's view of it.

    Args:
        rows: New tokens, whose rows train as well, by the name of the layer that has them.
    """
    peft = library()
    config = peft.LoraConfig(
        r=rank, lora_alpha=rank, target_modules="all-linear", trainable_token_indices=rows,
        task_type="CAUSAL_LM",
    )  # fmt: skip
    return peft.get_peft_model(model, config)


def adapt_from(model: nn.Module, folder: Path) -> Any:
    """Injects the adapters that a folder of peft's holds.

    Raises:
        ValueError: if some of them are missing.
    """
    peft = library()
    config = peft.PeftConfig.from_pretrained(str(folder))
    config.inference_mode = False
    view = peft.get_peft_model(model, config)
    found = peft.set_peft_model_state_dict(view, load_file(folder / WEIGHTS))
    once = {name for name, _ in view.named_parameters()}  # tied ones are named twice elsewhere
    refuse_lacking({n for n in found.missing_keys if is_adapter(n)} & once, "adapters")
    return view


ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]  # diffusers' names of what is adapted as a rule


def adapt_attention(unet: Any, rank: int, folder: Path | None = None) -> None:
    """Injects adapters into the attention of a diffusers U-Net, new or those that a folder holds.

    Raises:
        ValueError: if some of them are missing.
    """
    peft = library()
    unet.add_adapter(peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=ATTENTION))
    if folder is None:
        return
    from diffusers.loaders.lora_pipeline import LORA_WEIGHT_NAME_SAFE

    saved = load_file(folder / LORA_WEIGHT_NAME_SAFE)
    weights = {name.removeprefix("unet."): weight for name, weight in saved.items()}
    found = peft.set_peft_model_state_dict(unet, weights)
    refuse_lacking(filter(is_adapter, found.missing_keys), "adapters")


def save_attention(unet: Any, folder: Path) -> None:
    """Writes a U-Net's adapters for the `load_lora_weights` of a diffusers pipeline."""
    from diffusers import StableDiffusionPipeline

    weights = library().get_peft_model_state_dict(unet)
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=weights)
