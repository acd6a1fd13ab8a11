"""The generator's foundation: an autoencoder, then text encoder and U-Net on its latents.

What decides the quality, found by trial: a good autoencoder, velocity prediction, latents of unit
variance per channel, an average of the weights, and min-SNR's weights at first; `refine_generator`
weighs all noise levels alike, which the light needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Blip2VisionModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pscli.components.generator import StableDiffusion
from pscli.components.noise import seeded
from pscli.photoworld.foundations.fit import Losses, fit
from pscli.photoworld.foundations.pool import Pool, encoded
from pscli.photoworld.scene import Scene


def autoencoder() -> AutoencoderKL:
    """64×64 RGB ↔ 4×16×16 latents; 0.6 M parameters.

    A factor of four, where Stable Diffusion has eight: at 64 px an 8×8 patch holds whole parts of
    a thing, and with a factor of eight the things came back as blobs (21 dB).
    """
    return AutoencoderKL(
        block_out_channels=(16, 32, 64), layers_per_block=1, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4, mid_block_add_attention=False, sample_size=64, scaling_factor=1.0,
    )  # fmt: skip


def windows_first(
    pool: Pool, weights: Callable[[Sequence[int]], Tensor], step: int, steps: int, batch: int,
    seed: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Photos [B, 3, S, S] of a step and the weights of their pixels [B, 1, S, S]: windows around
    things in three quarters of the steps, then half as many whole photos."""
    windows = step < 0.75 * steps
    rows = pool.pick(seed, step, batch if windows else batch // 2)
    images = torch.cat([pool.batch(rows), weights(rows)], dim=1)
    if windows:
        images = around_things(images, [pool.scenes[i] for i in rows], seed, step)
    return images[:, :3], images[:, 3:]


def train_autoencoder(
    pool: Pool, work: Path, *, steps: int, batch: int = 8, seed: int = 0
) -> AutoencoderKL:
    """Mean absolute and squared error, sharp edges, and a breath of KL.

    The first three quarters see 32×32 windows, most of them around a thing: a quarter of the work,
    and nearly all of the detail. The last quarter sees half as many whole photos.
    """
    torch.manual_seed(seed)
    vae = autoencoder().to(memory_format=torch.channels_last)
    weights = things_weigh_more(pool)

    def loss(step: int) -> Losses:
        images, weight = windows_first(pool, weights, step, steps, batch, seed)
        images = images.to(memory_format=torch.channels_last)
        posterior = vae.encode(images).latent_dist
        rebuilt = vae.decode(posterior.sample(seeded(seed, "vae", step))).sample
        error = rebuilt - images
        edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
        return {
            "error": (weight * (error.abs() + 2 * error.pow(2))).mean(),
            "edges": 0.5 * edges,
            "kl": 1e-6 * posterior.kl().mean(),
        }

    fit(vae, loss, work, steps=steps, lr=2e-3, ema=0.998, weight_decay=0.0)
    return vae


def things_weigh_more(pool: Pool, weight: float = 2.0) -> Callable[[Sequence[int]], Tensor]:
    """For rows of the pool: [B, 1, 64, 64] weights, 1 for the background and more for things."""

    def weights(rows: Sequence[int]) -> Tensor:
        maps = torch.ones(len(rows), 1, 64, 64)
        for number, row in enumerate(rows):
            for _, box in pool.scenes[row].boxes():
                x0, y0, x1, y1 = (round(64 * v) for v in box)
                maps[number, :, y0:y1, x0:x1] = weight
        return maps

    return weights


def around_things(images: Tensor, scenes: Sequence[Scene], seed: int, step: int) -> Tensor:
    """[B, C, 32, 32] windows: three of four around a thing of the scene, the others anywhere."""
    rng = np.random.default_rng([seed, step, 1])
    windows = []
    for image, scene in zip(images, scenes, strict=True):
        x, y = rng.integers(0, 33, size=2)
        if rng.random() < 0.75:
            boxes = scene.boxes()
            x0, y0, x1, y1 = boxes[rng.integers(len(boxes))][1]
            near = 64 * np.array([x0 + x1, y0 + y1]) / 2 - 16 + rng.integers(-6, 7, size=2)
            x, y = near.round().astype(int).clip(0, 32)
        windows.append(image[:, y : y + 32, x : x + 32])
    return torch.stack(windows)


def encode(vae: AutoencoderKL, pool: Pool, work: Path) -> np.ndarray:
    """[N, 4, 16, 16] latents of the whole pool, kept in `work`."""
    return encoded(pool, vae, lambda photos: vae.encode(photos).latent_dist.mode(), work)


@torch.no_grad()
def normalise(vae: AutoencoderKL, latents: np.ndarray) -> np.ndarray:
    """Latents of zero mean and unit variance per channel, with the scale folded into the VAE.

    Stable Diffusion knows one scaling factor for all channels; the 1×1 convolutions around the
    latents can carry one per channel, so that any diffusers pipeline loads the result as it is.
    """
    mean = torch.from_numpy(latents.mean((0, 2, 3)))
    std = torch.from_numpy(latents.std((0, 2, 3)))
    channels = len(mean)
    quant, post = vae.quant_conv, vae.post_quant_conv
    post.bias += post.weight[:, :, 0, 0] @ mean  # decode(z·std + mean)
    post.weight *= std[None, :, None, None]
    quant.weight[:channels] /= std[:, None, None, None]
    quant.bias[:channels] = (quant.bias[:channels] - mean) / std
    quant.bias[channels:] -= 2 * std.log()  # log-variance
    normal: np.ndarray = (latents - mean.numpy()[:, None, None]) / std.numpy()[:, None, None]
    return normal


def words_for(pool: Pool) -> list[str]:
    """Captions of half of the photos, number and light with them or full descriptions of others."""
    ways = (Scene.caption, Scene.description, Scene.caption, lambda s: s.caption(like=True))
    return [ways[i % 4](scene) for i, scene in enumerate(pool.scenes)]


def text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained CLIP text encoder of 0.4 M parameters."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=128, intermediate_size=384, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip


class Contrast(nn.Module):
    """CLIP's two towers: the text encoder, and what the ViT sees, projected to its width."""

    def __init__(self, text: CLIPTextModel, features: int) -> None:
        super().__init__()
        width = text.config.hidden_size
        self.text = text
        self.text_projection = nn.Linear(width, width, bias=False)
        self.image_projection = nn.Linear(features, width, bias=False)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, ids: Tensor, features: Tensor) -> Tensor:
        """Loss of B captions [B, N] and what is seen in their photos [B, F]."""
        words = self.text_projection(self.text(ids).pooler_output)
        return contrast(words, self.image_projection(features), self.scale)


def contrast(words: Tensor, photos: Tensor, scale: Tensor) -> Tensor:
    """InfoNCE loss of B captions [B, E] and photos [B, E] (Radford et al. 2021)."""
    words, photos = F.normalize(words, dim=-1), F.normalize(photos, dim=-1)
    logits = scale.exp() * words @ photos.T
    pairs = torch.arange(len(words))
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2


def train_text_encoder(
    vision: Blip2VisionModel, tokenizer: CLIPTokenizer, pool: Pool, work: Path,
    *, steps: int, batch: int = 64, seed: int = 0,
) -> CLIPTextModel:  # fmt: skip
    """The text encoder learns which words go with which photos before it guides the drawing.

    Words that its BPE cuts into pieces mean nothing at first; by the drawing loss alone they were
    slow to become shapes.
    """
    torch.manual_seed(seed)
    towers = Contrast(text_encoder(tokenizer), 2 * vision.config.hidden_size)
    ids = tokenizer(words_for(pool), padding="max_length", return_tensors="pt").input_ids

    def loss(step: int) -> Losses:
        rows = pool.pick(seed + 4, step, batch)
        with torch.no_grad():
            seen = vision(pool.batch(rows)).last_hidden_state
        features = torch.cat([seen[:, 0], seen[:, 1:].mean(1)], dim=1)
        return {"contrast": towers(ids[rows], features)}

    fit(towers, loss, work, steps=steps, lr=1e-3)
    return towers.text


def pipeline(
    vae: AutoencoderKL, text: CLIPTextModel, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    """An untrained U-Net between a text encoder and an autoencoder."""
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=vae.config.latent_channels,
        out_channels=vae.config.latent_channels, layers_per_block=1,
        block_out_channels=(40, 64, 96), cross_attention_dim=128, norm_num_groups=8,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    scheduler = DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
        prediction_type="v_prediction", steps_offset=1, clip_sample=False,
        rescale_betas_zero_snr=True,  # Lin et al. 2024: else the noise at the start tells the light
    )  # fmt: skip
    return StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def train_generator(
    vae: AutoencoderKL, text: CLIPTextModel, tokenizer: CLIPTokenizer, pool: Pool, work: Path,
    *, steps: int, seed: int = 0,
) -> StableDiffusion:  # fmt: skip
    """Text encoder and U-Net together, on captions and descriptions."""
    torch.manual_seed(seed)
    latents = normalise(vae, encode(vae, pool, work))
    generator = StableDiffusion(pipeline(vae, text, tokenizer), snr_gamma=5.0, guidance=3.0)
    return teach_drawing(generator, latents, pool, work, steps=steps, lr=1.2e-3, seed=seed)


def refine_generator(
    folder: Path, pool: Pool, work: Path, *, steps: int, lr: float = 4e-4, seed: int = 1
) -> StableDiffusion:
    """A further round for the generator in `folder`, at a lower rate, on other noise.

    All noise levels weigh alike: by min-SNR's weights next to nothing is learnt at the highest,
    where the light of a photo is decided.
    """
    generator = StableDiffusion.from_pretrained(folder, guidance=3.0)
    latents = encode(generator.vae, pool, work)
    return teach_drawing(generator, latents, pool, work, steps=steps, lr=lr, seed=seed)


def teach_drawing(
    generator: StableDiffusion, latents: np.ndarray, pool: Pool, work: Path,
    *, steps: int, lr: float, seed: int, batch: int = 16,
) -> StableDiffusion:  # fmt: skip
    """Velocity prediction on latents [N, 4, 16, 16] of the pool; things weigh double."""
    generator.vae.requires_grad_(False)
    generator.unet.to(memory_format=torch.channels_last)
    words, weights = words_for(pool), things_weigh_more(pool)

    def loss(step: int) -> Losses:
        rows = pool.pick(seed, step, batch)
        places = F.avg_pool2d(weights(rows), 64 // latents.shape[-1])
        noise = generator.draw_noise([seeded(seed, step, i) for i in range(batch)])
        ids, _ = generator.tokenize([words[i] for i in rows])
        target = torch.from_numpy(latents[rows])
        return {"v": generator.losses(ids, target, noise, weights=places).mean()}

    fit(generator, loss, work, steps=steps, lr=lr, ema=0.999)
    return generator


@torch.no_grad()
def psnr(vae: AutoencoderKL, images: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of reconstructed images in [-1, 1]."""
    rebuilt = vae.decode(vae.encode(images).latent_dist.mode()).sample.clamp(-1, 1)
    return float(10 * torch.log10(4 / (rebuilt - images).pow(2).mean()))
