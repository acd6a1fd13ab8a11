"""`python -m pscli.photoworld.foundations.uvit`: a tiny U-ViT that draws photoworld from captions.

Text encoder and autoencoder are those of the shipped generator, and stay as they are. It resumes
where it stopped, and is not shipped: `--set model.generator.weights=photoworld-uvit` finds it.
`scores.json` says what it draws of dev scenes.
"""

from __future__ import annotations

from pathlib import Path

import torch

from pscli.components.generator import StableDiffusion
from pscli.components.uvit import UViT, UViTGenerator, assembled
from pscli.console import stderr
from pscli.files import new_folder, write_json
from pscli.photoworld.foundations.build import drawing_scores
from pscli.photoworld.foundations.drawing import encode, teach_drawing
from pscli.photoworld.foundations.pool import load_pool
from pscli.photoworld.members import MADE
from pscli.photoworld.shipped import part

STEPS, SCENES = 15_000, 40_000  # optimiser steps of 16 photos, and how many photos there are
DEV = 320  # photos that are judged


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


def make(
    folder: Path = MADE / "uvit", steps: int = STEPS, scenes: int = SCENES, dev: int = DEV
) -> Path:
    """Trains it below `folder`, or goes on with that, and returns the folder of the generator."""
    pool = load_pool(folder, "train", scenes, seed=0)
    made, work = untrained(), folder / "work"
    latents = encode(made.vae, pool, work)
    teach_drawing(made, latents, pool, work, steps=steps, lr=6e-4, seed=2)
    with new_folder(folder / "generator") as new:
        made.save_pretrained(new)
    drawn = drawing_scores(made, load_pool(folder, "dev", dev, seed=0), dev)
    write_json(folder / "scores.json", {"drawn": drawn, "steps": steps, "scenes": scenes})
    return folder / "generator"


if __name__ == "__main__":
    stderr.print(f"{make()} holds photoworld's U-ViT; scores.json beside it says what it draws.")
