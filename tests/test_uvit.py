"""U-ViT: the architecture against a literal form, its size, its folder."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel

from conftest import CLIP_LENGTH
from pscli.components.linearise import hashes
from pscli.components.load import Load
from pscli.components.noise import seeded
from pscli.components.uvit import UViT, UViTGenerator, assembled
from pscli.config import Config, ModelConfig, PartConfig, SequenceConfig, TrainConfig
from pscli.errors import CheckpointError
from pscli.plan.estimate import estimate
from pscli.plan.parts import imagined
from pscli.registry import find
from pscli.runs import Run
from pscli.systems.dialog2image import Dialog2Image
from pscli.training.loop import train
from test_training import curve, scores

TINY = {"sample_size": 4, "width": 16, "heads": 2, "text_width": 16, "text_tokens": CLIP_LENGTH}


def generator(build: SimpleNamespace, depth: int = 2, **options: Any) -> UViTGenerator:
    """As `build.generator()`, with a U-ViT."""
    other = build.generator()
    torch.manual_seed(5)
    unet = UViT(**TINY, depth=depth).eval()
    for weight in unet.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    scheduler = DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False,
        steps_offset=1,
    )  # fmt: skip
    parts = assembled(
        vae=other.vae, text_encoder=other.text_encoder, tokenizer=other.tokenizer, unet=unet,
        scheduler=scheduler,
    )  # fmt: skip
    return UViTGenerator(parts, **{"steps": 2, "caption_dropout": 0.0} | options)


def literal(w: dict[str, Tensor], x: Tensor, t: int, words: Tensor, heads: int) -> Tensor:
    """Bao et al. (2022), Fig. 1 and §3.1, for one photo: token by token, head by head."""

    def linear(name: str, tokens: list[Tensor]) -> list[Tensor]:
        bias = w.get(f"{name}.bias", torch.zeros(()))
        return [w[f"{name}.weight"] @ token + bias for token in tokens]

    def norm(name: str, tokens: list[Tensor]) -> list[Tensor]:
        centred = [z - z.mean() for z in tokens]
        scaled = [z / torch.sqrt(z.pow(2).mean() + 1e-5) for z in centred]
        return [w[f"{name}.weight"] * z + w[f"{name}.bias"] for z in scaled]

    def attention(name: str, tokens: list[Tensor]) -> list[Tensor]:
        size = len(tokens[0]) // heads
        queries, keys, values = zip(
            *(z.chunk(3) for z in linear(f"{name}.qkv", tokens)), strict=True
        )
        mixed = []
        for q in queries:
            out = []
            for h in range(heads):
                one = slice(h * size, (h + 1) * size)
                logits = torch.stack([q[one] @ k[one] / math.sqrt(size) for k in keys])
                shares = logits.softmax(0)
                out.append(sum(s * v[one] for s, v in zip(shares, values, strict=True)))
            mixed.append(torch.cat(out))  # type: ignore[arg-type]
        return linear(f"{name}.proj", mixed)

    def block(name: str, tokens: list[Tensor], earlier: list[Tensor] | None) -> list[Tensor]:
        if earlier is not None:
            both = [torch.cat(pair) for pair in zip(tokens, earlier, strict=True)]
            tokens = linear(f"{name}.skip_linear", both)
        more = attention(f"{name}.attn", norm(f"{name}.norm1", tokens))
        tokens = [a + b for a, b in zip(tokens, more, strict=True)]
        inner = [F.gelu(z) for z in linear(f"{name}.mlp.fc1", norm(f"{name}.norm2", tokens))]
        return [a + b for a, b in zip(tokens, linear(f"{name}.mlp.fc2", inner), strict=True)]

    width, side = w["pos_embed"].shape[-1], x.shape[-1] // 2
    waves = [math.exp(-math.log(10_000) * i / (width // 2)) for i in range(width // 2)]
    angles = torch.tensor([(t + 1) * wave for wave in waves])  # levels count from 1
    kernel = w["patch_embed.proj.weight"].flatten(1)
    patches = [
        kernel @ x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].flatten() + w["patch_embed.proj.bias"]
        for i in range(side) for j in range(side)
    ]  # fmt: skip
    tokens = [torch.cat([angles.cos(), angles.sin()]), *linear("context_embed", [*words]), *patches]
    tokens = [z + place for z, place in zip(tokens, w["pos_embed"][0], strict=True)]
    depth = len({name.split(".")[1] for name in w if name.startswith("in_blocks")})
    kept = []
    for i in range(depth):
        tokens = block(f"in_blocks.{i}", tokens, None)
        kept.append(tokens)
    tokens = block("mid_block", tokens, None)
    for i in range(depth):
        tokens = block(f"out_blocks.{i}", tokens, kept[depth - 1 - i])
    out = linear("decoder_pred", norm("norm", tokens)[1 + len(words) :])
    noise = torch.zeros_like(x)
    for n, patch in enumerate(out):
        i, j = divmod(n, side)
        for row in range(2):
            for column in range(2):
                at = 4 * (2 * row + column)
                noise[:, 2 * i + row, 2 * j + column] = patch[at : at + 4]
    weight, bias = w["final_layer.weight"], w["final_layer.bias"]
    return F.conv2d(noise[None], weight, bias, padding=1)[0]


@torch.no_grad()
def test_it_is_the_literal_form(build: SimpleNamespace) -> None:
    unet = generator(build, depth=4).unet.double()
    unet.eval()
    torch.manual_seed(0)
    x, words = torch.randn(2, 4, 4, 4).double(), torch.randn(2, CLIP_LENGTH, 16).double()
    t = torch.tensor([0, 998])
    found = unet(x, t, words).sample
    w = {name: weight.double() for name, weight in unet.state_dict().items()}
    for row in range(2):
        wanted = literal(w, x[row], int(t[row]), words[row], heads=2)
        torch.testing.assert_close(found[row], wanted, rtol=1e-6, atol=1e-6)
    one = unet(x, torch.tensor(998), words, return_dict=False)[0]
    torch.testing.assert_close(one[1], found[1])


def test_activations_computed_again_change_nothing(build: SimpleNamespace) -> None:
    unet = generator(build, depth=4).unet
    torch.manual_seed(0)
    x, words = torch.randn(2, 4, 4, 4), torch.randn(2, CLIP_LENGTH, 16)
    gradients = []
    for again in (False, True):
        unet.zero_grad()
        if again:
            unet.enable_gradient_checkpointing()
        unet(x, torch.tensor(5), words).sample.pow(2).sum().backward()
        gradients.append({n: p.grad.clone() for n, p in unet.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


BLOCKS = {"norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"}


def test_weights_have_the_published_names() -> None:
    """Oracle: the modules of Bao et al.'s `uvit_t2i`, by hand."""
    layers = {f"{place}.{name}" for place in ("in_blocks.0", "mid_block", "out_blocks.0")
              for name in BLOCKS}  # fmt: skip
    layers |= {"patch_embed.proj", "context_embed", "out_blocks.0.skip_linear", "norm",
               "decoder_pred", "final_layer"}  # fmt: skip
    names = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")} | {"pos_embed"}
    names -= {name for name in names if name.endswith("qkv.bias")}
    assert set(UViT(**TINY, depth=2).state_dict()) == names


@pytest.mark.parametrize(
    ("kind", "pairs", "published"), [("uvit-small", 6, 45e6), ("uvit-small-deep", 8, 58e6)]
)
def test_parameters_are_the_published_ones(kind: str, pairs: int, published: float) -> None:
    """Oracles: Bao et al.'s text-to-image table, to the million; and a count by hand. The 44 M that
    both papers give U-ViT-S are its blocks."""
    d = 512
    block = 3 * d * d + (d * d + d) + (8 * d * d + 5 * d) + 4 * d
    blocks = (2 * pairs + 1) * block + pairs * (2 * d * d + d)
    outside = (768 * d + d) + (1 + 77 + 256) * d + (16 * d + d) + 2 * d + (16 * d + 16) + 148
    model = ModelConfig(generator=PartConfig(kind))
    found = imagined("dialog2image", model)
    count = sum(p.numel() for p in found.generator.unet.parameters())  # type: ignore[attr-defined]
    assert count == blocks + outside
    assert count == pytest.approx(published, rel=0.01)
    if kind == "uvit-small":
        assert blocks == pytest.approx(44e6, rel=0.01)


def test_a_published_size_is_planned_by_its_name_alone() -> None:
    """Oracle: Stable Diffusion 1's text encoder and autoencoder, as published."""
    model = ModelConfig(generator=PartConfig("uvit-small"))
    found = estimate(Config(system="dialog2image", model=model), limit=1.0)
    assert {c.name: (c.trained, c.frozen) for c in found.components} == {
        "generator.text_encoder": (0, 123_060_480), "generator.unet": (44_692_644, 0),
        "generator.vae": (0, 83_653_863),
    }  # fmt: skip
    assert found.work.length == 77  # CLIP's tokens


# -- its folder ----------------------------------------------------------------------------------


def loaded(place: Path, kind: str = "uvit") -> Any:
    return Load(ModelConfig(generator=PartConfig(kind, str(place)), draw_steps=2))("generator")


def test_a_folder_draws_the_same_wherever_it_lies(build: SimpleNamespace, tmp_path: Path) -> None:
    made = generator(build, guidance=3.0)
    made.save_pretrained(tmp_path / "there")
    shutil.move(tmp_path / "there", tmp_path / "here")
    assert "there" not in (tmp_path / "here/unet/config.json").read_text()
    again = loaded(tmp_path / "here")
    photos = [g.draw(["a dog"], [seeded(1)])[0].tobytes() for g in (made, again)]
    assert photos[0] == photos[1] != made.draw(["a boat"], [seeded(1)])[0].tobytes()


def test_what_is_no_such_folder_is_named(build: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="UNet2DConditionModel and no U-ViT"):
        loaded(find("weights", "photoworld")("generator"))
    generator(build).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="depth 2, not 12"):
        loaded(tmp_path, "uvit-small")
    (tmp_path / "unet/diffusion_pytorch_model.safetensors").unlink()
    torch.save({}, tmp_path / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"The generator in .*cannot be loaded"):
        loaded(tmp_path)


def test_it_trains_and_goes_on_bit_for_bit(
    build: SimpleNamespace, random_dialogue: Any, tmp_path: Path
) -> None:
    """Oracle: the run that was not interrupted."""
    dialogues = [random_dialogue(seed, photos=0.6) for seed in range(12)]
    recipe = TrainConfig(lr=1e-3, batch=4, micro_batch=2, warmup=2, epochs=1.0, save_minutes=0.0)
    config = Config(sequence=SequenceConfig(max_length=120), train=recipe)

    def run(name: str, steps: int, resume: bool = False) -> list[Any]:
        made = Dialog2Image(generator(build), hashes).freeze()
        calls = iter(range(100))

        def stops(system: Any, step: int) -> dict[str, float]:
            if next(calls) == steps:
                raise MemoryError("killed")
            return scores(system, step)

        often = Config(
            sequence=config.sequence,
            train=TrainConfig(**{**recipe.__dict__, "evaluations_per_epoch": 99.0, "patience": 0}),
        )
        try:
            train(made, dialogues, often, Run(tmp_path / name), stops, resume=resume)
        except MemoryError:
            assert steps < 99
        return curve(tmp_path / name)

    whole = run("whole", 99)
    assert len(run("broken", 2)) < len(whole)
    assert run("broken", 99, resume=True) == whole
    losses = [line["image"] for line in whole if "image" in line]
    assert len(losses) >= 4 and all(map(math.isfinite, losses))


def test_the_text_encoder_may_be_wider_than_the_u_vit(clip_tokenizer: Any) -> None:
    """As CLIP's 768 are wider than U-ViT-S's 512."""
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(clip_tokenizer), hidden_size=24, intermediate_size=24,
            num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=CLIP_LENGTH,
        )
    )  # fmt: skip
    unet = UViT(**TINY | {"text_width": 24}, depth=2)
    ids = torch.zeros(1, CLIP_LENGTH, dtype=torch.long)
    assert unet(torch.zeros(1, 4, 4, 4), torch.tensor(3), text(ids)[0]).sample.shape == (1, 4, 4, 4)
