"""Divter: a text generator of DialoGPT's kind and a DALL·E, tiny on photoworld and as published."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2LMHeadModel

from layouts import dialogpt
from pscli.components.dalle import Dalle, codes_of
from pscli.components.generator import StableDiffusion
from pscli.components.llm import LanguageModel
from pscli.components.noise import seeded
from pscli.photoworld.foundations import divter
from pscli.photoworld.foundations.divter import Recipe, autoencoder, make, spread
from pscli.photoworld.foundations.fit import fit
from pscli.photoworld.foundations.pool import load_pool
from pscli.photoworld.members import MADE
from pscli.photoworld.shipped import part
from pscli.plan.estimate import estimate
from pscli.systems.divter import sun2022
from test_dialog2image import done, pscli, sets

TINY = Recipe(scenes=40, dialogues=30, vae=3, transformer=4, llm=3, dev=6)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photoworld's members for divter, as the command leaves them."""
    folder = tmp_path_factory.mktemp("home")
    make(out=folder / MADE / "divter", recipe=TINY)
    return folder


# -- as published ----------------------------------------------------------------------------------


def test_the_published_sizes() -> None:
    """Oracles: DialoGPT-medium's 354.8 M and DALL·E's 12 billion, counted by hand as well: blocks
    of 12 D² + 13 D, embeddings, positions and a norm; four new rows for the marks."""
    found = {c.name: (c.trained, c.frozen) for c in estimate(sun2022(), limit=1.0).components}
    d = 1024
    gpt = 24 * (12 * d * d + 13 * d) + 50_257 * d + 1024 * d + 2 * d
    assert gpt == 354_823_168
    assert found["llm"] == (gpt + 4 * d, 0)
    d = 3968
    written = 64 * (12 * d * d + 13 * d) + (16_384 + 8192) * d + (256 + 1024 - 1) * d + 2 * d
    assert found["generator.transformer"] == (written, 0)
    assert written == pytest.approx(12e9, rel=0.02)
    assert found["generator.vae"][0] == 0 < found["generator.vae"][1]
    assert found["captioner"][0] == 0


def test_dialogpt_s_layout_loads(tmp_path: Path) -> None:
    """Oracle: transformers' own class. Nothing but its vocabulary tells how it cuts words."""
    dialogpt(tmp_path)
    llm = LanguageModel.from_pretrained(tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert isinstance(theirs, GPT2LMHeadModel)
    ids = llm.tokenizer(" Look at my red dog!", add_special_tokens=False).input_ids
    assert llm.tokenizer.decode(ids) == " Look at my red dog!" and len(ids) < 12
    words = torch.tensor([ids])
    ours = llm.model(words).logits[..., : theirs.config.vocab_size]
    torch.testing.assert_close(ours, theirs(words).logits)
    assert llm.tokenizer.bos_token == llm.tokenizer.eos_token == "<|endoftext|>"
    assert llm.tokenizer.pad_token_id != llm.tokenizer.eos_token_id
    assert llm.reaches(1024) == 1024


# -- photoworld's members --------------------------------------------------------------------------


@torch.no_grad()
def test_the_autoencoder_begins_as_the_shipped_one_without_its_noise(tmp_path: Path) -> None:
    shipped = StableDiffusion.from_pretrained(part("generator")).vae
    vae, images = autoencoder(32), load_pool(tmp_path, "train", 4, 0).batch(range(4))
    mode = shipped.encode(images).latent_dist.mode()
    torch.testing.assert_close(vae.encode(images).latents, mode, atol=1e-4, rtol=1e-4)
    ours = vae.decode(mode, force_not_quantize=True).sample
    torch.testing.assert_close(ours, shipped.decode(mode).sample)


@torch.no_grad()
def test_codes_are_centres_of_what_they_stand_for(tmp_path: Path) -> None:
    """Oracle: Lloyd's rounds, point by point."""
    vae, images = autoencoder(6), load_pool(tmp_path, "train", 1, 0).batch([0])
    spread(vae, images, rounds=0)
    centres = vae.quantize.embedding.weight.clone()
    points = vae.encode(images).latents[0].flatten(1).T
    spread(vae, images, rounds=2)
    for _ in range(2):
        near = [int(((point - centres) ** 2).sum(1).argmin()) for point in points]
        groups = [[p for p, n in zip(points, near, strict=True) if n == k] for k in range(6)]
        assert all(groups)
        centres = torch.stack([torch.stack(group).mean(0) for group in groups])
    torch.testing.assert_close(vae.quantize.embedding.weight, centres, atol=1e-4, rtol=1e-4)


def test_what_a_kill_interrupts_goes_on_to_the_same_weights(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the members that were made without a pause; killed in the middle of the second."""
    losses, calls = Dalle.losses, iter(range(100))

    def killed(*arguments: Any, **options: Any) -> Any:
        if next(calls) == 2:
            raise MemoryError("killed")
        return losses(*arguments, **options)

    monkeypatch.setattr(divter, "fit", partial(fit, save_every=1))
    monkeypatch.setattr(Dalle, "losses", killed)
    with pytest.raises(MemoryError):
        make(out=tmp_path, recipe=TINY)
    assert not (tmp_path / "generator").exists()
    steps = (tmp_path / "work/transformer").glob("**/*.safetensors")
    assert list(steps)
    make(out=tmp_path, recipe=TINY)
    there = home / MADE / "divter"
    files = sorted(p.relative_to(tmp_path) for p in tmp_path.glob("*/*/*.safetensors"))
    files += [Path("llm/model.safetensors")]
    assert Path("generator/transformer/model.safetensors") in files
    for file in files:
        if file.parts[0] != "work":
            assert (tmp_path / file).read_bytes() == (there / file).read_bytes(), file
    assert json.loads((tmp_path / "scores.json").read_text()) == json.loads(
        (there / "scores.json").read_text()
    )


def test_scores_say_what_the_codes_keep_and_how_likely_they_are(home: Path) -> None:
    scores = json.loads((home / MADE / "divter/scores.json").read_text())
    assert 21 < scores["vae"]["psnr"] < 28 and 0 <= scores["vae"]["things"] <= 1
    assert scores["vae"]["gold_setting"] > 0.9
    assert 100 < scores["vae"]["codes"] <= 1024
    assert 0 < scores["transformer"]["nll"] < 7.1  # log 1024 is 6.9
    assert scores["llm"]["dev_perplexity"] > 1
    assert set(scores["drawn"]) == {"things", "kinds", "setting", "light"}


def test_the_transformer_learns_to_write_codes(tmp_path: Path) -> None:
    """The likelihood of the photos that it was shown rises."""
    pool = load_pool(tmp_path, "train", 4, 0)
    vae = autoencoder(64)
    spread(vae, pool.batch(range(4)))
    before = divter.likelihood(divter.dalle(vae).eval(), pool)["nll"]
    made = divter.train_transformer(vae, pool, tmp_path / "work", steps=12, batch=4)
    lines = map(json.loads, (tmp_path / "work/metrics.jsonl").read_text().splitlines())
    assert next(lines)["nll"] == pytest.approx(before, abs=0.3)
    codes = codes_of(vae, pool.batch(range(4)))
    ids, _ = made.tokenize([scene.caption() for scene in pool.scenes])
    with torch.no_grad():
        nll = float(made.losses(ids, codes, torch.zeros(4, dtype=torch.bool)).mean())
    assert nll < before


# -- by the command line ---------------------------------------------------------------------------

FEW = {
    "train.dialogues": 6, "train.batch": 2, "train.micro_batch": 2, "train.eval_dialogues": 2,
    "train.warmup": 0, "train.epochs": 1.0, "sequence.max_new_tokens": 4,
}  # fmt: skip


def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (
        ["generate", "--dataset", "photoworld", "--count", 1, "--system", "divter"],
        ["train", "divter", "--preset", "demo", "--run", "r"],
        ["plan", "divter"],
    ):
        refused = pscli(*command)
        assert refused.exit_code == 2, refused.output
        told = " ".join(refused.stderr.split())
        assert "in about an hour of one core: pscli foundations divter" in told
    refused = pscli("train", "divter", "--preset", "sun2022", "--run", "r",
                    "--set", f"model.llm.weights={part('llm')}")  # fmt: skip
    assert refused.exit_code == 2


def test_it_trains_answers_and_is_planned(
    home: Path, monkeypatch: pytest.MonkeyPatch, build: SimpleNamespace
) -> None:
    monkeypatch.chdir(home)
    some = ["generate", "--dataset", "photoworld", "--count", 2, "--captions", "gold"]
    done(*some, "--system", "divter", "--set", "sequence.max_new_tokens=4", "--out", "before")
    records = [
        json.loads(line) for line in Path("before/predictions.jsonl").read_text().splitlines()
    ]
    assert any(record["prediction"]["photos"] for record in records)

    planned = json.loads(done("plan", "divter", "--json").stdout)
    trained = {c["name"]: (c["trained"], c["frozen"]) for c in planned["components"]}
    made = Dalle.from_pretrained(MADE / "divter/generator")
    assert trained["generator.transformer"] == (made.transformer.num_parameters(), 0)
    assert trained["generator.vae"] == (0, made.vae.num_parameters())
    llm = LanguageModel.from_pretrained(MADE / "divter/llm")
    assert trained["llm"] == (llm.model.num_parameters(), 0)
    assert planned["flops"] > 0 and planned["evaluation"] > 0 and planned["activations"] > 0

    done("train", "divter", "--preset", "demo", "--run", "r", *sets(FEW))
    agent = Path("r/agent")
    assert sorted(p.name for p in agent.iterdir() if p.is_dir()) == ["generator", "llm"]
    done(*some, "--agent", "r", "--out", "here")
    shutil.move(agent, "moved")
    done(*some, "--agent", "moved", "--out", "there")
    assert Path("here/predictions.jsonl").read_text() == Path("there/predictions.jsonl").read_text()
    photos = [sorted(p.read_bytes() for p in Path(f).rglob("*.png")) for f in ("here", "there")]
    assert photos[0] == photos[1]
    Path("moved/generator/transformer/config.json").unlink()
    broken = pscli(*some, "--agent", "moved", "--out", "broken")
    assert broken.exit_code == 2 and "generator" in broken.stderr


def test_a_photo_alone_is_that_of_a_batch(home: Path) -> None:
    made = Dalle.from_pretrained(home / MADE / "divter/generator", guidance=3.0).eval()
    words = ["a red car", "two dogs", "rain"]
    ids, _ = made.tokenize(words)
    together = made.sample(ids, [seeded(k) for k in range(3)])
    for k in range(3):
        alone = made.sample(ids[k : k + 1], [seeded(k)])
        assert torch.equal(alone, together[k : k + 1])
