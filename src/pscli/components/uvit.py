"""U-ViT: a transformer in the place of the U-Net (Bao et al. 2022, *All are Worth Words*).

Noise level, words and patches of the noisy latents are tokens of one sequence; the first block is
joined to the last one, the second to the last but one, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import (
    AutoencoderKL,
    ConfigMixin,
    DDPMScheduler,
    ModelMixin,
    StableDiffusionPipeline,
)
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from pscli.components.generator import StableDiffusion
from pscli.components.weights import forget_places, other_kind, whole
from pscli.files import write_json

# B photos, L tokens, D width


class Attention(nn.Module):
    """Self-attention; queries, keys and values have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] of [B, L, D]."""
        parts = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts.unbind(0))
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two layers, four times as wide between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """A layer of the transformer; `joined` ones read what an earlier layer gave as well."""

    def __init__(self, width: int, heads: int, joined: bool = False) -> None:
        super().__init__()
        self.skip_linear = nn.Linear(2 * width, width) if joined else None
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width), Mlp(width)

    def forward(self, x: Tensor, earlier: Tensor | None = None) -> Tensor:
        """[B, L, D] of [B, L, D]."""
        if self.skip_linear is not None and earlier is not None:
            x = self.skip_linear(torch.cat([x, earlier], dim=-1))
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class UViT(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Predicts the noise in latents, given words. It is called as diffusers calls its U-Nets.

    Weights have the names of the published checkpoints. The defaults are U-ViT-S/2 as it was
    trained on MS-COCO; with a depth of 16 it is U-ViT-S/2 (Deep).

    Args:
        sample_size: Side of the latents.
        in_channels: Of the latents.
        patch_size: Side of a patch of them.
        width: D.
        depth: Blocks beside the middle one, an even number.
        heads: Of each block.
        text_width: Of the text encoder.
        text_tokens: How many tokens that one gives.
        time_cond_proj_dim: Pipelines ask for it; there is none.
    """

    _supports_gradient_checkpointing = True

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sample_size: int = 32,
        in_channels: int = 4,
        patch_size: int = 2,
        width: int = 512,
        depth: int = 12,
        heads: int = 8,
        text_width: int = 768,
        text_tokens: int = 77,
        time_cond_proj_dim: None = None,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        patch = nn.Conv2d(in_channels, width, patch_size, patch_size)
        self.patch_embed = nn.ModuleDict({"proj": patch})
        self.context_embed = nn.Linear(text_width, width)
        tokens = 1 + text_tokens + (sample_size // patch_size) ** 2
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
        half = range(depth // 2)
        self.in_blocks = nn.ModuleList(Block(width, heads) for _ in half)
        self.mid_block = Block(width, heads)
        self.out_blocks = nn.ModuleList(Block(width, heads, joined=True) for _ in half)
        self.norm = nn.LayerNorm(width)
        self.decoder_pred = nn.Linear(width, patch_size**2 * in_channels)
        self.final_layer = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.apply(_begin)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        return_dict: bool = True,
        **unused: Any,
    ) -> Any:
        """The noise [B, C, H, W] as `.sample`, or as the first of a tuple.

        Args:
            sample: [B, C, H, W] noisy latents.
            timestep: [B], or one for all, as diffusers' schedulers count them: from 0.
            encoder_hidden_states: [B, N, text_width] of the text encoder.
            unused: What pipelines say to U-Nets of other kinds.
        """
        patches = self.patch_embed["proj"](sample)
        side = patches.shape[-1]
        levels = torch.as_tensor(timestep, device=sample.device).expand(len(sample)) + 1
        # Bao et al. count noise levels from 1; at 0 nothing is noisy.
        level = get_timestep_embedding(levels, self.config.width, True, 0)
        words = self.context_embed(encoder_hidden_states)
        pixels = patches.flatten(2).transpose(1, 2)
        x = torch.cat([level.to(words.dtype)[:, None], words, pixels], dim=1) + self.pos_embed
        earlier = []
        for block in self.in_blocks:
            x = self._run(block, x)
            earlier.append(x)
        x = self._run(self.mid_block, x)
        for block in self.out_blocks:
            x = self._run(block, x, earlier.pop())
        x = self.decoder_pred(self.norm(x))[:, -(side**2) :]
        p, channels = self.config.patch_size, self.config.in_channels
        x = x.unflatten(1, (side, side)).unflatten(-1, (p, p, channels))
        x = x.permute(0, 5, 1, 3, 2, 4).reshape(len(x), channels, side * p, side * p)
        noise = self.final_layer(x)
        return Transformer2DModelOutput(sample=noise) if return_dict else (noise,)

    def _run(self, block: nn.Module, *inputs: Tensor) -> Any:
        """A block, its activations computed again in the backward pass if that was asked for."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(block, *inputs)
        return block(*inputs)


def _begin(module: nn.Module) -> None:
    """New weights as Bao et al. draw them."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class UViTGenerator(StableDiffusion):
    """A generator whose noise predictor is a U-ViT; all else is Stable Diffusion's.

    Its folder is laid out as a diffusers pipeline: `unet/` (the U-ViT), `text_encoder/`,
    `tokenizer/`, `vae/`, `scheduler/`.
    """

    depth: int | None = None  # that is expected

    @classmethod
    def from_pretrained(
        cls,
        place: str | Path,
        revision: str | None = None,
        *,
        variant: str | None = None,
        dtype: str = "float32",
        **options: Any,
    ) -> Self:
        """Loads a folder or hub id.

        Args:
            dtype: Of what does not train; all of it is float32.

        Raises:
            ValueError: if it holds no U-ViT, or one of another depth.
        """
        at: dict[str, Any] = {"revision": revision}
        config = UViT.load_config(str(place), subfolder="unet", **at)
        cls.expect(config)
        parts: dict[str, Any] = {
            name: whole(kind, place, subfolder=name, variant=variant, dtype=torch.float32, **at)
            for name, kind in PARTS.items()
        }
        tokenizer = CLIPTokenizer.from_pretrained(str(place), subfolder="tokenizer", **at)
        scheduler = DDPMScheduler.from_pretrained(str(place), subfolder="scheduler", **at)
        return cls(assembled(tokenizer=tokenizer, scheduler=scheduler, **parts), **options)

    @classmethod
    def expect(cls, config: Mapping[str, Any]) -> None:
        """Raises CheckpointError if a noise predictor's configuration is of no U-ViT, or of another
        depth."""
        if (kind := config.get("_class_name")) != UViT.__name__:
            raise other_kind(
                f"Its unet is a {kind} and no U-ViT (docs/systems.md tells where to get one)."
            )
        if cls.depth not in (None, config["depth"]):
            raise other_kind(f"Its U-ViT has depth {config['depth']}, not {cls.depth}.")

    def save_pretrained(self, folder: Path) -> None:
        """Writes its folder, without the paths that its parts were loaded from."""
        pipeline = self.pipeline()  # whose scheduler is the one that draws
        for name in (*PARTS, "tokenizer", "scheduler"):
            getattr(pipeline, name).save_pretrained(folder / name)
        forget_places(folder, ("unet", "vae"))
        write_json(folder / "model_index.json", {"_class_name": UViTGenerator.__name__})


class UViTSmall(UViTGenerator):
    """U-ViT-S/2: 13 blocks, 45 M parameters."""

    depth = 12


class UViTSmallDeep(UViTGenerator):
    """U-ViT-S/2 (Deep): 17 blocks, 58 M parameters."""

    depth = 16


PARTS: dict[str, Any] = {"text_encoder": CLIPTextModel, "unet": UViT, "vae": AutoencoderKL}


def assembled(**parts: Any) -> StableDiffusionPipeline:
    """Text encoder, tokenizer, U-ViT, VAE and scheduler as a pipeline."""
    return StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
