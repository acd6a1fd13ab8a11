"""`pscli foundations uvit`: a tiny U-ViT that draws photoworld from captions.

Text encoder and autoencoder are those of the shipped generator, and stay as they are. It resumes
where it stopped, and is not shipped: `--set model.generator.weights=photoworld-uvit` finds it.
`scores.json` says what it draws of dev scenes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from pscli.components.generator import StableDiffusion
from pscli.components.uvit import UViT, UViTGenerator, assembled
from pscli.files import new_folder, write_json
from pscli.photoworld.foundations.build import drawing_scores
from pscli.photoworld.foundations.drawing import encode, teach_drawing
from pscli.photoworld.foundations.pool import load_pool
from pscli.photoworld.members import whole
from pscli.photoworld.shipped import part


@dataclass(frozen=True)
class Recipe:
    """Scenes of the training split, optimiser steps of 16 of them, scenes of the dev split that
    score it, and the seed of the scenes."""

    seed: int = 0
    scenes: int = 40_000
    unet: int = 15_000
    dev: int = 320


def untrained(seed: int = 2) -> UViTGenerator:
    """1.9 M parameters between the shipped text encoder and autoencoder."""
    shipped = StableDiffusion.from_pretrained(part("generator"))
    torch.manual_seed(seed)
    unet = UViT(
        sample_size=shipped.unet.config.sample_size, width=128, depth=8, heads=4,
        text_width=shipped.text_encoder.config.hidden_size,
        text_tokens=shipped.tokenizer.model_max_length,
    )  # fmt: skip
    pipeline = assembled(
        vae=shipped.vae, text_encoder=shipped.text_encoder, tokenizer=shipped.tokenizer, unet=unet,
        scheduler=shipped.scheduler,
    )  # fmt: skip
    # All noise levels weigh alike. The shipped schedule ends in pure noise, so that nothing but the
    # words can tell the light there, and just these levels count next to nothing by min-SNR.
    made = UViTGenerator(pipeline, snr_gamma=None, guidance=3.0)
    made.text_encoder.requires_grad_(False)
    return made


@whole("uvit", Recipe)
def make(work: Path, out: Path, r: Recipe) -> None:
    """Trains it in `work`, or goes on there; `out` holds `generator/` in the end."""
    pool, dev = (load_pool(work, s, n, r.seed) for s, n in (("train", r.scenes), ("dev", r.dev)))
    made = untrained()
    latents = encode(made.vae, pool, work)
    teach_drawing(made, latents, pool, work, steps=r.unet, lr=6e-4, seed=2)
    with new_folder(out / "generator") as new:
        made.save_pretrained(new)
    scores = {"drawn": drawing_scores(made, dev, r.dev), "recipe": asdict(r)}
    write_json(out / "scores.json", scores)
