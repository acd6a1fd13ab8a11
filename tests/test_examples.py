"""Every door is real: parts of one's own, named `module:object` from the current folder, through
the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from pscli.cli import app

EXAMPLES = Path(__file__).parents[1] / "examples"
SETTINGS = {
    "train.dialogues": 4, "train.batch": 2, "train.micro_batch": 2, "train.eval_dialogues": 1,
    "train.warmup": 0, "sequence.max_new_tokens": 12, "model.draw_steps": 2,
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a user's own, with the examples in it."""
    for path in EXAMPLES.glob("own_*.py"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pscli(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def train(command: str, *words: object) -> list[dict[str, Any]]:
    """Trains for two steps and returns what was logged."""
    settings = [word for k, v in SETTINGS.items() for word in ("--set", f"{k}={v}")]
    done = pscli(*command.split(), "--preset", "demo", "--run", "r", *settings, *words)
    assert done.exit_code == 0, done.output + str(done.exception)
    return [json.loads(line) for line in Path("r/metrics.jsonl").read_text().splitlines()]


def answers(*words: object) -> None:
    """The trained agent replies to a dialogue."""
    talk = {"turns": [{"speaker": "A", "text": "Can you send me a photo of a red car?"}]}
    Path("talk.json").write_text(json.dumps(talk))
    done = pscli("generate", "--context", "talk.json", "--agent", "r", *words)
    assert done.exit_code == 0, done.output + str(done.exception)


def test_every_example_is_short() -> None:
    for path in EXAMPLES.glob("own_*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 40, path


def test_a_bridge_that_is_a_function(here: Path) -> None:
    lines = train("train-e2e", "--bridge", "own_bridge:both")
    assert lines[0]["grad_llm_from_image"] > 0
    refused = pscli("generate", "--context", "talk.json", "--agent", "r")
    answers("--use", "own_bridge:both")
    assert refused.exit_code == 2


def test_a_bridge_with_weights_trains_is_saved_and_resumes(here: Path) -> None:
    name = "own_bridge_with_weights:Learnt"
    lines = train("train-e2e", "--bridge", name)
    assert lines[0]["grad_bridge"] > 0
    assert set(load_file("r/agent/bridge/model.safetensors")) == {"tokens.weight", "places.weight"}
    answers("--use", name)
    refused = pscli("train-e2e", "--run", "r", "--resume")
    assert refused.exit_code == 2 and "no file may choose" in refused.output
    assert pscli("train-e2e", "--run", "r", "--resume", "--bridge", name).exit_code == 0


def test_a_generator(here: Path) -> None:
    lines = train("train-e2e", "--generator", "own_generator:Plain")
    assert lines[0]["image"] > 0
    assert Path("r/agent/generator/plain.safetensors").is_file()
    answers("--use", "own_generator:Plain")


def test_a_system(here: Path) -> None:
    lines = train("train own_system:Blind")
    assert lines[0]["text"] > 0
    assert {path.name for path in Path("r/agent").iterdir()} == {
        "README.md", "agent_config.json", "generator", "index.json", "llm"
    }  # fmt: skip
    answers("--use", "own_system:Blind")


def test_a_folder_does_not_choose_code(here: Path) -> None:
    """`os:getcwd` stands for anything that can be imported and called."""
    from pscli.photoworld.shipped import AGENT

    shutil.copytree(AGENT, "agent")
    config = json.loads(Path("agent/agent_config.json").read_text())
    for change in ({"system": "os:getcwd"}, {"model": {"bridge": "os:getcwd"}}):
        Path("agent/agent_config.json").write_text(json.dumps(config | change))
        talk = {"turns": [{"speaker": "A", "text": "Hi"}]}
        Path("talk.json").write_text(json.dumps(talk))
        done = pscli("generate", "--context", "talk.json", "--agent", "agent")
        assert done.exit_code == 2
        assert "'os:getcwd', which no file may choose" in done.output


@pytest.mark.parametrize(("photos", "left"), [("strict", [1]), ("described", [1, 2, 3])])
def test_a_photo_that_cannot_be_decoded_ends_its_dialogue_or_is_told(
    here: Path, photos: str, left: list[int]
) -> None:
    folder = here / "data" / "jsonl"
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    turns = [{"speaker": s, "text": f"{s} says hello"} for s in "ABAB"]
    cut = {"speaker": "A", "text": "Look", "photo": {"path": "photos/cut.png", "caption": "A dog"}}
    dialogues = [
        {"id": "cut", "turns": [*turns[:2], cut, turns[1]]},
        {"id": "whole", "turns": turns},
    ]
    lines = "".join(json.dumps(dialogue) + "\n" for dialogue in dialogues)
    for split in ("train", "dev"):
        (folder / f"{split}.jsonl").write_text(lines)
    train("train-e2e", "--dataset", "jsonl", "--photos", photos)
    done = pscli(
        "generate", "--dataset", "jsonl", "--split", "dev", "--agent", "r", "--out", "p",
        "--photos", photos,
    )  # fmt: skip
    assert done.exit_code == 0
    assert "1 × a photo that cannot be decoded" in done.stderr
    ids = [json.loads(line)["id"] for line in Path("p/predictions.jsonl").read_text().splitlines()]
    assert sorted(ids) == [f"cut/{k}" for k in left] + ["whole/1", "whole/2", "whole/3"]
