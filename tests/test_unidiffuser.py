"""UniDiffuser: Eq. 1 against Algorithm 1, the sampler against Algorithm 2 and diffusers' own."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    UniDiffuserModel,
    UniDiffuserPipeline,
    UniDiffuserTextDecoder,
)
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    GPT2Tokenizer,
)

from conftest import CLIP_LENGTH
from hub import serving
from pscli.components import unidiffuser
from pscli.components.linearise import hashes
from pscli.components.load import Load
from pscli.components.noise import seeded
from pscli.components.unidiffuser import JointNoise, UniDiffuser
from pscli.config import Config, ModelConfig, PartConfig, SequenceConfig, TrainConfig
from pscli.errors import CheckpointError, ConfigError
from pscli.plan.estimate import drawing, estimate
from pscli.plan.parts import imagined
from pscli.plan.work import longest
from pscli.runs import Run
from pscli.systems.dialog2image import Dialog2Image
from pscli.training.loop import train
from test_hub import endpoint
from test_training import curve, scores

LEVELS = 20  # T
Y, E = 6, 5  # widths of a word and of a photo's CLIP embedding


@pytest.fixture(scope="module")
def writing(tmp_path_factory: pytest.TempPathFactory) -> GPT2Tokenizer:
    from layouts import bpe

    folder = tmp_path_factory.mktemp("gpt2")
    bpe(folder, ["<|endoftext|>"], tokenizer_class="GPT2Tokenizer", eos_token="<|endoftext|>")
    return GPT2Tokenizer.from_pretrained(folder)


@pytest.fixture
def made(build: SimpleNamespace, writing: GPT2Tokenizer) -> UniDiffuser:
    return generator(build, writing)


def generator(build: SimpleNamespace, writing: Any, **options: Any) -> UniDiffuser:
    """A tiny one of version 1, with every weight its own."""
    other = build.generator()
    torch.manual_seed(7)
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        image_size=28, patch_size=14, projection_dim=E, initializer_range=0.2,
    )  # fmt: skip
    unet = UniDiffuserModel(
        text_dim=Y, clip_img_dim=E, num_text_tokens=CLIP_LENGTH, num_attention_heads=2,
        attention_head_dim=8, in_channels=4, out_channels=4, num_layers=4, sample_size=4,
        patch_size=2, activation_fn="gelu", norm_type="layer_norm", block_type="unidiffuser",
        use_data_type_embedding=True,
    )  # fmt: skip
    for weight in unet.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=LEVELS, beta_start=0.01, beta_end=0.3, beta_schedule="scaled_linear",
    )  # fmt: skip
    parts = {
        "vae": other.vae, "text_encoder": other.text_encoder, "clip_tokenizer": other.tokenizer,
        "image_encoder": CLIPVisionModelWithProjection(vision).eval(),
        "clip_image_processor": CLIPImageProcessor(size=28, crop_size=28),
        "text_tokenizer": writing,
        "text_decoder": UniDiffuserTextDecoder(
            CLIP_LENGTH, 16, Y, vocab_size=len(writing), n_embd=8, n_layer=1, n_head=2
        ).eval(),
        "unet": unet.eval(), "scheduler": scheduler,
    }  # fmt: skip
    return UniDiffuser(parts, **{"steps": 3, "guidance": 1.0} | options)


def alpha_bars() -> list[float]:
    """ᾱ_0 … ᾱ_T of the schedule above, by its definition."""
    low, high = 0.01**0.5, 0.3**0.5
    betas = [(low + (high - low) * i / (LEVELS - 1)) ** 2 for i in range(LEVELS)]
    found = [1.0]
    for beta in betas:
        found.append(found[-1] * (1 - beta))
    return found


def eps(made: UniDiffuser, x: Tensor, y: Tensor, t_x: int, t_y: int) -> tuple[Tensor, Tensor]:
    """ε_θ of one photo [X] and its words [N, Y], by the library's own call."""
    latents, seen = x[:-E].reshape(1, 4, 4, 4), x[-E:].reshape(1, 1, E)
    out = made.unet(latents, seen, y[None], timestep_img=t_x, timestep_text=t_y, data_type=1)
    return torch.cat([out[0].flatten(), out[1].flatten()]), out[2][0]


@torch.no_grad()
def test_the_loss_is_algorithm_1(made: UniDiffuser, random_photo: Any) -> None:
    """Oracle: its lines 2 to 7, photo by photo, number by number."""
    import random

    photos = [random_photo(random.Random(i)).open() for i in range(3)]
    ids = made.tokenize(["a dog", "# look # a boat", ""])[0]
    noise = made.draw_noise([seeded(i) for i in range(3)])
    found = made.losses(ids, made.latents(photos), noise)
    bars = alpha_bars()
    for i, photo in enumerate(photos):
        seen = made.image_encoder(made.pixels([photo])).image_embeds[0]
        drawn = made.vae.encode(pixels_of(photo)).latent_dist.mode()[0] * 0.5
        x_0 = torch.cat([drawn.flatten(), seen])
        y_0 = made.text_encoder(ids[i : i + 1])[0][0]
        prefix = made.text_decoder.encode_prefix
        y_0 = y_0 @ prefix.weight.T + prefix.bias
        t_x, t_y = int(noise.photo_levels[i]), int(noise.word_levels[i])
        x = bars[t_x] ** 0.5 * x_0 + (1 - bars[t_x]) ** 0.5 * noise.photos[i]
        y = bars[t_y] ** 0.5 * y_0 + (1 - bars[t_y]) ** 0.5 * noise.words[i]
        of_x, of_y = eps(made, x, y, t_x, t_y)
        squares = [float(d) ** 2 for d in (of_x - noise.photos[i])]
        squares += [float(d) ** 2 for d in (of_y - noise.words[i]).flatten()]
        assert float(found[i]) == pytest.approx(sum(squares) / len(squares), rel=1e-4)


def pixels_of(photo: Any) -> Tensor:
    from torchvision.transforms.functional import to_tensor

    return (2 * to_tensor(photo) - 1)[None]  # 16 × 16, as the autoencoder has it


def test_levels_are_uniform_and_apart(made: UniDiffuser) -> None:
    """Algorithm 1, line 3: each of 1 … T, and t^x says nothing of t^y."""
    noise = made.draw_noise([seeded("level", i) for i in range(4000)])
    for levels in (noise.photo_levels, noise.word_levels):
        counts = torch.bincount(levels, minlength=LEVELS + 1)[1:].float()
        assert int(levels.min()) == 1 and int(levels.max()) == LEVELS
        assert float((counts - 200).abs().max()) < 5 * 200**0.5
    pair = torch.stack([noise.photo_levels, noise.word_levels]).float()
    assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.06


@torch.no_grad()
def test_the_sampler_is_algorithm_2(build: SimpleNamespace, writing: Any) -> None:
    """Oracle: its lines 1 to 6, with σ_t² = β̃_t; all T steps, and t^y = 0."""
    made = generator(build, writing, steps=LEVELS)
    y_0 = made.words(made.tokenize(["a red dog"])[0])
    ancestral = DDPMScheduler.from_config(made.scheduler.config, clip_sample=False)
    found = made.sample(y_0, [seeded("photo")], ancestral)[0]
    g, bars = seeded("photo"), alpha_bars()
    x = torch.cat([torch.randn(4, 4, 4, generator=g).flatten(), torch.randn(1, E, generator=g)[0]])
    for t in range(LEVELS, 0, -1):
        alpha = bars[t] / bars[t - 1]
        noise, _ = eps(made, x, y_0[0], t, 0)
        x = (x - (1 - alpha) / (1 - bars[t]) ** 0.5 * noise) / alpha**0.5
        if t > 1:
            sigma = ((1 - alpha) * (1 - bars[t - 1]) / (1 - bars[t])) ** 0.5
            x = x + sigma * torch.randn(1, 4 * 16 + E, generator=g)[0]
    torch.testing.assert_close(found, x, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_it_draws_as_diffusers_does(
    build: SimpleNamespace, writing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the library's pipeline, which calls the first noise level 0, with guidance."""
    made = generator(build, writing, guidance=3.0)
    words = ["a red dog", "# look # a boat"]
    ours = made.draw(words, [seeded(1), seeded(2)])
    monkeypatch.setattr(unidiffuser, "FIRST", 0)
    alike = made.draw(words, [seeded(1), seeded(2)])
    theirs = UniDiffuserPipeline(**made.parts())(
        words, num_inference_steps=3, guidance_scale=3.0, generator=[seeded(1), seeded(2)]
    ).images  # fmt: skip
    for one, other in zip(alike, theirs, strict=True):
        gap = torch.tensor(list(one.tobytes())) - torch.tensor(list(other.tobytes()))
        assert int(gap.abs().max()) <= 1
    assert ours[0].tobytes() != alike[0].tobytes() and ours[0].size == (16, 16)


def test_only_the_noise_predictor_trains_and_a_run_goes_on(
    build: SimpleNamespace, writing: Any, random_dialogue: Any, tmp_path: Path
) -> None:
    """Oracle: the run that was not interrupted."""
    dialogues = [random_dialogue(seed, photos=0.6) for seed in range(8)]
    recipe = TrainConfig(
        lr=1e-3, batch=3, micro_batch=2, warmup=0, epochs=1.0, save_minutes=0.0, patience=0,
        evaluations_per_epoch=99.0, beta2=0.9,
    )  # fmt: skip
    config = Config(sequence=SequenceConfig(max_length=120), train=recipe)

    def run(name: str, steps: int, resume: bool = False) -> list[Any]:
        made = Dialog2Image(generator(build, writing), hashes).freeze()
        trained = {n.split(".")[1] for n, p in made.named_parameters() if p.requires_grad}
        assert trained == {"unet"}
        calls = iter(range(100))

        def stops(system: Any, step: int) -> dict[str, float]:
            if next(calls) == steps:
                raise MemoryError("killed")
            return scores(system, step)

        try:
            train(made, dialogues, config, Run(tmp_path / name), stops, resume=resume)
        except MemoryError:
            assert steps < 99
        return curve(tmp_path / name)

    whole = run("whole", 99)
    assert len(run("broken", 2)) < len(whole)
    assert run("broken", 99, resume=True) == whole and len(whole) >= 6


# -- its folder ----------------------------------------------------------------------------------


def test_a_folder_draws_the_same_wherever_it_lies(made: UniDiffuser, tmp_path: Path) -> None:
    made.save_pretrained(tmp_path / "there")
    shutil.move(tmp_path / "there", tmp_path / "here")
    names = {path.name for path in (tmp_path / "here").iterdir() if path.is_dir()}
    assert names == {*unidiffuser.MODELS, *unidiffuser.OTHERS}

    def load(**options: Any) -> Any:
        part = PartConfig("unidiffuser-v1", str(tmp_path / "here"))
        return Load(ModelConfig(generator=part, draw_steps=3, guidance=1.0, **options))("generator")

    photos = [g.draw(["a dog"], [seeded(1)])[0].tobytes() for g in (made, load())]
    assert photos[0] == photos[1]
    load().save_pretrained(tmp_path / "again")
    written = [path.read_text() for path in (tmp_path / "again").rglob("*.json")]
    assert not any(str(tmp_path) in text for text in written)
    theirs = UniDiffuserPipeline.from_pretrained(tmp_path / "here")
    for name, weight in theirs.text_decoder.state_dict().items():
        assert torch.equal(weight, made.text_decoder.state_dict()[name])
    path = tmp_path / "here/text_decoder/diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    for lacking in ("transformer.lm_head.weight", "transformer.transformer.wte.weight"):
        save_file({name: w for name, w in weights.items() if name != lacking}, path)
        layer = load().text_decoder.transformer.lm_head
        assert torch.equal(layer.weight, weights["transformer.lm_head.weight"])
    save_file({n: w for n, w in weights.items() if n != "encode_prefix.weight"}, path)
    with pytest.raises(CheckpointError, match=r"such as encode_prefix\.weight"):
        load()
    save_file(weights, path)
    with pytest.raises(ConfigError, match="snr_gamma=null"):
        load(snr_gamma=5.0)
    next((tmp_path / "here/unet").glob("*.safetensors")).unlink()
    with pytest.raises(CheckpointError, match=r"The generator in .*cannot be loaded"):
        load()


def test_version_1_has_its_published_size_and_can_be_planned() -> None:
    """Oracles: 952 M, as published; and a count by hand."""
    generator = PartConfig("unidiffuser-v1", "thu-ml/unidiffuser-v1")
    model = ModelConfig(generator=generator, snr_gamma=None)
    config = Config(system="dialog2image", model=model)
    found = {c.name: (c.trained, c.frozen) for c in estimate(config, limit=1.0).components}
    d, layers = 1536, 30
    block = 3 * d * d + (d * d + d) + (8 * d * d + 5 * d) + 4 * d
    blocks = (layers + 1) * block + layers // 2 * (2 * d * d + d + 2 * d)
    places = (1 + 1 + 77 + 1 + 32 * 32) * d + 3 * d  # and the data's type
    places += 16 * d + d  # a second patch embedding of diffusers', which nothing uses
    within = (16 * d + d) + (512 * d + d) + (64 * d + d)
    outside = (16 * d + 16) + (512 * d + 512) + (64 * d + 64) + 2 * d
    assert found["generator.unet"] == (blocks + places + within + outside, 0)
    assert found["generator.unet"][0] == pytest.approx(952e6, rel=0.01)
    assert found["generator.text_encoder"] == (0, 123_060_480)
    assert found["generator.vae"] == (0, 83_653_863)
    assert found["generator.image_encoder"][1] == pytest.approx(87.8e6, rel=0.01)
    assert found["generator.text_decoder"][1] == pytest.approx(124.5e6, rel=0.01)


def test_joint_noise_is_seeded_by_photo(made: UniDiffuser) -> None:
    together = made.draw_noise([seeded(1), seeded(2)])
    alone: JointNoise = made.draw_noise([seeded(2)])
    for name in ("photos", "words", "photo_levels", "word_levels"):
        assert torch.equal(getattr(together, name)[1:], getattr(alone, name))


def test_drawing_it_is_counted() -> None:
    model = ModelConfig(generator=PartConfig("unidiffuser-v1", "thu-ml/unidiffuser-v1"))
    assert drawing(imagined("dialog2image", model), longest(1, 77)) > 1e9


def test_it_comes_by_id_from_a_hub(
    made: UniDiffuser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the folder that the hub serves."""
    made.save_pretrained(tmp_path / "hub/me/uni")
    asked: list[str] = []
    with serving(tmp_path / "hub", asked) as address:
        endpoint(monkeypatch, tmp_path, int(address.rpartition(":")[2]))
        part = PartConfig("unidiffuser-v1", "me/uni")
        found = Load(ModelConfig(generator=part, draw_steps=3, guidance=1.0))("generator")
    photos = [g.draw(["a dog"], [seeded(1)])[0].tobytes() for g in (made, found)]
    assert photos[0] == photos[1]
    assert any("unet/diffusion_pytorch_model.safetensors" in name for name in asked)
