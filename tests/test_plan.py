"""Planning: parameters, memory and work of runs that are never started."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from typer.testing import CliRunner

from pscli.cli import app
from pscli.cli.train import configured
from pscli.components.load import refuse_unread
from pscli.config import Config, changed, lora_24gb, paper, small, tiny
from pscli.errors import CheckpointError, ConfigError
from pscli.files import read_json, write_json
from pscli.plan import advice
from pscli.plan.advice import Advice, candidates, command, refuse_too_large, remedy
from pscli.plan.estimate import Estimate, estimate, watching
from pscli.plan.machine import Machine
from pscli.plan.parts import imagined
from pscli.plan.trace import Trace
from pscli.plan.work import Work, batch_of, busy, dealt, longest
from pscli.registry import TABLES, find
from pscli.systems.agent import build
from pscli.systems.divter import sun2022

PUBLISHED = {  # as the models' own pages and papers count them
    ("paper", "llm"): 6_738_415_616 + 32_768,  # four new rows of 4,096, in and out
    ("paper", "perceptron.vision"): 986_543_616,
    ("paper", "perceptron.qformer"): 105_137_664,
    ("paper", "perceptron.queries"): 24_576,
    ("paper", "perceptron.projection"): 3_149_824,
    ("paper", "generator.text_encoder"): 340_387_840,
    ("paper", "generator.unet"): 865_910_724,
    ("paper", "generator.vae"): 83_653_863,
    ("small", "llm"): 134_515_008 + 3 * 576,  # tied
    ("small", "perceptron.vision"): 92_884_224,
    ("small", "generator.text_encoder"): 123_060_480,
    ("small", "generator.unet"): 323_384_964,
    ("small", "generator.vae"): 83_653_863,
}
FIXED = 1.0  # bytes that no run fits into: nothing is traced then


@pytest.fixture(scope="module")
def fixed() -> dict[str, Estimate]:
    return {preset().preset: estimate(preset(), limit=FIXED) for preset in (paper, small)}


@pytest.mark.parametrize(("preset", "part"), PUBLISHED)
def test_parameters_are_the_published_ones(
    fixed: dict[str, Estimate], preset: str, part: str
) -> None:
    (found,) = (c for c in fixed[preset].components if c.name == part)
    assert found.trained + found.frozen == pytest.approx(PUBLISHED[preset, part], rel=1e-3)
    assert (found.frozen == 0) == (part not in ("perceptron.vision", "generator.vae"))


def test_the_captioner_of_the_paper_s_pipeline_is_blip_2_whole() -> None:
    """Oracle: OPT-2.7b's published 2,651,596,800, 32 rows of width 2,560 more for <image>, the
    projection, and the paper's perceptron."""
    found = estimate(replace(paper(), system="pipeline"), limit=FIXED)
    (captioner,) = (c for c in found.components if c.name == "captioner")
    seeing = PUBLISHED["paper", "perceptron.vision"] + 105_137_664 + 24_576
    assert captioner.trained == 0
    assert captioner.frozen == 2_651_596_800 + 32 * 2_560 + 768 * 2_560 + 2_560 + seeing


def test_the_paper_s_weights_gradients_and_moments(fixed: dict[str, Estimate]) -> None:
    """Oracle: float32 has 4 bytes, AdamW two moments, and the two encoders do not train."""
    count = {part: n for (preset, part), n in PUBLISHED.items() if preset == "paper"}
    frozen = count["perceptron.vision"] + count["generator.vae"]
    trained = sum(count.values()) - frozen
    found = fixed["paper"]
    assert found.weights == pytest.approx(4 * (trained + frozen), rel=0.02)
    assert found.gradients == pytest.approx(4 * trained, rel=0.02)
    assert found.optimizer == pytest.approx(8 * trained, rel=0.02)
    assert (found.weights + found.gradients + found.optimizer) / 1e9 == pytest.approx(133, abs=0.5)
    assert found.checkpoints == pytest.approx(2 * 12 * trained, rel=0.02)


def test_eight_devices_share_them(fixed: dict[str, Estimate]) -> None:
    """Beside an eighth there are two layers whole: the token embeddings, 32,004 × 4,096."""
    one, each = fixed["paper"], estimate(paper(), limit=FIXED, devices=8)
    assert each.gradients == one.gradients / 8 and each.optimizer == one.optimizer / 8
    assert each.weights == pytest.approx(one.weights / 8 + 2 * 4 * 32_004 * 4_096, rel=1e-3)


def test_adapters_four_bits_and_8_bit_moments() -> None:
    """Oracle: linear layers of Llama-2 are all but embeddings, head and norms; 4 bits and a
    float32 scale for 64 values. Rank 16 on each is 16 (in + out)."""
    found = estimate(lora_24gb(), limit=FIXED)
    llm = next(c for c in found.components if c.name == "llm")
    d, inner, layers = 4096, 11008, 32
    linear = layers * (4 * d * d + 3 * d * inner)
    rest = 6_738_415_616 + 32_768 - linear  # bf16
    adapters = layers * 16 * (4 * 2 * d + 3 * (d + inner))
    assert llm.trained == pytest.approx(adapters, rel=1e-3)
    assert llm.weights == pytest.approx(linear * (0.5 + 4 / 64) + 2 * rest + 4 * adapters, rel=1e-3)
    trained = sum(c.trained for c in found.components)
    assert found.gradients == 4 * trained
    assert found.optimizer == pytest.approx(2 * trained * (1 + 4 / 256), rel=0.01)
    perceptron = sum(c.weights for c in found.components if c.name.startswith("perceptron"))
    unet = next(c for c in found.components if c.name == "generator.unet")
    assert found.agent == 4 * (llm.trained + unet.trained) + perceptron


# -- a step ------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", [paper, pytest.param(lora_24gb, marks=pytest.mark.slow)])
def test_the_paper_s_equations_in_fake_tensors(preset: Callable[[], Config]) -> None:
    """Eqs. 1-13 forward and backward through the parts as published, without their weights."""
    system = imagined("e2e", preset().model).recompute()
    assert {p.device.type for p in system.parameters()} == {"cpu"}
    work = Work(sequences=1, length=96, supervised=30, seen=1, drawn=2, caption=12)
    trace = watching(system)
    with trace:
        with torch.autocast("cpu", torch.bfloat16):
            losses = system(batch_of(work, system), 0.5, "seed")
        loss = losses.text + losses.image
        loss.backward()
    assert losses.text.shape == losses.image.shape == loss.shape == ()
    for name, parameter in system.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.shape == parameter.shape
        else:
            assert parameter.grad is None


def test_a_trace_is_what_a_layer_holds_and_computes() -> None:
    """Oracle: [N, A] @ [A, B], its exponential, and their gradients, by hand."""
    n, a, b = 64, 32, 128
    with FakeTensorMode():
        x, w = torch.empty(n, a), torch.empty(a, b, requires_grad=True)
    trace = Trace(vocabulary=b)
    trace.know(x)
    trace.know(w)
    with trace:
        loss = (x @ w).exp().sum()
        loss.backward()
    assert trace.flops == 2 * 2 * n * a * b  # forward, and the gradient of w
    # exp's result is kept; its input, and later the two gradients of this shape, come and go
    assert trace.logits in (2 * 4 * n * b, 2 * 4 * n * b + 4 * a * b)
    assert sum(trace.peak.values()) < 3 * 4 * n * b + 4 * a * b + 64
    del loss
    assert sum(trace.live.values()) <= 4 * a * b  # the gradient of w


def test_known_values_make_shapes_known() -> None:
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        x = torch.empty(3, 4, requires_grad=True)
    mask = torch.tensor([True, False, True])
    with Trace():
        chosen = x[mask]
        chosen.sum().backward()
        likeliest = x.argmax(-1)
    assert chosen.shape == (2, 4) and x.grad is not None
    assert likeliest.tolist() == [0, 0, 0]


def test_a_busy_micro_batch() -> None:
    """Hand counts."""
    assert busy([2, 2, 2], 4) == 8
    assert busy([0, 2], 9) == 9 + 2 * 3  # mean 1, deviation 1
    assert busy([0, 0, 0, 3], 1) == 3  # 0.75 + 2 × 1.3 would be 4
    assert [dealt(7, row, 3) for row in range(3)] == [3, 2, 2]
    assert longest(2, 90) == Work(2, 90, 60, 6, 4, mean=90)


# -- what fits ---------------------------------------------------------------------------------


def test_a_dataset_means_a_preset() -> None:
    assert configured("e2e", None, {"dataset": "dialogcc"}).preset == "paper"
    assert configured("e2e", None, {}).preset == "tiny"
    assert configured("e2e", None, {"dataset": "own:Data"}).preset == "tiny"
    assert configured("e2e", "demo", {"dataset": "photochat"}).preset == "demo"


def test_changes_come_from_cheap_to_dear(fixed: dict[str, Estimate]) -> None:
    config = changed(replace(paper(), dataset="dialogcc"), "train.micro_batch", 8)
    config = changed(config, "train.dialogues", 9)
    now = replace(fixed["paper"], activations=80e9)
    there = Machine("cuda", "this GPU", now.fixed + 50e9)
    found = list(candidates(config, now, there))
    assert [c.train.micro_batch for c in found][:2] == [4, 1]
    assert found[2].model.perceptron.dtype == "bfloat16"
    assert found[3].train.optimizer == "adamw-8bit"
    assert [c.preset for c in found[4:]] == ["lora-24gb", "small"]
    assert {(c.dataset, c.train.dialogues) for c in found} == {("dialogcc", 9)}


def test_no_preset_puts_another_kind_of_generator_in_its_place(fixed: dict[str, Estimate]) -> None:
    there = Machine("cuda", "this GPU", 24e9)

    def presets(dataset: str) -> list[str]:
        config = replace(sun2022("divter"), dataset=dataset)
        found = candidates(config, fixed["paper"], there)
        return [c.preset for c in found if c.preset != "sun2022"]

    assert presets("photochat") == [] and presets("photoworld") == ["tiny"]


def test_no_change_is_of_a_part_that_a_system_lacks(fixed: dict[str, Estimate]) -> None:
    config = replace(paper(), system="dialog2image")
    found = candidates(config, fixed["paper"], Machine("cuda", "this GPU", 24e9))
    dtypes = {c.model.perceptron.dtype for c in found if c.preset == "paper"}
    assert dtypes == {"float32"}


IDLE = {
    "model.perceptron.quantize": ("4bit", "perceptron 'qformer' has no quantize"),
    "model.perceptron.lora": (4, "perceptron 'qformer' has no lora"),
    "model.generator.quantize": ("8bit", "generator 'stable-diffusion' has no quantize"),
    "model.llm.quantize": ("4bit", "only adapters"),
}


@pytest.mark.parametrize("name", IDLE)
def test_what_no_part_reads_is_refused_by_plan_and_by_training(name: str) -> None:
    value, said = IDLE[name]
    config = changed(tiny(), name, value)
    for make in (imagined, build):
        with pytest.raises(ConfigError, match=said):
            make("e2e", config.model)


def test_so_is_what_a_captioner_does_not_read() -> None:
    config = changed(tiny("pipeline"), "model.perceptron.lora", 4)
    for make in (imagined, build):
        with pytest.raises(ConfigError, match="'qformer' has no lora"):
            make("pipeline", config.model)


def test_no_preset_is_refused_by_a_system() -> None:
    for preset, system in itertools.product(TABLES["preset"], TABLES["system"]):
        config = find("preset", preset)(system)
        refuse_unread(config.model, find("system", system).uses)


def test_training_tells_it_once(tmp_path: Path) -> None:
    """Not also as something that keeps memory from being known."""
    run = ["train-e2e", "--run", str(tmp_path / "r"), "--set", "model.perceptron.lora=4"]
    said = CliRunner().invoke(app, run)
    assert said.exit_code == 2 and said.stderr.count("has no lora") == 1


def test_a_noise_predictor_that_tells_no_name_is_a_u_net(tmp_path: Path) -> None:
    shutil.copytree(Path(find("weights", "photoworld")("generator")), tmp_path / "generator")
    file = tmp_path / "generator/unet/config.json"
    write_json(file, {k: v for k, v in read_json(file).items() if k != "_class_name"})
    config = changed(tiny(), "model.generator.weights", str(tmp_path / "generator"))
    imagined("e2e", config.model)
    build("e2e", config.model)


@pytest.mark.parametrize(
    ("kind", "said"), [("uvit", "no U-ViT"), ("stable-diffusion", "no UNet2DConditionModel")]
)
def test_a_noise_predictor_of_another_kind_is_named(kind: str, said: str, tmp_path: Path) -> None:
    own = Path(find("weights", "photoworld")("generator"))
    shutil.copytree(own, tmp_path / "generator")
    if kind == "stable-diffusion":
        file = tmp_path / "generator/unet/config.json"
        write_json(file, read_json(file) | {"_class_name": "UViT"})
    config = changed(tiny(), "model.generator.kind", kind)
    config = changed(config, "model.generator.weights", str(tmp_path / "generator"))
    with pytest.raises(CheckpointError, match=said):
        imagined("e2e", config.model)


def test_a_size_that_is_known_by_name_is_no_promise_of_weights() -> None:
    command = ["plan", "dialog2image", "--generator", "uvit-small", "--memory", "1e3"]
    said = CliRunner().invoke(app, command)
    assert "photoworld has no uvit-small" in said.stderr and said.exit_code == 0
    assert "published" not in CliRunner().invoke(app, ["plan", "--memory", "1e3"]).stderr


def test_the_command_gives_the_configuration_back() -> None:
    config = changed(changed(paper("pipeline"), "train.micro_batch", 4), "train.decay", True)
    config = changed(changed(config, "model.frozen", ("llm",)), "train.memory_gb", 3.0)
    words = command(config).split()
    assert words[:2] == ["pscli", "train-pipeline"]
    sets = [w for a, w in itertools.pairwise(words) if a == "--set"]
    assert sets == ["model.frozen=llm", "train.micro_batch=4", "train.decay=true"]
    config = changed(tiny(), "model.llm.weights", "/my models/llm")
    assert "--set 'model.llm.weights=/my models/llm'" in command(config)


@pytest.mark.slow
def test_paper_on_24_gb_is_answered_by_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    """`lora-24gb` keeps its name: one long sequence of 2,048 tokens, on a GPU."""
    config = replace(paper(), dataset="dialogcc")
    there = Machine("cuda", "this GPU", 24e9)
    monkeypatch.setattr(advice, "machine", lambda *_: there)
    with pytest.raises(ConfigError) as caught:
        refuse_too_large(config, ())
    said = str(caught.value)
    assert said.startswith("Preset 'paper' takes more than 133.7 GB of memory, and this GPU has 24")
    assert "`pscli train-e2e --dataset dialogcc --preset lora-24gb`" in said


def test_where_nothing_fits(monkeypatch: pytest.MonkeyPatch, fixed: dict[str, Estimate]) -> None:
    monkeypatch.setattr(advice, "cheapest", lambda *_: None)
    there = Machine("cpu", "this machine", 1e9)
    assert remedy(paper(), fixed["paper"], there) == "Nothing that we know makes it fit."
    monkeypatch.setattr(advice, "cheapest", lambda *_: Advice(small(), fixed["small"]))
    assert "`pscli train-e2e --dataset photoworld --preset small`" in remedy(
        paper(), fixed["paper"], there
    )


def test_a_run_that_does_not_fit_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    few = "--set train.dialogues=2 --set train.eval_dialogues=1 --set train.memory_gb=0.1"
    result = CliRunner().invoke(app, ["train-e2e", *few.split()])
    assert result.exit_code == 2
    assert "Error: Preset 'tiny' takes more than" in result.stderr
    assert "and this machine has 0.1 GB." in result.stderr
    assert "Nothing that we know makes it fit." in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_parts_that_nobody_knows_may_begin(capsys: pytest.CaptureFixture[str]) -> None:
    refuse_too_large(changed(tiny(), "model.generator.kind", "own:Brush"), ())
    assert "Nobody knows how large the generator 'own:Brush' is." in capsys.readouterr().err


# -- the command -------------------------------------------------------------------------------


def test_plan_prints_the_sum(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    few = ["plan", "pipeline", "--set", "train.dialogues=8", "--memory", "16"]
    result = CliRunner().invoke(app, [*few, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["fits"] is True and found["memory"] == 16e9 and found["advice"] == ""
    parts = {part["name"]: part["trained"] for part in found["components"]}
    assert list(parts)[:3] == ["captioner.perceptron", "captioner.llm", "llm"]
    assert parts["captioner.llm"] == 0 and parts["llm"] == 2_164_416
    fixed = sum(found[name] for name in ("program", "weights", "gradients", "optimizer"))
    assert found["peak"] == pytest.approx(fixed + max(found["activations"], found["evaluation"]))
    shown = CliRunner().invoke(app, few).stdout
    assert "generator.unet" in shown and "2,899,084" in shown
    assert "fits into the 16.0 GB of this machine." in shown
    assert list(tmp_path.iterdir()) == []


def test_plan_takes_the_options_of_train_and_prefers_settings() -> None:
    few = ["--dataset", "photochat", "--set", "dataset=photoworld", "--set", "train.dialogues=2"]
    plan = ["plan", "dialog2image", "--preset", "demo", "--generator", "uvit-small", *few]
    result = CliRunner().invoke(app, [*plan, "--set", "model.generator.weights=nowhere"])
    assert result.exit_code == 2 and "nowhere" in result.stderr  # a U-ViT is looked for there
    result = CliRunner().invoke(app, ["plan", "--bridge", "none", *few, "--preset", "demo"])
    assert result.exit_code == 0 and "of photoworld" in result.stdout


def test_a_preset_is_no_setting() -> None:
    result = CliRunner().invoke(app, ["plan", "--set", "preset=paper"])
    assert result.exit_code == 2 and "Use --preset." in result.stderr


@pytest.mark.parametrize("preset", ["tiny", pytest.param("small", marks=pytest.mark.slow)])
def test_the_plan_is_near_what_a_run_takes(preset: str, tmp_path: Path) -> None:
    """Oracle: the most memory that the process of a short training has had."""
    program = Path(__file__).with_name("peak.py")

    def said(*arguments: str) -> Any:
        command = [sys.executable, str(program), *arguments, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    planned = said(preset)
    fixed = sum(planned[name] for name in ("program", "weights", "gradients", "optimizer"))
    assert fixed + planned["activations"] == pytest.approx(said("run"), rel=0.15)
