"""Folders in the layouts of the published models: loaded, trained, resumed, answered with."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image, ImageChops
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Blip2ForConditionalGeneration,
    Blip2Model,
    Blip2Processor,
)

from hub import serving
from layouts import LAYOUTS, gguf_file, make
from pscli.components.adapters import is_adapter
from pscli.components.generator import StableDiffusion
from pscli.components.llm import LanguageModel
from pscli.components.perceptron import LinearPerceptron, QFormerPerceptron
from pscli.components.vision import Pixels
from pscli.config import Config, ModelConfig, PartConfig, SequenceConfig
from pscli.datasets.photochat import photochat
from pscli.datasets.records import Dropped
from pscli.dialogue.batch import collate
from pscli.dialogue.schema import Dialogue, Photo, Turn
from pscli.dialogue.sequence import PHOTO, Packed
from pscli.errors import CheckpointError, ConfigError
from pscli.runs import Run
from pscli.systems.agent import Agent, build
from pscli.systems.base import Question
from pscli.systems.captioner import Blip2Captioner
from pscli.training.loop import train
from test_sources import PHOTOCHAT
from test_training import RECIPE, curve, killed, scores

LLAMA, QWEN, GPT2, BLIP2, CLIP, SIGLIP, SD21, SD21_768, EULER, HALF, SD15 = LAYOUTS
LORA = {"lora": 2, "dtype": "bfloat16"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


def odd_photos(count: int = 10) -> list[Image.Image]:
    rng = random.Random(0)
    sizes = [(rng.randint(9, 90), rng.randint(9, 90)) for _ in range(count)]
    return [Image.effect_noise(size, 60).convert("RGB") for size in sizes]


def settings(
    root: Path, llm: str, seer: str, generator: str, /, system: str = "e2e", **parts: Any
) -> Config:
    """Args: parts: more of `llm` and `generator`."""
    kind = "qformer" if seer == BLIP2 else "linear"
    more = {"variant": "fp16"} if generator == HALF else {}
    model = ModelConfig(
        perceptron=PartConfig(kind, str(make(root, seer)), **parts.get("perceptron", {})),
        llm=PartConfig("causal", str(make(root, llm)), **parts.get("llm", {})),
        generator=PartConfig(
            "stable-diffusion", str(make(root, generator)), **more, **parts.get("generator", {})
        ),
        draw_steps=2,
    )
    recipe = dataclasses.replace(RECIPE, epochs=1.0, batch=4, save_minutes=0.0)
    lengths = SequenceConfig(max_length=256, max_new_tokens=8)
    return Config(system=system, model=model, sequence=lengths, train=recipe)


# -- what is loaded ------------------------------------------------------------------------------


def test_pixels_and_visual_embeddings_are_blip_2s_own(root: Path) -> None:
    """Oracles: Blip2Processor and Blip2Model."""
    place, photos = make(root, BLIP2), odd_photos()
    seer = QFormerPerceptron.from_pretrained(place, width=32)
    wanted = Blip2Processor.from_pretrained(place).image_processor(photos, return_tensors="pt")
    torch.testing.assert_close(seer.pixels(photos), wanted["pixel_values"], atol=1e-6, rtol=0)
    whole = Blip2Model.from_pretrained(place).eval()
    with torch.no_grad():
        seen = whole.get_qformer_features(pixel_values=wanted["pixel_values"])
        queries = seer.queries.expand(len(photos), -1, -1)
        ours = seer.qformer(query_embeds=queries, encoder_hidden_states=seer.look(photos))
        assert seer(seer.look(photos)).shape == (10, 4, 32)
    theirs = getattr(seen, "last_hidden_state", seen)
    torch.testing.assert_close(ours.last_hidden_state, theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", [CLIP, SIGLIP, BLIP2])
def test_a_vision_model_alone_is_seen_patch_by_patch(root: Path, tmp_path: Path, name: str) -> None:
    """Without the class token where there is one; 28 px in patches of 14 are four."""
    photos = odd_photos(3)
    seer = LinearPerceptron.from_pretrained(make(root, name), width=32)
    patches = seer.look(photos)
    assert patches.shape[1] == (4 if name == SIGLIP else 5)
    visual = seer(patches)
    assert visual.shape == (3, 4, 32)
    torch.testing.assert_close(visual, seer.projection(patches[:, -4:]))
    seer.save_pretrained(tmp_path)
    again = LinearPerceptron.from_pretrained(tmp_path)
    assert torch.equal(again(again.look(photos)), visual)


def test_photos_are_cropped_where_the_processor_says_so(root: Path) -> None:
    """CLIP scales the short side and takes the middle: a wide photo loses both ends."""
    wide = Image.new("RGB", (84, 28), "red")
    wide.paste("blue", (28, 0, 56, 28))
    pixels = Pixels.from_pretrained(make(root, CLIP))
    assert pixels is not None
    seen = pixels([wide])[0]
    assert seen.shape == (3, 28, 28)
    assert float(seen[2].min()) == pytest.approx((1 - 0.40821073) / 0.27577711, abs=1e-5)


@pytest.mark.parametrize("name", [LLAMA, QWEN, GPT2])
def test_every_llm_learns_the_marks_and_loads_in_the_librarys_own_class(
    root: Path, tmp_path: Path, name: str
) -> None:
    llm = LanguageModel.from_pretrained(make(root, name))
    before = AutoModelForCausalLM.from_pretrained(make(root, name), dtype=torch.float32)
    rows, read = before.get_input_embeddings().weight, llm.model.get_input_embeddings().weight
    plain = AutoTokenizer.from_pretrained(make(root, name))
    known = min(len(rows), len(plain))  # some have rows to spare, and marks get those
    assert torch.equal(read[:known], rows[:known])
    bracket = plain(" [", add_special_tokens=False).input_ids[0]
    assert torch.equal(read[known], rows[bracket])
    ids = [llm.tokenizer.convert_tokens_to_ids(mark) for mark in ("[IMG]", "[/IMG]", PHOTO)]
    assert max(ids) < llm.vocabulary and len(set(ids)) == 3
    assert llm.tokenizer.bos_token_id is not None
    llm.save_pretrained(tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    words = torch.tensor([[3, *ids]])
    torch.testing.assert_close(theirs(words).logits, llm.model(words).logits)
    assert AutoTokenizer.from_pretrained(tmp_path).convert_tokens_to_ids("[IMG]") == ids[0]


def test_a_gguf_file_is_the_model_that_it_was_made_of(root: Path, tmp_path: Path) -> None:
    """Oracle: the same weights in a folder. What is loaded can be saved, and trains."""
    folder, file = make(root, LLAMA), tmp_path / "model.gguf"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    gguf_file(file, model, tokenizer)
    llm = LanguageModel.from_pretrained(file)
    words = torch.tensor([tokenizer(" Look at my red dog!").input_ids])
    assert (
        llm.tokenizer(" Look at my red dog!", add_special_tokens=False).input_ids
        == words[0].tolist()
    )
    torch.testing.assert_close(
        llm.model(words).logits[..., : len(tokenizer)], model(words).logits, atol=1e-5, rtol=1e-5
    )
    llm.save_pretrained(tmp_path / "saved")
    again = LanguageModel.from_pretrained(tmp_path / "saved")
    assert torch.equal(again.model(words).logits, llm.model(words).logits)
    llm.model(words, labels=words).loss.backward()
    assert all(p.grad is not None for p in llm.model.parameters())


def test_new_rows_and_projections_are_the_same_every_time(root: Path) -> None:
    torch.manual_seed(1)
    first = build("e2e", settings(root, LLAMA, BLIP2, SD21).model)
    torch.manual_seed(2)
    again = build("e2e", settings(root, LLAMA, BLIP2, SD21).model)
    for (name, a), b in zip(first.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b), name


# -- trained, resumed, answered with -------------------------------------------------------------

COMBINATIONS = {
    "llama, blip-2, sd 2.1": ((LLAMA, BLIP2, SD21), "e2e", {}),
    "qwen, siglip, fp16 files": ((QWEN, SIGLIP, HALF), "e2e", {}),
    "gpt-2, clip, 768 px": ((GPT2, CLIP, SD21_768), "e2e", {}),
    "llama, blip-2, euler, adapters": (
        (LLAMA, BLIP2, EULER), "e2e",
        {"llm": LORA, "generator": LORA, "perceptron": {"dtype": "bfloat16"}},
    ),
    "llama in 4 bits, adapters": (
        (LLAMA, CLIP, SD21), "e2e", {"llm": LORA | {"quantize": "4bit"}, "generator": LORA},
    ),
    "pipeline, qwen, sd 1.5": ((QWEN, BLIP2, SD15), "pipeline", {}),
    "pipeline, adapters": ((GPT2, BLIP2, SD21), "pipeline", {"llm": LORA, "generator": LORA}),
}  # fmt: skip


@pytest.mark.parametrize("name", COMBINATIONS)
def test_it_trains_resumes_bit_for_bit_is_saved_and_answers_from_another_folder(
    root: Path, tmp_path: Path, name: str, random_dialogue: Any
) -> None:
    """Oracle: the run that was never interrupted."""
    places, kind, parts = COMBINATIONS[name]
    if "bits" in name:
        pytest.importorskip("bitsandbytes")
    config = settings(root, *places, system=kind, **parts)
    dialogues = [random_dialogue(i) for i in range(10)]
    system = build(kind, config.model)
    before = {n: p.detach().clone() for n, p in system.named_parameters()}
    train(system, dialogues, config, Run(tmp_path / "whole"), scores)

    broken = Run(tmp_path / "broken")
    killed(2, build(kind, config.model), dialogues, config, broken, scores)
    resumed = build(kind, config.model)
    train(resumed, dialogues, config, broken, scores, resume=True)
    assert curve(broken.folder) == curve(tmp_path / "whole")
    assert len(curve(broken.folder)) > 3
    for (n, a), b in zip(system.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b), n
        assert not a.requires_grad or a.dtype == torch.float32
    if parts:
        trained = [n for n, p in system.named_parameters() if p.requires_grad]
        assert all(is_adapter(n) or n.startswith("perceptron.") for n in trained)
        still = [n for n in trained if torch.equal(before[n], system.get_parameter(n))]
        assert not still

    Agent(system, config).save_pretrained(tmp_path / "agent")
    shutil.move(tmp_path / "agent", tmp_path / "moved")
    agent = Agent.from_pretrained(tmp_path / "moved", device="cpu")
    photo = Photo(odd_photos(1)[0], "noise")
    talk = Dialogue((Turn("A", "Look!", photo), Turn("B", "Nice. Yours?")), "d")
    asked = [Question(talk.responses, "A", "d/2")]
    system.eval()
    assert Agent(system, config).respond_all(asked) == agent.respond_all(asked)
    assert len(agent.system.draw(["a red dog"], [torch.Generator().manual_seed(0)])) == 1


def test_photos_are_drawn_as_many_together_as_memory_lets(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: those that are drawn all at once; sums of floats may round otherwise."""
    generator = StableDiffusion.from_pretrained(make(root, SD21), steps=2)
    captions = ["a red dog", "two kites", "rain"]

    def draw() -> list[Image.Image]:
        return generator.draw(captions, [torch.Generator().manual_seed(i) for i in range(3)])

    assert generator.together > 1_000  # of so few pixels
    at_once = draw()
    monkeypatch.setattr("pscli.components.generator.DECODING", 2**30 / generator.size**2)
    assert generator.together == 2
    for one, other in zip(draw(), at_once, strict=True):
        assert ImageChops.difference(one, other).getextrema() <= ((0, 1),) * 3
    assert generator.draw([], []) == []


def test_the_captioner_of_a_pipeline_is_blip_2s_own(root: Path) -> None:
    """Oracle: Blip2ForConditionalGeneration with its processor."""
    place = make(root, BLIP2)
    system = build("pipeline", settings(root, GPT2, BLIP2, SD21, "pipeline").model)
    captioner: Any = system.get_submodule("captioner")
    assert isinstance(captioner, Blip2Captioner)
    image = odd_photos(1)[0]
    processor = Blip2Processor.from_pretrained(place)
    model = Blip2ForConditionalGeneration.from_pretrained(place).eval()
    pixels = processor.image_processor(image, return_tensors="pt")
    ids = model.generate(**pixels, max_new_tokens=40, do_sample=False)
    wanted = processor.tokenizer.batch_decode(ids, skip_special_tokens=True)[0].strip()
    assert captioner.describe([Photo(image)]) == [wanted]


def test_adapters_load_in_the_libraries_own_classes(root: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline
    from peft import PeftModel

    config = settings(root, LLAMA, BLIP2, SD21, llm=LORA, generator={"lora": 2})
    system: Any = build("e2e", config.model)
    with torch.no_grad():  # new adapters change nothing
        for name, parameter in system.named_parameters():
            if is_adapter(name):
                parameter.add_(0.01)
    Agent(system, config).save_pretrained(tmp_path / "agent")
    base = AutoModelForCausalLM.from_pretrained(make(root, LLAMA), dtype=torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "agent/llm")
    base.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    theirs = PeftModel.from_pretrained(base, str(tmp_path / "agent/llm"))
    # All rows but <pad>, which nothing reads and nothing saves, are the same.
    ids = [i for i in range(len(tokenizer)) if i != tokenizer.pad_token_id]
    words = torch.tensor([ids[-3:]])
    ours = system.llm.model(words).logits[..., ids]
    torch.testing.assert_close(theirs(words).logits[..., ids], ours)
    pipeline = StableDiffusionPipeline.from_pretrained(make(root, SD21))
    pipeline.load_lora_weights(tmp_path / "agent/generator")
    sample, text = torch.randn(1, 4, 4, 4), torch.randn(1, 5, 16)
    torch.testing.assert_close(
        pipeline.unet(sample, 3, text).sample, system.generator.unet(sample, 3, text).sample
    )


# -- refused in one line -------------------------------------------------------------------------


def without_a_shard(folder: Path) -> None:
    next(folder.glob("model-00002-*")).unlink()


def pickled(folder: Path) -> None:
    for path in folder.glob("model*"):
        path.unlink()
    torch.save({}, folder / "pytorch_model.bin")


def of_another_class(folder: Path) -> None:
    pairs = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(pairs | {"model_type": "bert"}))


@pytest.mark.parametrize("part", [LLAMA, BLIP2])
@pytest.mark.parametrize("harm", [without_a_shard, pickled, of_another_class])
def test_a_broken_folder_is_one_line(root: Path, tmp_path: Path, part: str, harm: Any) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(make(root, part), copied)
    harm(copied)
    model = settings(root, LLAMA, BLIP2, SD21).model
    which = "llm" if part == LLAMA else "perceptron"
    changed = dataclasses.replace(getattr(model, which), weights=str(copied))
    with pytest.raises(CheckpointError, match=f"The {which} in .*cannot be loaded"):
        build("e2e", dataclasses.replace(model, **{which: changed}))


def test_what_does_not_fit_is_told(root: Path, tmp_path: Path) -> None:
    model = settings(root, GPT2, BLIP2, SD21).model
    QFormerPerceptron.from_pretrained(make(root, BLIP2), width=64).save_pretrained(tmp_path)
    wide = dataclasses.replace(model.perceptron, weights=str(tmp_path))
    with pytest.raises(ConfigError, match="width 64, the LLM reads 32"):
        build("e2e", dataclasses.replace(model, perceptron=wide))
    fp16 = dataclasses.replace(model.generator, weights=str(make(root, HALF)))
    with pytest.raises(CheckpointError, match="variant=fp16"):
        build("e2e", dataclasses.replace(model, generator=fp16))
    clip = dataclasses.replace(model.perceptron, weights=str(make(root, CLIP)))
    with pytest.raises(CheckpointError, match="--perceptron linear"):
        build("e2e", dataclasses.replace(model, perceptron=clip))
    with pytest.raises(ConfigError, match="1,024 tokens at most"):
        build("e2e", model).template(1025)


# -- by id, from a hub ---------------------------------------------------------------------------

BY_ID = """
import itertools, json, shutil, sys
from pathlib import Path
from typer.testing import CliRunner
from pscli.cli import app
from pscli.training import loop

command, here, *settings = sys.argv[1:]

def run(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    if result.exit_code not in (0, 1) or result.exit_code and not stop:
        raise SystemExit(result.stderr + repr(result.exception))

clip, stop, calls = loop.clip, False, itertools.count()

def stopping(*arguments):
    if stop and next(calls) == 2:
        raise MemoryError("killed")
    return clip(*arguments)

loop.clip = stopping
sets = [word for setting in settings for word in ("--set", setting)]
whole, broken = Path(here, "whole"), Path(here, "broken")
train = [command, "--dataset", "photoworld", *sets]
run(*train, "--run", str(whole))
stop = True
run(*train, "--run", str(broken))
stop = False
run(command, "--dataset", "photoworld", "--run", str(broken), "--resume")
shutil.move(broken / "agent", Path(here, "moved"))
run("generate", "--dataset", "photoworld", "--count", "2", "--agent", str(Path(here, "moved")),
    "--out", str(Path(here, "preds")))
"""


def of_three_steps(llm: str, seer: str, generator: str, qformer: bool, half: bool) -> list[str]:
    settings = {
        "model.llm.weights": llm, "model.perceptron.weights": seer,
        "model.perceptron.kind": "qformer" if qformer else "linear",
        "model.generator.weights": generator, "model.draw_steps": 2,
        "sequence.max_length": 1000, "sequence.max_new_tokens": 8,
        "train.dialogues": 6, "train.batch": 2, "train.epochs": 1, "train.save_minutes": 0,
        "train.eval_dialogues": 1, "train.monitor": "BLEU-2",
        "train.memory_gb": 1000,  # the names are those of larger models
    }  # fmt: skip
    if half:
        settings["model.generator.variant"] = "fp16"
    return [f"{name}={value}" for name, value in settings.items()]


@pytest.mark.parametrize(
    ("llm", "seer", "generator", "system"),
    [
        (LLAMA, BLIP2, SD21, "e2e"),
        *(pytest.param(*parts, marks=pytest.mark.slow) for parts in (
            (QWEN, CLIP, SD15, "e2e"), (GPT2, SIGLIP, HALF, "e2e"),
            (GPT2, BLIP2, SD21_768, "pipeline"), (LLAMA, BLIP2, EULER, "pipeline"),
        )),
    ],
)  # fmt: skip
def test_parts_that_come_by_id_from_a_hub_train_resume_and_answer(
    root: Path, tmp_path: Path, llm: str, seer: str, generator: str, system: str
) -> None:
    """Oracles: the run that was never interrupted, and one from the folders that the hub serves.

    Of BLIP-2 only the shards that are needed come.
    """
    places = {name: make(root, name) for name in (llm, seer, generator)}
    asked: list[str] = []
    with serving(root, asked) as address:
        variables = {
            "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        for kind in ("hub", "folders"):
            at = [name if kind == "hub" else str(places[name]) for name in (llm, seer, generator)]
            done = subprocess.run(
                [sys.executable, "-c", BY_ID, f"train-{system}", str(tmp_path / kind),
                 *of_three_steps(*at, seer == BLIP2, generator == HALF)],
                env={**os.environ, **variables}, capture_output=True, text=True, timeout=600,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
    whole = curve(tmp_path / "hub/whole")
    assert sum("loss" in line for line in whole) == 3
    assert whole == curve(tmp_path / "hub/broken") == curve(tmp_path / "folders/whole")
    said = [
        (tmp_path / kind / "preds/predictions.jsonl").read_text() for kind in ("hub", "folders")
    ]
    assert said[0] == said[1] and said[0].count("\n") > 2
    shards = {path.name for path in make(root, BLIP2).glob("*.safetensors")}
    came = {name.partition("/")[2] for name in asked if "blip2" in name}
    if (seer, system) == (BLIP2, "e2e"):
        assert shards & came and shards - came


# -- exactness -----------------------------------------------------------------------------------


def losses_and_gradients(system: Any, sequences: list[Packed]) -> tuple[Tensor, dict[str, Tensor]]:
    system.zero_grad()
    total = torch.zeros(2)
    for packed in sequences:
        batch = system.prepare(collate([packed], system.llm.tokenizer.pad_token_id))
        losses = system(batch, 0.7, "0/0")
        (losses.text + losses.image).backward()
        total += torch.stack([losses.text.detach(), losses.image.detach()])
    found = {n: p.grad.clone() for n, p in system.named_parameters() if p.grad is not None}
    return total, found


@pytest.mark.parametrize("name", [LLAMA, QWEN, GPT2])
def test_packed_sequences_are_worth_their_responses_one_by_one(root: Path, name: str) -> None:
    """Losses and gradients, on real dialogues; a third of the tokens or less."""
    if not PHOTOCHAT.is_dir():
        pytest.skip("the real files are not here")
    drop = Dropped()
    read = itertools.islice(photochat().read("dev", PHOTOCHAT, drop), 4)
    dialogues = []
    for dialogue in read:  # their photos are not here: noise in the place of each
        turns = [
            dataclasses.replace(t, photo=Photo(odd_photos(1)[0], t.photo.caption))
            if t.photo is not None else t
            for t in dialogue.turns
        ]  # fmt: skip
        dialogues.append(dataclasses.replace(dialogue, turns=tuple(turns)))
    system: Any = build("e2e", settings(root, name, BLIP2, SD21).model).eval()
    template = dataclasses.replace(system.template(512), max_length=1_000)
    packed, single = [], []
    for d in dialogues:
        (whole,) = template.pack(d)
        packed.append(whole)
        names = template.names(r.speaker for r in d.responses)
        said = [
            template.said(r, names[r.speaker], f"{d.id}/{i}") for i, r in enumerate(d.responses)
        ]
        single += [template._sequence(said, 0, i + 1, {i}) for i in range(1, len(said))]
    together, gradients = losses_and_gradients(system, packed)
    alone, wanted = losses_and_gradients(system, single)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    assert gradients.keys() == wanted.keys()
    for key, gradient in wanted.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(gradients[key], gradient, rtol=0, atol=1e-5 + 1e-5 * scale)
    assert sum(map(len, single)) >= 3 * sum(map(len, packed))


def test_bf16_traces_the_curve_of_float32(root: Path, tmp_path: Path, random_dialogue: Any) -> None:
    """Oracle: the same 20 steps in float32; losses of about 6 differ by 1e-2 at most."""
    curves = []
    for precision in ("no", "bf16"):
        AcceleratorState._reset_state()  # it would be that of the whole process
        config = settings(root, LLAMA, BLIP2, SD21)
        recipe = dataclasses.replace(
            config.train, epochs=20 / 3, precision=precision, lr=1e-4, patience=99
        )
        config = dataclasses.replace(config, train=recipe)
        dialogues = [random_dialogue(i) for i in range(10)]
        run = Run(tmp_path / precision)
        train(build("e2e", config.model), dialogues, config, run, scores)
        curves.append([line["loss"] for line in curve(run.folder) if "loss" in line])
    assert len(curves[0]) == 20
    for full, half in zip(*curves, strict=True):
        assert half == pytest.approx(full, rel=1e-2)
    assert curves[0] != curves[1]
    AcceleratorState._reset_state()
