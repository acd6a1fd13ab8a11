"""What is in the package: foundations and the bundled agent."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pscli.components.generator import StableDiffusion
from pscli.config import changed, tiny
from pscli.dialogue.batch import collate
from pscli.dialogue.schema import Photo
from pscli.metrics.extractor import pixels
from pscli.photoworld.dataset import Photoworld
from pscli.photoworld.details import load_details
from pscli.photoworld.foundations.counting import UNKNOWN, detail_labels, loose
from pscli.photoworld.foundations.pool import kind_labels, scenes
from pscli.photoworld.foundations.seeing import as_pixels
from pscli.photoworld.judge import load_extractor
from pscli.photoworld.scene import LIGHT_PHRASES, sample_scene
from pscli.photoworld.shipped import AGENT, WEIGHTS, part
from pscli.photoworld.showcase import KITES
from pscli.photoworld.view import look
from pscli.predictions.generate import read_dialogue
from pscli.systems.agent import Agent, build
from pscli.systems.captioner import Captioner
from pscli.training.probe import gradient_norm

EXAMPLES = Path(__file__).parents[1] / "examples"


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_they_are_small_and_hold_no_pickle() -> None:
    assert size(WEIGHTS) - size(WEIGHTS / "details") <= 16_000_000
    assert size(WEIGHTS) + size(AGENT) <= 40_000_000
    kinds = {p.suffix for f in (WEIGHTS, AGENT) for p in f.rglob("*") if p.is_file()}
    assert kinds <= {".safetensors", ".json", ".txt", ".jinja", ".md"}


def test_the_judge_is_as_good_as_its_scores_say() -> None:
    """Oracle: the scenes themselves; scores.json was computed on other dev scenes."""
    said = json.loads((WEIGHTS / "scores.json").read_text())["extractor"]["things"]
    some = scenes("dev", 400, seed=9)
    with torch.no_grad():
        output = load_extractor()(torch.stack([as_pixels(s.draw()) for s in some]))
    right = (output.kinds.argmax(-1) == kind_labels(some)).all(1).float().mean()
    assert float(right) == pytest.approx(said, abs=0.04)  # four standard errors of 400 at 0.96


def test_the_judge_counts_as_well_as_its_scores_say() -> None:
    """Oracle: the scenes themselves, one after the other with loose ones."""
    said = json.loads((WEIGHTS / "scores.json").read_text())["details"]
    rng = random.Random(9)
    some = [loose(rng) if i % 2 else sample_scene(rng, "dev") for i in range(300)]
    pixels = torch.stack([as_pixels(scene.draw()) for scene in some])
    with torch.no_grad():
        output = load_details()(load_extractor().grid(pixels))
    numbers, sizes, _ = detail_labels(some)
    right = output.numbers.argmax(-1) == numbers
    assert float(right[::2].float().mean()) >= said["number"] - 0.02
    assert float(right[1::2].float().mean()) == pytest.approx(said["number_loose"], abs=0.07)
    sized = (output.sizes.argmax(-1) == sizes)[sizes != UNKNOWN]
    assert float(sized.float().mean()) == pytest.approx(said["size"], abs=0.03)


def test_the_captioner_is_as_good_as_its_scores_say() -> None:
    said = json.loads((WEIGHTS / "scores.json").read_text())["talking"]["captions"]
    captioner = build("pipeline", tiny("pipeline").model).captioner
    assert isinstance(captioner, Captioner)
    some = scenes("dev", 100, seed=9)
    words = captioner.eval().describe([Photo(s) for s in some])
    right = sum(w == s.caption() for w, s in zip(words, some, strict=True)) / len(some)
    assert right == pytest.approx(said, abs=0.2)  # four standard errors of 100 at 0.5


@pytest.mark.parametrize(("bridge", "reaches"), [("dvtm", True), ("none", False)])
def test_the_image_loss_reaches_llm_and_q_former_by_the_bridge(bridge: str, reaches: bool) -> None:
    config = changed(tiny("e2e"), "model.bridge", bridge)
    system = build("e2e", config.model)
    template = system.template(400)
    packed = [s for d in Photoworld().load("train", 4) for s in template.pack(d)]
    batch = system.prepare(collate(packed, template.tokenizer.pad_token_id))
    losses = system(batch, 1.0, "test")
    losses.image.backward()
    for module in (system.llm, system.perceptron):
        assert (gradient_norm(module) > 0) == reaches


def test_the_bundled_agent_answers_at_once() -> None:
    agent = Agent.from_pretrained()
    dialogue = read_dialogue(EXAMPLES / "dialog.json")
    reply = agent.respond(dialogue, seed=1)
    assert reply.text or reply.photos
    assert (
        reply == agent.respond(dialogue, seed=1) or reply.raw == agent.respond(dialogue, seed=1).raw
    )
    assert all(photo.size == (64, 64) for photo in reply.photos)


def test_it_is_shown_a_photo_and_asked_about_it() -> None:
    """In one message, as a page or a terminal sends them."""
    chat = Agent.from_pretrained().chat()
    assert (
        chat.say("How many kites can you see?", Photo(EXAMPLES / "kites.png")).text == "I see two."
    )
    assert chat.undo() and not chat.dialogue.turns and not chat.undo()


def test_the_showcase_comes_out_right() -> None:
    """Two red kites, the same in blue: two blue kites at the beach, in the same light."""
    reply = Agent.from_pretrained().respond(read_dialogue(EXAMPLES / "dialog.json"), seed=1)
    assert reply.captions == ["Two blue kites at the beach at sunset."]
    drawn, shown = look([pixels(photo, 64) for photo in (*reply.photos, KITES.draw())])
    assert drawn.things == {("blue", "kite")} and shown.things == {("red", "kite")}
    assert drawn.number == shown.number == 2
    assert (drawn.setting, drawn.light) == (shown.setting, shown.light) == ("beach", "sunset")


def test_the_light_of_a_drawing_is_that_of_its_caption() -> None:
    generator = StableDiffusion.from_pretrained(part("generator"), guidance=3.0).eval()
    wanted = [light for light in LIGHT_PHRASES for _ in range(6)]
    captions = [f"A red car in the forest {LIGHT_PHRASES[light]}." for light in wanted]
    drawn = generator.draw(captions, [torch.Generator().manual_seed(i % 6) for i in range(18)])
    seen = [view.light for view in look([pixels(photo, 64) for photo in drawn])]
    assert sum(a == b for a, b in zip(seen, wanted, strict=True)) >= 15


RUN = {
    "train.dialogues": 24, "train.batch": 4, "train.micro_batch": 4, "train.epochs": 3,
    "train.save_minutes": 0, "train.eval_dialogues": 2, "train.patience": 0,
}  # fmt: skip


def training(run: Path, eyes: Path) -> list[str]:
    """A run of 18 steps and three evaluations, every step of which is saved."""
    settings = RUN | {"model.perceptron.weights": eyes}
    sets = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "pscli", "train-e2e", "--preset", "demo", "--run", str(run)]
    return command + sets


def curve(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in lines]


def weights(run: Path) -> dict[str, bytes]:
    files = [*(run / "agent").rglob("*.safetensors"), *(run / "checkpoints").rglob("*.safetensors")]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in files}


@pytest.mark.slow
def test_ten_kills_at_random_moments_leave_no_trace(tmp_path: Path) -> None:
    """Before, during and after evaluations and while checkpoints are written; with dropout in the
    Q-Former. Oracle: the run that was never killed."""
    eyes = tmp_path / "eyes"
    shutil.copytree(WEIGHTS / "perceptron", eyes)
    config = json.loads((eyes / "qformer" / "config.json").read_text())
    dropping = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    (eyes / "qformer" / "config.json").write_text(json.dumps(config | dropping))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(training(whole, eyes), check=True, env=environment)
    rng, kills, log = random.Random(0), 0, killed / "metrics.jsonl"
    command = training(killed, eyes)
    for _ in range(10):
        before = log.stat().st_mtime_ns if log.is_file() else 0
        process = subprocess.Popen(command, env=environment)
        while process.poll() is None and (not log.is_file() or log.stat().st_mtime_ns == before):
            time.sleep(0.02)  # until it has begun
        try:
            process.wait(timeout=rng.uniform(0, 2.5))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        else:
            assert process.returncode == 0
        command = [sys.executable, "-m", "pscli", "train-e2e", "--run", str(killed), "--resume"]
    subprocess.run(command, check=True, env=environment)
    assert kills >= 8
    assert curve(killed) == curve(whole)
    assert weights(killed) == weights(whole)


def test_what_is_shipped_names_no_folder_of_its_makers() -> None:
    for root in (AGENT, WEIGHTS):
        for path in root.rglob("*.json"):
            assert "_name_or_path" not in path.read_text(encoding="utf-8"), path
