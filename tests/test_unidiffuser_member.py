"""photoworld's tiny UniDiffuser: its parts learn, and the command that makes them goes on."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UniDiffuserPipeline
from torch import Tensor

from pscli.components.load import Load
from pscli.components.noise import seeded
from pscli.components.unidiffuser import UniDiffuser
from pscli.config import ModelConfig, PartConfig
from pscli.errors import CheckpointError
from pscli.photoworld.foundations import unidiffuser
from pscli.photoworld.foundations.drawing import words_for
from pscli.photoworld.foundations.fit import fit
from pscli.photoworld.foundations.pool import Pool, global_labels, load_pool
from pscli.photoworld.foundations.unidiffuser import Recipe, make, tokenizer_of, untrained
from pscli.photoworld.members import MADE
from test_dialog2image import done, sets

TINY = Recipe(scenes=40, eyes=3, tongue=3, unet=3, dev=2)
NAMED = ModelConfig(
    generator=PartConfig("unidiffuser-v1", "photoworld-unidiffuser"), draw_steps=2, guidance=1.5
)
FILES = ("unet/diffusion_pytorch_model", "image_encoder/model",
         "text_decoder/diffusion_pytorch_model")  # fmt: skip
UNUSED = "transformer.pos_embed."  # a second patch embedding of diffusers', which nothing uses


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photoworld's UniDiffuser, as the command leaves it."""
    folder = tmp_path_factory.mktemp("home")
    make(out=folder / MADE / "unidiffuser", recipe=TINY)
    return folder


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return load_pool(tmp_path_factory.mktemp("pool"), "train", 400, 0)


@pytest.fixture
def made(pool: Pool) -> UniDiffuser:
    return untrained(tokenizer_of(words_for(pool)))


def test_the_registry_finds_it_once_it_is_made(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="generator for unidiffuser is not shipped") as told:
        Load(NAMED)("generator")
    assert "pscli foundations unidiffuser" in told.value.hint
    assert "hours" in told.value.hint
    monkeypatch.chdir(home)
    found = Load(NAMED)("generator")
    assert found.draw(["A red car."], [seeded(1)])[0].size == (64, 64)
    pipeline = UniDiffuserPipeline.from_pretrained(MADE / "unidiffuser/generator")
    written = pipeline(image=found.draw(["A red car."], [seeded(1)])[0], num_inference_steps=2)
    assert isinstance(written.text[0], str)
    scores = json.loads((MADE / "unidiffuser/scores.json").read_text())
    assert set(scores) == {"eyes", "tongue", "drawn", "recipe"}
    assert set(scores["drawn"]) == {"things", "kinds", "setting", "light"}


def test_what_the_shipped_generator_has_stays(home: Path) -> None:
    split = load_pool(home / MADE / "unidiffuser/work", "train", TINY.scenes, 0)
    before = untrained(tokenizer_of(words_for(split))).state_dict()
    after = UniDiffuser.from_pretrained(home / MADE / "unidiffuser/generator").state_dict()
    moved = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"image_encoder", "text_decoder", "unet"}
    assert {name.split(".")[0] for name in after} == moved | {"text_encoder", "vae"}


def test_what_kills_interrupt_goes_on_to_the_same_weights(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the parts that were made without a pause; killed once in each stage."""
    killed: str | None = None

    def stopping(model: Any, loss: Any, work: Path, **options: Any) -> Any:
        def stops(step: int) -> Any:
            if work.name == killed and step == 2:
                raise MemoryError("killed")
            return loss(step)

        return fit(model, stops, work, save_every=1, **options)

    monkeypatch.setattr(unidiffuser, "fit", stopping)
    for killed in ("eyes", "tongue", "unet"):
        with pytest.raises(MemoryError):
            make(out=tmp_path, recipe=TINY)
        assert not (tmp_path / "generator").exists()
        assert list((tmp_path / "work" / killed).glob("step-00000002/*.safetensors"))
    killed = None
    make(out=tmp_path, recipe=TINY)
    there = home / MADE / "unidiffuser"
    for file in (*(f"generator/{name}.safetensors" for name in FILES), "scores.json"):
        assert (tmp_path / file).read_bytes() == (there / file).read_bytes(), file


def test_it_is_planned_trained_and_asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    part = {"kind": "unidiffuser-v1", "weights": "photoworld-unidiffuser"}
    kind = sets({f"model.generator.{key}": value for key, value in part.items()})
    planned = json.loads(done("plan", "dialog2image", *kind, "--json").stdout)
    trained = {c["name"]: (c["trained"], c["frozen"]) for c in planned["components"]}
    made = UniDiffuser.from_pretrained(MADE / "unidiffuser/generator")
    assert trained["generator.unet"] == (made.unet.num_parameters(), 0)
    assert trained["generator.image_encoder"] == (0, made.image_encoder.num_parameters())
    few = {"train.dialogues": 6, "train.batch": 2, "train.micro_batch": 2, "train.epochs": 1.0,
           "train.eval_dialogues": 2, "train.warmup": 0, "model.draw_steps": 2}  # fmt: skip
    done("train", "dialog2image", *kind, "--preset", "demo", "--run", "r", *sets(few))
    some = ["generate", "--dataset", "photoworld", "--count", 2]
    done(*some, "--agent", "r", "--out", "after")
    done(*some, "--system", "zero-shot", *kind, "--set", "model.draw_steps=2", "--out", "before")
    photos = [{p.read_bytes() for p in Path(f).rglob("*.png")} for f in ("before", "after")]
    assert photos[0] and photos[1] and photos[0] != photos[1]


# -- its parts -----------------------------------------------------------------------------------


def test_photos_and_words_are_centred_and_nothing_else_changes(
    made: UniDiffuser, pool: Pool
) -> None:
    """Oracles: mean and deviation by their definition; what is decoded is as it was."""
    images, captions = pool.batch(range(64)), words_for(pool)[:64]
    with torch.no_grad():
        before = made.image_encoder(images).image_embeds
        unidiffuser.centre_photos(made.image_encoder, images)
        embeds = made.image_encoder(images).image_embeds
        said = made.text_encoder(made.tokenize(captions)[0])[0]
        decoded = made.text_decoder.decode_prefix(made.text_decoder.encode(said))
        unidiffuser.centre_words(made.text_decoder, said)
        narrow = made.text_decoder.encode(said)
        again = made.text_decoder.decode_prefix(narrow)
    torch.testing.assert_close(embeds, (before - before.mean(0)) / before.std(0), **NEAR)
    flat = narrow.flatten(0, 1)
    torch.testing.assert_close(flat.mean(0), torch.zeros(unidiffuser.TOLD), **NEAR)
    torch.testing.assert_close(flat.std(0), torch.ones(unidiffuser.TOLD), **NEAR)
    torch.testing.assert_close(again, decoded, **NEAR)


NEAR = {"rtol": 1e-3, "atol": 1e-3}


def test_photos_are_kept_as_the_loss_wants_them(
    made: UniDiffuser, pool: Pool, tmp_path: Path
) -> None:
    """Oracle: the generator's own latents, of photos that were opened from their scenes."""
    few = Pool(pool.scenes[:3], pool.images[:3])
    found = unidiffuser.all_photos(made, few, tmp_path)
    wanted = made.latents([scene.draw() for scene in few.scenes])
    torch.testing.assert_close(torch.from_numpy(found.copy()), wanted)
    seen = made.image_encoder(few.batch(range(3))).image_embeds
    torch.testing.assert_close(wanted[:, -unidiffuser.SEEN :], seen, rtol=1e-3, atol=1e-4)


def test_each_part_learns(
    made: UniDiffuser, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On eight photos: words find their photos, captions come back, and noise is told apart."""
    few, before = Pool(pool.scenes[:8], pool.images[:8]), untrained(made.writing)
    quickly = partial(fit, steps=26, warmup=5)
    monkeypatch.setattr(unidiffuser, "fit", lambda *a, lr, ema=None, **more: quickly(*a, lr=lr))
    seen = unidiffuser.train_eyes(made, few, few, tmp_path / "eyes", steps=26, batch=8)
    assert seen["own_words"] >= 0.5  # of 8, by chance 0.125
    unidiffuser.train_tongue(made, few, few, tmp_path / "tongue", steps=26, batch=8)
    unidiffuser.train_unet(made, few, tmp_path / "unet", steps=26, batch=8)
    for stage, name in (("eyes", "contrast"), ("tongue", "nll"), ("unet", "joint")):
        lines = map(json.loads, (tmp_path / stage / "metrics.jsonl").read_text().splitlines())
        losses = [line[name] for line in lines]
        assert losses[-1] * 1.3 < losses[0], (stage, losses)
    for part in ("image_encoder", "text_decoder", "unet"):
        for name, weight in getattr(made, part).named_parameters():
            moved = not torch.equal(weight, getattr(before, part).get_parameter(name))
            assert moved != name.startswith(UNUSED), name


def test_the_decoder_is_asked_for_each_next_token(
    made: UniDiffuser, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: its likelihood of three captions, token by token, each from all before it."""
    few, asked = Pool(pool.scenes[:8], pool.images[:8]), {}
    monkeypatch.setattr(unidiffuser, "fit", lambda model, loss, *a, **o: asked.update(loss(0)))
    alone = Pool(pool.scenes[:1], pool.images[:1])
    unidiffuser.train_tongue(made, few, alone, tmp_path, steps=1, batch=3)
    captions, surprise = [words_for(few)[i] for i in few.pick(2, 0, 3)], []
    assert len(set(captions)) > 1
    gpt = made.text_decoder.transformer
    with torch.no_grad():
        for caption in captions:
            read = made.text_decoder.decode_prefix(made.words(made.tokenize([caption])[0]))
            for token in [*made.writing(caption).input_ids, made.writing.eos_token_id]:
                surprise.append(-gpt(inputs_embeds=read).logits[0, -1].log_softmax(-1)[token])
                more = gpt.transformer.wte(torch.tensor([[token]]))
                read = torch.cat([read, more], dim=1)
    assert float(asked["nll"].detach()) == pytest.approx(
        float(torch.stack(surprise).mean()), rel=1e-4
    )


def test_captions_are_written_as_the_pipeline_writes_them(made: UniDiffuser, pool: Pool) -> None:
    """Oracle: a decoder that knows one caption by heart, and diffusers' own call."""
    captions = ["A red car.", "Two dogs."]
    ids = [made.writing(c + unidiffuser.END).input_ids for c in captions]
    start = made.text_decoder.prefix_length

    def by_heart(inputs_embeds: Tensor) -> Any:
        first = torch.full((len(inputs_embeds), inputs_embeds.shape[1], len(made.writing)), -9.0)
        at = inputs_embeds.shape[1] - start
        one = ids[int(inputs_embeds[0, 0, 0] > 0)]
        first[:, -1, one[min(at, len(one) - 1)]] = 9.0
        return SimpleLogits(first)

    made.text_decoder.transformer.forward = by_heart
    words = torch.stack([torch.full((start, unidiffuser.TOLD), v) for v in (-1.0, 1.0)])
    with torch.no_grad():
        made.text_decoder.decode_prefix.weight.fill_(1.0)
        made.text_decoder.decode_prefix.bias.zero_()
    assert unidiffuser.written_again(made, words) == captions


class SimpleLogits:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


# -- its schedule --------------------------------------------------------------------------------


def test_noise_can_be_predicted_to_the_end_and_leaves_no_light(
    made: UniDiffuser, pool: Pool
) -> None:
    """Oracles: ᾱ_T as a product; a linear discriminant of the latents' means (chance 1/3)."""
    kept = 1.0
    for i in range(1000):
        kept *= 1 - (1e-4 + (0.02 - 1e-4) * i / 999)
    assert float(made.scheduler.alphas_cumprod[-1]) == pytest.approx(kept, rel=1e-3)
    assert kept**0.5 == pytest.approx(0.0064, abs=1e-4)
    with torch.no_grad():
        latents = made.vae.encode(pool.batch(range(400))).latent_dist.mode()
    light = global_labels(pool.scenes)["light"]
    shipped = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    assert told(latents, light, float(made.scheduler.alphas_cumprod[-1])) < 0.42
    assert told(latents, light, float(shipped.alphas_cumprod[-1])) > 0.55
    ends = {"beta_schedule": "linear", "rescale_betas_zero_snr": True}
    noise = torch.randn(1, 4)
    nothing = DDPMScheduler(clip_sample=False, **ends).step(noise, 999, noise).prev_sample
    assert not nothing.isfinite().all()
    solver = DPMSolverMultistepScheduler(**ends)
    assert float(solver.alphas_cumprod[-1]) ** 0.5 == 2**-12


def told(latents: Tensor, light: Tensor, kept: float) -> float:
    """How often the light of the later half is known from means of its noisy latents."""
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    means = (kept**0.5 * latents + (1 - kept) ** 0.5 * noise).mean((2, 3))
    half = len(means) // 2
    fitted, asked = means[:half], means[half:]
    centres = torch.stack([fitted[light[:half] == k].mean(0) for k in range(3)])
    within = fitted - centres[light[:half]]
    inverse = torch.linalg.inv(within.T @ within / half)
    gaps = asked[:, None] - centres
    nearest = torch.einsum("nkc,cd,nkd->nk", gaps, inverse, gaps).argmin(1)
    return float((nearest == light[half:]).float().mean())
