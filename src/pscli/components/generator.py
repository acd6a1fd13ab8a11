"""Image generator: CLIP text encoder, U-Net and VAE of a latent diffusion model.

Guo et al. (2024), §2.4.3; "Eq. n" refers to it. Everything but the seam for the bridge is the
library's own: a diffusers Stable Diffusion pipeline folder goes in and comes out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.utils.logging import disable_progress_bar
from PIL.Image import Image
from torch import Tensor, nn
from transformers import CLIPTextModel, PreTrainedModel

from pscli.components.adapters import adapt_attention, adapted, save_attention
from pscli.components.device import spare
from pscli.components.vision import scaled
from pscli.components.weights import DTYPES, forget_places, whole
from pscli.errors import ConfigError

# B photos, N CLIP tokens, D text width, C×H×W latents


DECODING = 3_000  # bytes that decoding takes for a pixel of a photo, in float32
DRAWING = 2 << 30  # bytes that photos may take which are drawn at once, on a CPU


@dataclass(frozen=True)
class DiffusionNoise:
    """What the diffusion of B photos draws at random.

    Args:
        noise: [B, C, H, W] standard normal.
        timesteps: [B] uniform over the training steps.
        dropped: [B] whether the caption is dropped, for classifier-free guidance.
    """

    noise: Tensor
    timesteps: Tensor
    dropped: Tensor


class Generator(Protocol):
    """What systems need of whatever draws for them: a module with these.

    Args:
        tokenizer: Cuts captions into the text encoder's tokens.
    """

    tokenizer: Any

    @property
    def encoder(self) -> nn.Module:
        """The part that makes latents of photos; they are kept where it does not train."""

    @property
    def embeddings(self) -> Tensor:
        """[W, D] token embeddings of the text encoder, the seam for the bridge."""

    def tokenize(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """[B, N] token ids, and where they are words."""

    def latents(self, photos: Sequence[Image]) -> Tensor:
        """[B, …] gold photos as `losses` wants them."""

    def draw_noise(self, generators: Sequence[torch.Generator]) -> Any:
        """The noise of one training step, one seeded generator a photo."""

    def losses(
        self, ids: Tensor, latents: Tensor, noise: Any, residual: Tensor | None = None
    ) -> Tensor:
        """[B] L^v of each photo (Eq. 12); `residual` [B, N, D] is added to the embeddings of
        the ids (Eq. 11)."""

    def draw(self, captions: Sequence[str], generators: Sequence[torch.Generator]) -> list[Image]:
        """One photo a caption, seeded by one generator each."""

    @classmethod
    def from_pretrained(cls, place: str, revision: str | None = None, **options: Any) -> Self:
        """Loads it. Args: options: `guidance`, `steps` and `snr_gamma`, and what is set of
        `variant`, `dtype` and `lora`."""

    def save_pretrained(self, folder: Path) -> None: ...


class StableDiffusion(nn.Module):
    """Draws photos from captions, and scores captions by how well they denoise a photo.

    Args:
        pipeline: A Stable Diffusion pipeline; its parts become submodules.
        snr_gamma: Clip of the min-SNR loss weight (Hang et al. 2023); None weighs all steps alike.
        guidance: Scale of classifier-free guidance when drawing.
        steps: Denoising steps when drawing (DPM-Solver++).
    """

    def __init__(
        self,
        pipeline: StableDiffusionPipeline,
        *,
        snr_gamma: float | None = None,
        guidance: float = 7.5,
        steps: int = 20,
        caption_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.tokenizer = pipeline.tokenizer
        self.text_encoder = pipeline.text_encoder
        self.unet = pipeline.unet
        self.vae = pipeline.vae
        self.scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
        predicted = self.scheduler.config.prediction_type
        if predicted not in ("epsilon", "v_prediction"):
            raise ConfigError(
                f"The generator predicts '{predicted}'.", "Expected 'epsilon' or 'v_prediction'."
            )
        self.velocity = predicted == "v_prediction"
        self.snr_gamma, self.guidance, self.steps = snr_gamma, guidance, steps
        self.caption_dropout = caption_dropout

    @classmethod
    def from_pretrained(
        cls,
        place: str | Path,
        revision: str | None = None,
        *,
        variant: str | None = None,
        dtype: str = "float32",
        lora: int | None = None,
        adapters: Path | None = None,
        **options: Any,
    ) -> Self:
        """Loads a diffusers pipeline folder or hub id.

        Args:
            dtype: Of all its weights, where only adapters train; otherwise they are float32.
            lora: Rank of adapters of the U-Net's attention.
            adapters: Folder of adapters that were trained.
        """
        disable_progress_bar()  # one for each part would bury ours
        kept = DTYPES[dtype] if lora else torch.float32
        at: dict[str, Any] = {"revision": revision, "variant": variant, "dtype": kept}
        kinds = {"text_encoder": CLIPTextModel, "unet": UNet2DConditionModel, "vae": AutoencoderKL}
        parts = {name: whole(kind, place, subfolder=name, **at) for name, kind in kinds.items()}
        pipeline = StableDiffusionPipeline.from_pretrained(
            str(place), revision=revision, safety_checker=None, requires_safety_checker=False,
            variant=variant, use_safetensors=True, **parts,
        )  # fmt: skip
        generator = cls(pipeline, **options)
        if lora:
            adapt_attention(generator.unet, lora, adapters)
        return generator

    def save_pretrained(self, folder: Path) -> None:
        """Writes a diffusers pipeline folder, without the paths that its parts were loaded from;
        or the adapters alone, in diffusers' form, where they train."""
        if adapted(self.unet):
            save_attention(self.unet, folder)
            return
        self.pipeline().save_pretrained(folder)
        forget_places(folder, ("unet", "vae"))

    @property
    def encoder(self) -> nn.Module:
        vae: nn.Module = self.vae
        return vae

    @property
    def embeddings(self) -> Tensor:
        """[W, D] token embeddings of the text encoder."""
        weight: Tensor = self.text_encoder.get_input_embeddings().weight
        return weight

    @property
    def size(self) -> int:
        """Side of a photo in pixels."""
        return int(
            self.unet.config.sample_size * 2 ** (len(self.vae.config.block_out_channels) - 1)
        )

    @property
    def reads(self) -> tuple[int, int] | None:
        """N and W of what the noise predictor reads of a caption; None if `denoising` is not for
        it."""
        return int(self.tokenizer.model_max_length), int(self.text_encoder.config.hidden_size)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.unet.device
        return device

    # -- training ----------------------------------------------------------------------------

    def tokenize(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """CLIP ids, padded and cut to the encoder's length (77 for Stable Diffusion), and where
        they are words: not at start, end and padding. Both [B, N].

        Padding is told by place, not by token: Stable Diffusion 2 pads with "!".
        """
        tokens = self.tokenizer(
            list(captions), padding="max_length", truncation=True,
            max_length=self.tokenizer.model_max_length, return_tensors="pt",
        ).to(self.device)  # fmt: skip
        ids = tokens.input_ids
        marks = (ids == self.tokenizer.bos_token_id) | (ids == self.tokenizer.eos_token_id)
        return ids, tokens.attention_mask.bool() & ~marks

    @torch.no_grad()
    def latents(self, photos: Sequence[Image]) -> Tensor:
        """[B, C, H, W] scaled VAE latents (the posterior's mode) of photos."""
        pixels = scaled(photos, self.size)
        mode: Tensor = self.vae.encode(pixels.to(self.device, self.vae.dtype)).latent_dist.mode()
        return mode.float() * float(self.vae.config.scaling_factor)

    def draw_noise(self, generators: Sequence[torch.Generator]) -> DiffusionNoise:
        """The noise of one training step, one seeded generator a photo."""
        side, channels = self.unet.config.sample_size, self.unet.config.in_channels
        steps = self.scheduler.config.num_train_timesteps
        noise = [torch.randn(channels, side, side, generator=g) for g in generators]
        times = [torch.randint(steps, (), generator=g) for g in generators]
        dropped = [torch.rand((), generator=g) < self.caption_dropout for g in generators]
        return DiffusionNoise(*(torch.stack(x).to(self.device) for x in (noise, times, dropped)))

    def losses(
        self, ids: Tensor, latents: Tensor, noise: DiffusionNoise,
        residual: Tensor | None = None, weights: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """[B] squared error of the predicted noise (or velocity), a mean per photo: L^v (Eq. 12).

        Args:
            ids: [B, N] CLIP ids of the captions.
            latents: [B, C, H, W] of the gold photos.
            residual: [B, N, D] from the bridge, added to the input embeddings; zero in value, it
                carries the gradient of R^SD (Eq. 11).
            weights: [B, 1, H, W] of the places of a photo; all alike if None.
        """
        # Deviation, Eq. 12: the paper writes ||I_hat - I|| on images; Stable Diffusion is trained
        # by noise (or velocity) prediction on latents, so L^v follows scheduler.prediction_type.
        empty, _ = self.tokenize([""])
        ids = torch.where(noise.dropped[:, None], empty, ids)
        if residual is not None:
            residual = residual * (~noise.dropped)[:, None, None]
        with added_to_token_embedding(self.text_encoder, residual):
            text = self.text_encoder(ids)[0]
        return self.denoising(text, latents, noise, weights)

    def encode(self, captions: Sequence[str]) -> Tensor:
        """[B, N, W] what the text encoder makes of captions."""
        found: Tensor = self.text_encoder(self.tokenize(captions)[0])[0]
        return found

    def denoising(
        self, text: Tensor, latents: Tensor, noise: DiffusionNoise, weights: Tensor | None = None
    ) -> Tensor:
        """[B] as `losses`, given the text encoder's output, or what stands for it.

        Args:
            text: [B, N, W]; none of it is dropped here.
        """
        noisy = self.scheduler.add_noise(latents, noise.noise, noise.timesteps).to(text.dtype)
        predicted = self.unet(noisy, noise.timesteps, text).sample.float()
        if self.velocity:
            wanted = self.scheduler.get_velocity(latents, noise.noise, noise.timesteps)
        else:
            wanted = noise.noise
        error: Tensor = (predicted - wanted).pow(2)
        if weights is not None:
            error = weights * error
        return self._snr_weights(noise.timesteps) * error.mean((1, 2, 3))

    def _snr_weights(self, timesteps: Tensor) -> Tensor:
        """[B] min-SNR weights (Hang et al. 2023, §3.4), or ones."""
        if self.snr_gamma is None:
            return torch.ones_like(timesteps, dtype=torch.float32)
        alphas = self.scheduler.alphas_cumprod.to(timesteps.device)[timesteps]
        snr: Tensor = alphas / (1 - alphas)
        return snr.clamp(max=self.snr_gamma) / (snr + 1 if self.velocity else snr)

    # -- drawing -----------------------------------------------------------------------------

    def pipeline(self) -> StableDiffusionPipeline:
        """The parts as a diffusers pipeline, for drawing and saving."""
        pipeline = StableDiffusionPipeline(
            vae=self.vae, text_encoder=self.text_encoder, tokenizer=self.tokenizer, unet=self.unet,
            scheduler=DPMSolverMultistepScheduler.from_config(self.scheduler.config),
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    @torch.no_grad()
    def draw(
        self, captions: Sequence[str] | Tensor, generators: Sequence[torch.Generator]
    ) -> list[Image]:
        """One photo a caption, as many together as fit; seeded by one generator a photo.

        Args:
            captions: B of them, or [B, N, W] in place of the text encoder's output.
        """
        pipeline, drawn = self.pipeline(), []
        for start in range(0, len(captions), self.together):
            some = slice(start, start + self.together)
            words = captions[some]
            told = {"prompt_embeds": words} if isinstance(words, Tensor) else {"prompt": [*words]}
            drawn += pipeline(
                **told, num_inference_steps=self.steps,
                guidance_scale=self.guidance, generator=list(generators[some]),
            ).images  # fmt: skip
        return drawn

    @property
    def together(self) -> int:
        """How many photos are drawn at once, by the memory that their decoding takes: 2 GiB, or
        an eighth of a GPU's."""
        return max(1, int(spare(self.device, DRAWING) // (DECODING * self.size**2)))


@contextlib.contextmanager
def added_to_token_embedding(
    text_encoder: PreTrainedModel, residual: Tensor | None
) -> Iterator[None]:
    """Adds `residual` [B, N, D] to the output of the token embedding while the context is open.

    CLIP's text model takes ids only; its token embedding is the smallest seam for the bridge.
    """
    if residual is None:
        yield
        return
    embedding = text_encoder.get_input_embeddings()
    hook = embedding.register_forward_hook(
        lambda module, args, output: output + residual.to(output.dtype)
    )
    try:
        yield
    finally:
        hook.remove()
