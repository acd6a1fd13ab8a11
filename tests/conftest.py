"""Tiny random members of every architecture, built in memory in a second."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from PIL import Image

from pscli.dialogue.schema import Dialogue, Photo, Turn

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may depend on a network
# The same examples every time, however slow the machine.
settings.register_profile("steady", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("steady")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Generator[None, Any, Any]:
    """What a failed command printed stands below the failure, from fixtures too."""
    report = yield
    failed = call.excinfo and call.excinfo.value
    if isinstance(failed, subprocess.CalledProcessError):
        printed = [
            x if isinstance(x, str) else x.decode() for x in (failed.output, failed.stderr) if x
        ]
        report.sections.append((f"it ended with {failed.returncode}, printing", "\n".join(printed)))
    return report


CORPUS = [
    " Look at my red dog on the beach!",
    " What a lovely photo, is it yours?",
    " A red dog and a blue boat at the beach.",
    " Yes, send me one of the kitchen at night.",
    " a b c d e f" * 9,
]
COLOURS = ["red", "green", "blue", "black", "white", "yellow"]
VISUAL = 3  # visual tokens a photo
CLIP_LENGTH = 16


def photo(rng: random.Random) -> Photo:
    """A photo of one colour that its caption names, with a corner of another."""
    first, second = rng.sample(COLOURS, 2)
    image = Image.new("RGB", (16, 16), first)
    image.paste(second, (0, 0, 5, 9))
    return Photo(image, f"A {first} dog and a {second} boat")


def dialogue(seed: int, turns: int = 6, photos: float = 0.4) -> Dialogue:
    """A random dialogue of two speakers: texts, photos and both, several in a row."""
    rng = random.Random(seed)
    words = " ".join(CORPUS).split()
    sent = []
    for _ in range(turns):
        shared = photo(rng) if rng.random() < photos else None
        text = " ".join(rng.choices(words, k=rng.randint(0 if shared else 1, 5)))
        sent.append(Turn(rng.choice("XY"), text, shared))
    # Both speak, so that something is supervised.
    return Dialogue((*sent, Turn("X", "Yes"), Turn("Y", "boat")), f"d{seed}")


@pytest.fixture(scope="session")
def random_dialogue() -> Callable[..., Dialogue]:
    return dialogue


@pytest.fixture(scope="session")
def random_photo() -> Callable[[random.Random], Photo]:
    return photo


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """Byte-level BPE with the marks of the template."""
    import torch

    from pscli.photoworld.foundations.speaking import train_llm_tokenizer

    torch.set_num_threads(1)
    return train_llm_tokenizer(CORPUS, 320)


def clip_bpe() -> Any:
    """Another BPE, in the form of CLIP's; the same in every process, which its trainer's is not."""
    from transformers import CLIPTokenizer

    from pscli.photoworld.foundations.speaking import train_clip_tokenizer

    trained = train_clip_tokenizer(CORPUS, 540)
    marks = [trained.bos_token, trained.eos_token]
    tokens = sorted(trained.get_vocab().keys() - set(marks), key=lambda t: (len(t), t))
    vocab = {token: number for number, token in enumerate([*marks, *tokens])}
    pairs = [(t[:i], t[i:]) for t in tokens for i in range(1, len(t))]
    merges = [pair for pair in pairs if all(part in vocab for part in pair)]
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=CLIP_LENGTH)


@pytest.fixture(scope="session")
def clip_tokenizer() -> Any:
    return clip_bpe()


@pytest.fixture(scope="session")
def build(tokenizer: Any, clip_tokenizer: Any) -> SimpleNamespace:
    """Builders of tiny random parts: `llm()`, `perceptron()`, `generator()`, `end_to_end()`, …"""
    import torch
    from diffusers import (
        AutoencoderKL,
        DDPMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import (
        Blip2QFormerConfig,
        Blip2QFormerModel,
        Blip2VisionConfig,
        Blip2VisionModel,
        CLIPTextConfig,
        CLIPTextModel,
        LlamaConfig,
        LlamaForCausalLM,
    )

    from pscli.components.bridge import dvtm
    from pscli.components.generator import StableDiffusion
    from pscli.components.llm import LanguageModel
    from pscli.components.perceptron import QFormerPerceptron
    from pscli.systems.captioner import Captioner
    from pscli.systems.end_to_end import EndToEnd
    from pscli.systems.pipeline import Pipeline

    def llm(seed: int = 0) -> LanguageModel:
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=512, tie_word_embeddings=True,
            initializer_range=0.2, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        return LanguageModel(LlamaForCausalLM(config).eval(), tokenizer)

    def perceptron(seed: int = 1) -> QFormerPerceptron:
        torch.manual_seed(seed)
        vision = Blip2VisionModel(
            Blip2VisionConfig(
                hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
                image_size=16, patch_size=8, initializer_range=0.2,
            )
        )  # fmt: skip
        qformer = Blip2QFormerModel(
            Blip2QFormerConfig(
                hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
                encoder_hidden_size=16, cross_attention_frequency=1, hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0, vocab_size=1, initializer_range=0.2,
            )
        )  # fmt: skip
        return QFormerPerceptron(vision, qformer, VISUAL, 32).eval()

    def generator(
        prediction: str = "v_prediction", seed: int = 2, **options: Any
    ) -> StableDiffusion:
        torch.manual_seed(seed)
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(clip_tokenizer), hidden_size=16, intermediate_size=24,
                num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=CLIP_LENGTH,
                bos_token_id=clip_tokenizer.bos_token_id, initializer_range=0.2,
                eos_token_id=clip_tokenizer.eos_token_id, pad_token_id=clip_tokenizer.pad_token_id,
            )
        )  # fmt: skip
        unet = UNet2DConditionModel(
            sample_size=4, in_channels=4, out_channels=4, layers_per_block=1,
            block_out_channels=(8, 16), cross_attention_dim=16, norm_num_groups=4,
            attention_head_dim=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        )  # fmt: skip
        vae = AutoencoderKL(
            block_out_channels=(8, 8, 8), layers_per_block=1, latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=4, mid_block_add_attention=False, sample_size=16, scaling_factor=0.5,
        )  # fmt: skip
        scheduler = DDPMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
            prediction_type=prediction,
        )  # fmt: skip
        pipeline = StableDiffusionPipeline(
            vae=vae.eval(), text_encoder=text.eval(), tokenizer=clip_tokenizer, unet=unet.eval(),
            scheduler=scheduler, safety_checker=None, feature_extractor=None,
            requires_safety_checker=False,
        )  # fmt: skip
        return StableDiffusion(pipeline, **{"steps": 2, "caption_dropout": 0.0} | options)

    def end_to_end(bridge: Any = dvtm, caption_source: str = "sampled", **options: Any) -> EndToEnd:
        return EndToEnd(perceptron(), llm(), bridge, generator(**options), caption_source)

    def pipeline(**options: Any) -> Pipeline:
        return Pipeline(Captioner(perceptron(), llm(seed=3)), llm(), generator(**options))

    return SimpleNamespace(
        llm=llm, perceptron=perceptron, generator=generator, end_to_end=end_to_end,
        pipeline=pipeline,
    )  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium; without one, or without playwright, the test is skipped."""
    sync_api = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs a Chromium")
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()
