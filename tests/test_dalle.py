"""The generator of DALL·E's kind: likelihood and sampling against literal forms, its folder."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import VQModel
from PIL import Image
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from conftest import CLIP_LENGTH
from pscli.components import dalle
from pscli.components.dalle import Dalle, chosen
from pscli.components.load import Load
from pscli.components.noise import gumbel, seeded
from pscli.components.vision import scaled
from pscli.config import Config, ModelConfig, PartConfig, SequenceConfig, TrainConfig
from pscli.dialogue.schema import Dialogue
from pscli.errors import CheckpointError, ConfigError
from pscli.registry import find
from pscli.runs import Run
from pscli.systems.agent import build
from pscli.systems.pipeline import Pipeline
from pscli.training.loop import train
from test_training import curve, killed, scores

CODES, SIDE = 12, 4
PLACES = CLIP_LENGTH + SIDE**2 - 1


def generator(
    clip_tokenizer: Any, *, positions: int = PLACES, rows: int = 0, dropout: float = 0.0,
    **options: Any,
) -> Dalle:  # fmt: skip
    """Photos of 16 px are 4×4 of 12 codes. Args: rows: Of the vocabulary, more than needed."""
    torch.manual_seed(7)
    vae = VQModel(
        block_out_channels=(8, 8, 8), latent_channels=4, norm_num_groups=4, sample_size=16,
        num_vq_embeddings=CODES, mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
    )  # fmt: skip
    with torch.no_grad():  # codes apart from one another, as photos are
        found = vae.encode(scaled(photos(3), 16)).latents.permute(0, 2, 3, 1).flatten(0, 2)
        vae.quantize.embedding.weight.copy_(found[torch.randperm(len(found))[:CODES]])
    config = GPT2Config(
        vocab_size=len(clip_tokenizer) + CODES + rows, n_embd=16, n_layer=2, n_head=2,
        n_positions=positions, initializer_range=0.5, bos_token_id=0, eos_token_id=1,
        attn_pdrop=dropout, embd_pdrop=dropout, resid_pdrop=dropout,
    )  # fmt: skip
    made = Dalle(vae, GPT2LMHeadModel(config), clip_tokenizer, **options)
    return made.eval()


def photos(count: int) -> list[Image.Image]:
    rng = random.Random(3)
    made = []
    for _ in range(count):
        image = Image.frombytes("RGB", (16, 16), rng.randbytes(16 * 16 * 3))
        image.paste(rng.choice(["red", "green", "blue"]), (0, 0, rng.randint(4, 16), 9))
        made.append(image)
    return made


def next_code(made: Dalle, ids: Tensor, codes: list[int]) -> Tensor:
    """[K] log p of the code that follows, by the library's own head over the whole sequence."""
    words = made.vocabulary
    row = torch.tensor([[*ids.tolist(), *(words + code for code in codes)]])
    return made.transformer(row).logits[0, -1, words:].log_softmax(-1)


@torch.no_grad()
def test_the_loss_is_the_mean_negative_log_likelihood(clip_tokenizer: Any) -> None:
    """Oracle: code by code, each sequence read anew; the second photo without its caption."""
    made = generator(clip_tokenizer)
    ids, _ = made.tokenize(["a red dog", "a boat", "a b c d e f a b c d e f"])
    empty = made.tokenize([""])[0][0]
    dropped = torch.tensor([False, True, False])
    codes = made.latents(photos(3))
    found = made.losses(ids, codes, dropped)
    for row in range(3):
        said, gold = empty if dropped[row] else ids[row], codes[row].tolist()
        nats = [-next_code(made, said, gold[:t])[code] for t, code in enumerate(gold)]
        assert len(nats) == SIDE**2
        torch.testing.assert_close(found[row], torch.stack(nats).mean(), rtol=1e-5, atol=1e-5)
    assert found.unique().numel() == 3


@torch.no_grad()
@pytest.mark.parametrize(("guidance", "temperature"), [(1.0, 1.0), (3.0, 0.7)])
def test_a_photo_is_drawn_code_by_code(
    clip_tokenizer: Any, guidance: float, temperature: float
) -> None:
    """Oracle: each photo alone, without a cache, its likeliest half by sorting."""
    made = generator(clip_tokenizer, guidance=guidance, temperature=temperature)
    ids, _ = made.tokenize(["a red dog", "a boat", "the kitchen at night"])
    together = made.sample(ids, [seeded(row) for row in range(3)])
    empty = made.tokenize([""])[0][0]
    for row in range(3):
        codes: list[int] = []
        noise = seeded(row)
        for _ in range(SIDE**2):
            told, free = next_code(made, ids[row], codes), next_code(made, empty, codes)
            logits = [float(f + guidance * (t - f)) for t, f in zip(told, free, strict=True)]
            likeliest = sorted(range(CODES), key=lambda code: -logits[code])[: CODES // 2]
            g = gumbel((CODES,), noise)
            codes.append(
                max(likeliest, key=lambda code: logits[code] / temperature + float(g[code]))
            )
        assert together[row].tolist() == codes
    assert together.unique(dim=0).shape[0] == 3
    alone = made.sample(ids[:1], [seeded(0)])
    assert torch.equal(alone, together[:1])


def test_codes_are_drawn_as_often_as_they_are_likely() -> None:
    """Oracle: softmax over the likeliest half, 20,000 draws."""
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0, 1.5])
    draws = chosen(logits.expand(20_000, -1), gumbel((20_000, 5), seeded(0)))
    wanted = torch.tensor([-torch.inf, -torch.inf, 2.0, -torch.inf, 1.5]).softmax(0)
    torch.testing.assert_close(draws.bincount(minlength=5) / 20_000, wanted, atol=0.015, rtol=0)


@torch.no_grad()
def test_codes_are_diffusers_own(clip_tokenizer: Any) -> None:
    """Oracles: the nearest row, one by one; and the autoencoder from photos to photos."""
    made, shown = generator(clip_tokenizer), photos(3)
    codes = made.latents(shown)
    pixels = scaled(shown, 16)
    latents = made.vae.encode(pixels).latents
    for n in range(3):
        for place in range(SIDE**2):
            one = latents[n, :, place // SIDE, place % SIDE]
            far = [float((one - row).pow(2).sum()) for row in made.vae.quantize.embedding.weight]
            assert far[int(codes[n, place])] == pytest.approx(min(far), rel=1e-5)
    wanted = (made.vae(pixels).sample / 2 + 0.5).clamp(0, 1).mul(255).round().byte()
    for image, theirs in zip(made.decode(codes), wanted, strict=True):
        assert image.size == (16, 16)
        ours = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(16, 16, 3)
        assert (ours.int() - theirs.permute(1, 2, 0).int()).abs().max() <= 1  # half a grey level
    assert codes.unique().numel() > 2


def test_the_bridge_reaches_the_words(clip_tokenizer: Any) -> None:
    """Oracle: the loss with another embedding in the place of a word's."""
    made = generator(clip_tokenizer)
    ids, _ = made.tokenize(["a dog", "a boat"])
    codes, never = made.latents(photos(2)), torch.zeros(2, dtype=torch.bool)
    residual = torch.zeros(2, CLIP_LENGTH, 16, requires_grad=True)
    plain = made.losses(ids, codes, never)
    carried = made.losses(ids, codes, torch.tensor([False, True]), residual)
    torch.testing.assert_close(carried[0], plain[0])
    carried.sum().backward()
    assert residual.grad is not None
    assert residual.grad[0].abs().max() > 0 and residual.grad[1].abs().max() == 0
    rows = made.embeddings
    assert rows.shape == (made.vocabulary, 16)
    other = ids.clone()
    other[0, 1] = 5
    moved = torch.zeros(2, CLIP_LENGTH, 16)
    moved[0, 1] = rows[5] - rows[ids[0, 1]]
    torch.testing.assert_close(
        made.losses(ids, codes, never, moved), made.losses(other, codes, never)
    )


def test_photos_are_drawn_as_many_together_as_memory_lets(
    clip_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = generator(clip_tokenizer)
    words, keys = ["a red dog", "a boat", "rain"], range(3)
    at_once = made.draw(words, [seeded(k) for k in keys])
    assert made.together > 1000
    monkeypatch.setattr(dalle, "DECODING", 2**30 // 16**2 - 100)
    assert made.together == 2
    assert made.draw(words, [seeded(k) for k in keys]) == at_once
    assert made.draw([], []) == []


# -- its folder ----------------------------------------------------------------------------------


def loaded(place: Path, kind: str = "dalle", **part: Any) -> Any:
    return Load(ModelConfig(generator=PartConfig(kind, str(place), **part), guidance=2.0))(
        "generator"
    )


def test_a_folder_draws_the_same_wherever_it_lies(clip_tokenizer: Any, tmp_path: Path) -> None:
    made = generator(clip_tokenizer, guidance=2.0)
    made.save_pretrained(tmp_path / "there")
    shutil.move(tmp_path / "there", tmp_path / "here")
    again = loaded(tmp_path / "here").eval()
    assert again.guidance == 2.0
    drawn = [g.draw(["a dog"], [seeded(1)])[0].tobytes() for g in (made, again)]
    assert drawn[0] == drawn[1] != made.draw(["red boats by night"], [seeded(1)])[0].tobytes()
    again.save_pretrained(tmp_path / "twice")
    for part in ("vae", "transformer"):
        assert str(tmp_path) not in (tmp_path / "twice" / part / "config.json").read_text()


def test_what_is_no_such_folder_is_named(clip_tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="AutoencoderKL and no VQModel"):
        loaded(find("weights", "photoworld")("generator"))
    generator(clip_tokenizer).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="2 layers, not 64"):
        loaded(tmp_path, "dalle-12b")
    with pytest.raises(ConfigError, match="'dalle' has no lora"):
        build("divter", ModelConfig(generator=PartConfig("dalle", str(tmp_path), lora=2)))
    (tmp_path / "transformer/model.safetensors").unlink()
    torch.save({}, tmp_path / "transformer/pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"The generator in .*cannot be loaded"):
        loaded(tmp_path)
    with pytest.raises(ValueError, match=f"{PLACES - 1} positions"):
        generator(clip_tokenizer, positions=PLACES - 1)
    with pytest.raises(ValueError, match=f"tokenizer knows {len(clip_tokenizer)} tokens"):
        generator(clip_tokenizer, rows=-1)


# -- in a system ---------------------------------------------------------------------------------


def test_it_trains_apart_and_goes_on_bit_for_bit(
    build: SimpleNamespace, clip_tokenizer: Any, random_dialogue: Any, tmp_path: Path
) -> None:
    """Oracle: the run that was never interrupted. Dropout is exact, too."""
    dialogues: list[Dialogue] = [random_dialogue(seed, photos=0.6) for seed in range(12)]
    recipe = TrainConfig(lr=1e-3, batch=4, micro_batch=2, warmup=2, epochs=1.0, save_minutes=0.0)
    config = Config(sequence=SequenceConfig(max_length=120), train=recipe)

    def made() -> Pipeline:
        parts = build.pipeline()
        drawing = generator(clip_tokenizer, dropout=0.1)
        return Pipeline(parts.captioner, parts.llm, drawing).freeze()

    whole = made()
    trained = {".".join(n.split(".")[:2]) for n, p in whole.named_parameters() if p.requires_grad}
    assert trained == {"llm.model", "generator.transformer"}
    train(whole, dialogues, config, Run(tmp_path / "whole"), scores)
    killed(2, made(), dialogues, config, Run(tmp_path / "broken"), scores)
    resumed = made()
    train(resumed, dialogues, config, Run(tmp_path / "broken"), scores, resume=True)
    found = curve(tmp_path / "whole")
    assert curve(tmp_path / "broken") == found and len(found) >= 3
    for (name, a), b in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b), name
