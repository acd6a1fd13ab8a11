"""`pscli foundations unidiffuser`: a tiny UniDiffuser of photoworld.

Autoencoder and text encoder are those of the shipped generator, and stay as they are. CLIP's image
encoder learns beside that text encoder, then the text decoder, and then the noise predictor by the
joint loss of Sun et al. (2023), Eq. 1. Each resumes where it stopped; none is shipped, and
`--generator unidiffuser-v1 --set model.generator.weights=photoworld-unidiffuser` finds them.
`scores.json` says what each of them reaches on dev scenes. All of it takes two to three hours of
one core, by an estimate.

The shipped schedule of noise is not for it: that one ends in pure noise, from which Eq. 1, which
predicts noise, cannot go back to a photo (diffusers' ancestral sampler divides by √ᾱ_T = 0, its
DPM-Solver by 2⁻¹² instead). Ho et al.'s (2020) ends at √ᾱ_T = 0.006: the mean of the noisiest
latents tells the light no better than a guess, so that it is learnt from words all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler, UniDiffuserModel, UniDiffuserTextDecoder
from PIL import Image
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    GPT2Tokenizer,
)

from pscli.components.generator import StableDiffusion
from pscli.components.noise import seeded
from pscli.components.unidiffuser import UniDiffuser
from pscli.files import new_folder, write_json
from pscli.photoworld.foundations.build import drawing_scores
from pscli.photoworld.foundations.drawing import contrast, words_for
from pscli.photoworld.foundations.fit import Losses, fit
from pscli.photoworld.foundations.pool import Pool, encoded, load_pool
from pscli.photoworld.members import whole
from pscli.photoworld.shipped import part

SEEN, TOLD = 64, 32  # widths of a photo's CLIP embedding and of a word; 512 and 64 in version 1
LONGEST = 88  # tokens of the text decoder
END = "<|endoftext|>"  # ends its captions
IGNORED = -100  # by the cross-entropy

# B photos, S side in pixels, X numbers of a photo, N tokens of CLIP, D width of the text encoder


@dataclass(frozen=True)
class Recipe:
    """Scenes of the training split, optimiser steps of image encoder, text decoder and noise
    predictor, scenes of the dev split that score them, and the one seed."""

    seed: int = 0
    scenes: int = 40_000
    eyes: int = 2000
    tongue: int = 2000
    unet: int = 22_000
    dev: int = 320


def untrained(writing: GPT2Tokenizer, seed: int = 0) -> UniDiffuser:
    """2.0 M parameters predict the noise, as many as photoworld's U-ViT has."""
    shipped = StableDiffusion.from_pretrained(part("generator"))
    width, length = shipped.text_encoder.config.hidden_size, shipped.tokenizer.model_max_length
    torch.manual_seed(seed)
    vision = CLIPVisionConfig(
        hidden_size=96, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4,
        image_size=shipped.size, patch_size=8, projection_dim=SEEN,
    )  # fmt: skip
    decoder = UniDiffuserTextDecoder(
        length, width, TOLD, vocab_size=len(writing), n_positions=length + LONGEST, n_embd=128,
        n_layer=2, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    unet = UniDiffuserModel(
        text_dim=TOLD, clip_img_dim=SEEN, num_text_tokens=length, num_attention_heads=4,
        attention_head_dim=32, num_layers=8, sample_size=shipped.unet.config.sample_size,
        in_channels=4, out_channels=4, patch_size=2, activation_fn="gelu",
        use_data_type_embedding=True,
    )  # fmt: skip
    half, size = [0.5] * 3, shipped.size
    parts = {
        "vae": shipped.vae.requires_grad_(False),
        "text_encoder": shipped.text_encoder.requires_grad_(False),
        "clip_tokenizer": shipped.tokenizer,
        "image_encoder": CLIPVisionModelWithProjection(vision),
        "clip_image_processor": CLIPImageProcessor(
            size=size, crop_size=size, image_mean=half, image_std=half
        ),
        "text_decoder": decoder,
        "text_tokenizer": writing,
        "unet": unet,
        "scheduler": DDPMScheduler(beta_schedule="linear", clip_sample=False),  # β from 1e-4 to .02
    }
    return UniDiffuser(parts, guidance=3.0, steps=20)  # as the presets draw


# -- CLIP's image encoder --------------------------------------------------------------------------


class Towers(nn.Module):
    """CLIP's image encoder, and a projection of what the text encoder says to its width."""

    def __init__(self, vision: CLIPVisionModelWithProjection, width: int) -> None:
        super().__init__()
        self.vision = vision
        self.text_projection = nn.Linear(width, vision.config.projection_dim, bias=False)
        self.scale = nn.Parameter(torch.tensor(2.0))


def train_eyes(
    made: UniDiffuser, pool: Pool, dev: Pool, work: Path,
    *, steps: int, batch: int = 64, seed: int = 0,
) -> dict[str, float]:  # fmt: skip
    """The image encoder learns which photos go with which words, as the text encoder has them.

    Returns:
        `own_words`: how often dev photos are nearest to their own words, of 32 photos'.
    """
    torch.manual_seed(seed)
    towers = Towers(made.image_encoder, made.text_encoder.config.hidden_size)

    def both(pool: Pool, rows: Sequence[int], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """[B, E] of words and [B, E] of their photos."""
        said = made.text_encoder(made.tokenize(texts)[0]).pooler_output
        return towers.text_projection(said), towers.vision(pool.batch(rows)).image_embeds

    words = words_for(pool)

    def loss(step: int) -> Losses:
        rows = pool.pick(seed + 1, step, batch)
        said, seen = both(pool, rows, [words[i] for i in rows])
        return {"contrast": contrast(said, seen, towers.scale)}

    fit(towers, loss, work, steps=steps, lr=1e-3)
    found = []
    with torch.no_grad():
        for rows in torch.arange(len(dev.scenes)).split(32):
            said, seen = both(dev, rows.tolist(), [dev.scenes[i].description() for i in rows])
            nearest = (F.normalize(seen, dim=1) @ F.normalize(said, dim=1).T).argmax(1)
            found.append(nearest == torch.arange(len(rows)))
        centre_photos(made.image_encoder, pool.batch(range(min(512, len(pool.scenes)))))
    return {"own_words": float(torch.cat(found).float().mean())}


@torch.no_grad()
def centre_photos(vision: CLIPVisionModelWithProjection, images: Tensor) -> None:
    """Embeddings of photos [B, 3, S, S] get zero mean and unit variance, as noise has.

    The layers around the last one carry that, so that any pipeline of diffusers loads the result.
    """
    pooled = vision.vision_model(images).pooler_output
    vision.vision_model.post_layernorm.bias -= pooled.mean(0)
    vision.visual_projection.weight /= vision.visual_projection(pooled).std(0)[:, None]


# -- the text decoder ------------------------------------------------------------------------------


def tokenizer_of(corpus: Iterable[str], size: int = 512) -> GPT2Tokenizer:
    """GPT-2's kind of tokenizer with a vocabulary of `corpus`."""
    trainer = ByteLevelBPETokenizer()
    trainer.train_from_iterator(corpus, size, special_tokens=[END], show_progress=False)
    model = json.loads(trainer.to_str())["model"]
    merges: Any = [tuple(pair) for pair in model["merges"]]
    return GPT2Tokenizer(vocab=model["vocab"], merges=merges)


def train_tongue(
    made: UniDiffuser, pool: Pool, dev: Pool, work: Path,
    *, steps: int, batch: int = 32, seed: int = 0,
) -> dict[str, float]:  # fmt: skip
    """The decoder writes captions again, after what its first layer leaves of the text encoder's
    output (Bao et al. 2023, as Mokady et al. 2021 do it).

    Returns:
        `word_for_word`: how many captions of up to 100 dev photos come back, by five beams.
    """
    words, decoder = words_for(pool), made.text_decoder
    written = [torch.tensor(i) for i in made.writing([w + END for w in words]).input_ids]

    def loss(step: int) -> Losses:
        rows = pool.pick(seed + 2, step, batch)
        said = made.text_encoder(made.tokenize([words[i] for i in rows])[0])[0]
        ids = pad_sequence([written[i] for i in rows], True, IGNORED)
        logits = decoder(ids.clamp(min=0), said)[0].logits[:, said.shape[1] - 1 : -1]
        return {"nll": F.cross_entropy(logits.transpose(1, 2), ids, ignore_index=IGNORED)}

    fit(decoder, loss, work, steps=steps, lr=1e-3)
    with torch.no_grad():
        said = made.text_encoder(made.tokenize(words[:512])[0])[0]
        centre_words(decoder, said)
        captions = [scene.caption() for scene in dev.scenes[:100]]
        again = written_again(made, made.words(made.tokenize(captions)[0]))
    right = [a == b for a, b in zip(again, captions, strict=True)]
    return {"word_for_word": sum(right) / len(right)}


@torch.no_grad()
def centre_words(decoder: UniDiffuserTextDecoder, said: Tensor) -> None:
    """Words, narrowed, get zero mean and unit variance, as noise has; what is decoded is the same.

    Args:
        said: [B, N, D] of the text encoder.
    """
    inside, outside = decoder.encode_prefix, decoder.decode_prefix
    narrow = inside(said).flatten(0, 1)
    mean, std = narrow.mean(0), narrow.std(0)
    outside.bias += outside.weight @ mean
    outside.weight *= std
    inside.bias.copy_((inside.bias - mean) / std)
    inside.weight /= std[:, None]


def written_again(made: UniDiffuser, words: Tensor) -> list[str]:
    """Captions of words [B, N, Y], as diffusers' pipeline writes them."""
    end = made.writing.eos_token_id
    ids, lengths = [], []
    for one in words:  # together they would have to be of one length
        found, long = made.text_decoder.generate_captions(one[None], end, words.device)
        ids.append(found[0])
        lengths.append(int(long[0]))
    pairs = zip(ids, lengths, strict=True)
    return [made.writing.decode(i[:n], skip_special_tokens=True) for i, n in pairs]


# -- the noise predictor ---------------------------------------------------------------------------


def all_photos(made: UniDiffuser, pool: Pool, work: Path) -> np.ndarray:
    """[N, X] x_0 of the whole pool, kept in `work`."""

    def latents(photos: Tensor) -> Tensor:
        pixels = ((photos + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        return made.latents([Image.fromarray(image) for image in pixels])

    return encoded(pool, made.encoder, latents, work)


def train_unet(
    made: UniDiffuser, pool: Pool, work: Path, *, steps: int, batch: int = 16, seed: int = 0
) -> None:
    """Noise in photos and words together, each by its own level (Eq. 1)."""
    photos, words = all_photos(made, pool, work), words_for(pool)

    def loss(step: int) -> Losses:
        rows = pool.pick(seed + 3, step, batch)
        ids, _ = made.tokenize([words[i] for i in rows])
        noise = made.draw_noise([seeded(seed, "joint", step, i) for i in range(batch)])
        return {"joint": made.losses(ids, torch.from_numpy(photos[rows]), noise).mean()}

    fit(made.unet, loss, work, steps=steps, lr=6e-4, warmup=500, ema=0.999)


# -- all of them -----------------------------------------------------------------------------------


@whole("unidiffuser", Recipe)
def make(work: Path, out: Path, r: Recipe) -> None:
    """Trains it in `work`, or goes on there; `out` holds `generator/` in the end."""
    scores: dict[str, Any] = {}
    pool, dev = (load_pool(work, s, n, r.seed) for s, n in (("train", r.scenes), ("dev", r.dev)))
    made = untrained(tokenizer_of(words_for(pool)), r.seed)
    scores["eyes"] = train_eyes(made, pool, dev, work / "eyes", steps=r.eyes, seed=r.seed)
    made.image_encoder.requires_grad_(False)
    scores["tongue"] = train_tongue(made, pool, dev, work / "tongue", steps=r.tongue, seed=r.seed)
    made.text_decoder.requires_grad_(False)
    train_unet(made, pool, work / "unet", steps=r.unet, seed=r.seed)
    with new_folder(out / "generator") as new:
        made.save_pretrained(new)
    scores["drawn"] = drawing_scores(made, dev, r.dev)
    write_json(out / "scores.json", {**scores, "recipe": asdict(r)})
