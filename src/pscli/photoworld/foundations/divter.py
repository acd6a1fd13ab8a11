"""`pscli foundations divter`: tiny members for the system `divter`.

A VQ autoencoder, a transformer that writes its codes after a caption, and a GPT-2 that has read
photoworld's dialogues, in this order. Each resumes where it stopped; none is shipped, and
`--system divter` and `train divter` find them. `scores.json` holds what they reach on dev scenes
and dialogues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import VQModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from pscli.components.dalle import Dalle, codes_of, side_of
from pscli.components.generator import StableDiffusion
from pscli.components.llm import LanguageModel
from pscli.components.noise import seeded
from pscli.dialogue.batch import collate
from pscli.dialogue.schema import Dialogue
from pscli.dialogue.sequence import Template, told
from pscli.files import new_folder, write_json
from pscli.photoworld.dataset import Photoworld
from pscli.photoworld.foundations.build import drawing_scores, with_quizzes
from pscli.photoworld.foundations.drawing import things_weigh_more, windows_first, words_for
from pscli.photoworld.foundations.fit import Losses, fit
from pscli.photoworld.foundations.pool import Pool, encoded, load_pool
from pscli.photoworld.foundations.seeing import judge
from pscli.photoworld.foundations.speaking import mean_text_loss, perplexity, texts
from pscli.photoworld.judge import load_extractor
from pscli.photoworld.members import whole
from pscli.photoworld.shipped import part

GUIDANCE = 3.0  # as the presets have it
END = "<|endoftext|>"  # begins and ends all that a GPT-2 reads

ALIKE = (
    "block_out_channels", "layers_per_block", "latent_channels", "down_block_types",
    "up_block_types", "norm_num_groups", "mid_block_add_attention", "sample_size",
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """Scenes and dialogues of the training split, optimiser steps of each member, scenes and
    dialogues of the dev split that score them, and the one seed."""

    seed: int = 0
    scenes: int = 20_000
    dialogues: int = 6000
    vae: int = 6000
    transformer: int = 6000
    llm: int = 3000
    dev: int = 500


# -- a VQ autoencoder ------------------------------------------------------------------------------


def autoencoder(codes: int = 1024) -> VQModel:
    """64×64 RGB ↔ 16×16 codes; begins as the shipped autoencoder, without its noise."""
    shipped = StableDiffusion.from_pretrained(part("generator")).vae
    vae = VQModel(**{name: shipped.config[name] for name in ALIKE}, num_vq_embeddings=codes)
    kept, width = shipped.state_dict(), vae.config.latent_channels
    # Of the posterior only the mean is wanted, and this is where the last two layers make it.
    mean, bias = kept["quant_conv.weight"][:width, :, 0, 0], kept["quant_conv.bias"][:width]
    kept["encoder.conv_out.weight"] = torch.einsum(
        "mz,zcij->mcij", mean, kept["encoder.conv_out.weight"]
    )
    kept["encoder.conv_out.bias"] = mean @ kept["encoder.conv_out.bias"] + bias
    kept["quant_conv.weight"] = torch.eye(width)[:, :, None, None]
    kept["quant_conv.bias"] = torch.zeros(width)
    vae.load_state_dict(kept | {"quantize.embedding.weight": vae.quantize.embedding.weight})
    return vae


@torch.no_grad()
def spread(vae: VQModel, images: Tensor, rounds: int = 10) -> None:
    """Codes as centres of what the encoder makes of photos [B, 3, S, S] (Lloyd 1982).

    Those that are drawn at random around zero would nearly all stay unused.
    """
    found = vae.encode(images).latents.permute(0, 2, 3, 1).flatten(0, 2)
    centres = vae.quantize.embedding.weight
    centres.copy_(found[torch.randperm(len(found), generator=seeded("codes"))[: len(centres)]])
    for _ in range(rounds):
        nearest = torch.cdist(found, centres).argmin(dim=1)
        count = nearest.bincount(minlength=len(centres))[:, None]
        total = torch.zeros_like(centres).index_add_(0, nearest, found)
        centres.copy_(torch.where(count > 0, total / count.clamp(min=1), centres))


def train_autoencoder(
    pool: Pool, work: Path, *, steps: int, batch: int = 8, seed: int = 0
) -> VQModel:
    """As the shipped one, on windows and then on whole photos; codes and latents draw near."""
    vae = autoencoder()
    spread(vae, pool.batch(range(min(64, len(pool.scenes)))))
    weights = things_weigh_more(pool)

    def loss(step: int) -> Losses:
        images, weight = windows_first(pool, weights, step, steps, batch, seed)
        rebuilt = vae(images)
        error = rebuilt.sample - images
        edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
        return {
            "error": (weight * (error.abs() + 2 * error.pow(2))).mean(),
            "edges": 0.5 * edges,
            "codes": rebuilt.commit_loss,
        }

    fit(vae, loss, work, steps=steps, lr=5e-4, ema=0.998, weight_decay=0.0)
    return vae


@torch.no_grad()
def rebuilt_quality(vae: VQModel, pool: Pool) -> dict[str, float]:
    """PSNR in dB of photos that went through codes, how many codes they use, and how often the
    shipped judge sees in them what the scenes hold; `gold_…` is what it sees in the photos."""
    images = pool.batch(range(len(pool.scenes)))
    parts = [vae(some).sample.clamp(-1, 1) for some in images.split(50)]
    rebuilt = torch.cat(parts)
    used = torch.cat([codes_of(vae, some) for some in images.split(50)]).unique()
    pixels = ((rebuilt + 1) * 127.5).round().byte().numpy()
    seen, gold = (
        judge(load_extractor(), replace(pool, images=pixels)),
        judge(load_extractor(), pool),
    )
    return {
        "psnr": float(10 * torch.log10(4 / (rebuilt - images).pow(2).mean())),
        "codes": float(len(used)),
        **seen,
        **{f"gold_{name}": value for name, value in gold.items()},
    }


# -- a transformer that writes codes ---------------------------------------------------------------


def all_codes(vae: VQModel, pool: Pool, work: Path) -> np.ndarray:
    """[N, T] codes of the whole pool, kept in `work`."""
    return encoded(pool, vae, lambda photos: codes_of(vae, photos).short(), work)


def dalle(vae: VQModel, seed: int = 0) -> Dalle:
    """An untrained transformer of 3.0 M parameters; words as the shipped generator cuts them."""
    tokenizer = StableDiffusion.from_pretrained(part("generator")).tokenizer
    side = side_of(vae)
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(tokenizer) + vae.config.num_vq_embeddings, n_embd=192, n_layer=6, n_head=6,
        n_positions=tokenizer.model_max_length + side**2 - 1, attn_pdrop=0.0, embd_pdrop=0.0,
        resid_pdrop=0.0, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return Dalle(vae.eval().requires_grad_(False), GPT2LMHeadModel(config), tokenizer)


def train_transformer(
    vae: VQModel, pool: Pool, work: Path, *, steps: int, batch: int = 8, seed: int = 0
) -> Dalle:
    """Cross-entropy of codes after captions and descriptions, in bf16."""
    made = dalle(vae, seed)
    codes, words = all_codes(vae, pool, work), words_for(pool)

    def loss(step: int) -> Losses:
        rows = pool.pick(seed + 5, step, batch)
        ids, _ = made.tokenize([words[i] for i in rows])
        dropped = made.draw_noise([seeded(seed, "codes", step, i) for i in range(batch)])
        wanted = torch.from_numpy(codes[rows]).long()
        with torch.autocast("cpu", torch.bfloat16):
            return {"nll": made.losses(ids, wanted, dropped).mean()}

    fit(made, loss, work, steps=steps, lr=1e-3, ema=0.998)
    return made


@torch.no_grad()
def likelihood(made: Dalle, pool: Pool) -> dict[str, float]:
    """Nats a code, after a photo's own caption and after another one's."""
    images = pool.batch(range(len(pool.scenes)))
    codes = torch.cat([codes_of(made.vae, some) for some in images.split(50)])
    ids, _ = made.tokenize([scene.caption() for scene in pool.scenes])
    never = torch.zeros(len(ids), dtype=torch.bool)

    def mean(ids: Tensor) -> float:
        parts = zip(ids.split(50), codes.split(50), never.split(50), strict=True)
        return float(torch.cat([made.losses(*some) for some in parts]).mean())

    return {"nll": mean(ids), "nll_other_caption": mean(ids.roll(1, 0))}


# -- a GPT-2 that has read dialogues ---------------------------------------------------------------


def tokenizer_of(dialogues: Sequence[Dialogue], size: int = 2048) -> PreTrainedTokenizerFast:
    """Byte-level BPE as GPT-2's: one token begins and ends, none pads."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts(dialogues), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END)


def language_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> LanguageModel:
    """A GPT-2 of 2.3 M parameters."""
    torch.manual_seed(seed)
    end = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=192, n_layer=4, n_head=6, n_positions=512,
        attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0, bos_token_id=end, eos_token_id=end,
    )  # fmt: skip
    llm = LanguageModel(GPT2LMHeadModel(config), tokenizer)
    llm.learn_marks()
    return llm


def train_llm(
    dialogues: Sequence[Dialogue], work: Path, *, steps: int, batch: int = 8, seed: int = 0
) -> LanguageModel:
    """Replies of dialogues, whose photos are told by their captions, in bf16."""
    llm = language_model(tokenizer_of(dialogues), seed)
    template = Template(llm.tokenizer, told(llm.tokenizer))
    sequences = [packed for dialogue in dialogues for packed in template.pack(dialogue)]
    pad = llm.tokenizer.pad_token_id

    def loss(step: int) -> Losses:
        rows = np.random.default_rng([seed, step, 6]).integers(len(sequences), size=batch)
        with torch.autocast("cpu", torch.bfloat16):
            return {"text": mean_text_loss(llm, collate([sequences[i] for i in rows], pad))}

    fit(llm, loss, work, steps=steps, lr=2e-3)
    return llm


# -- all of them -----------------------------------------------------------------------------------


@whole("divter", Recipe)
def make(work: Path, out: Path, r: Recipe) -> None:
    """Trains them in `work`, or goes on there; `out` holds `generator/`, `llm/` in the end."""
    scores: dict[str, Any] = {}
    pool, dev = (load_pool(work, s, n, r.seed) for s, n in (("train", r.scenes), ("dev", r.dev)))
    vae = train_autoencoder(pool, work / "vae", steps=r.vae, seed=r.seed).eval()
    scores["vae"] = rebuilt_quality(vae, dev)
    made = train_transformer(vae, pool, work / "transformer", steps=r.transformer, seed=r.seed)
    scores["transformer"] = likelihood(made.eval(), dev)
    llm = train_llm(with_quizzes(r.dialogues), work / "llm", steps=r.llm, seed=r.seed)
    scores["llm"] = {"dev_perplexity": perplexity(llm, Photoworld().load("dev", r.dev))}
    for name, member in (("generator", made), ("llm", llm)):
        with new_folder(out / name) as new:
            member.save_pretrained(new)
    drawing: Any = Dalle.from_pretrained(out / "generator", guidance=GUIDANCE)
    scores["drawn"] = drawing_scores(drawing.eval(), dev, min(r.dev, 320))
    write_json(out / "scores.json", {**scores, "recipe": asdict(r)})
