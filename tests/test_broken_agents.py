"""Agent folders that are broken, incomplete or hostile: one line, exit code 2, and nothing run."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from pscli.cli import app
from pscli.photoworld.shipped import AGENT
from pscli.systems.agent import INDEX

PARTS = {
    "llm": "llm/model.safetensors",
    "vision": "perceptron/vision/model.safetensors",
    "qformer": "perceptron/qformer/model.safetensors",
    "projection": "perceptron/model.safetensors",
    "text encoder": "generator/text_encoder/model.safetensors",
    "unet": "generator/unet/diffusion_pytorch_model.safetensors",
    "vae": "generator/vae/diffusion_pytorch_model.safetensors",
}
Break = Callable[[Path], None]


def without_one(name: str) -> Break:
    def run(agent: Path) -> None:
        weights = load_file(agent / PARTS[name])
        del weights[max(weights)]
        save_file(weights, agent / PARTS[name], {"format": "pt"})

    return run


def emptied(name: str) -> Break:
    return lambda agent: save_file({}, agent / PARTS[name], {"format": "pt"})


def cut(name: str) -> Break:
    def run(agent: Path) -> None:
        data = (agent / PARTS[name]).read_bytes()
        (agent / PARTS[name]).write_bytes(data[: len(data) // 2])

    return run


def text(name: str, content: str) -> Break:
    return lambda agent: (agent / name).write_text(content) and None


def changed(name: str, **pairs: Any) -> Break:
    def run(agent: Path) -> None:
        (agent / name).write_text(json.dumps(json.loads((agent / name).read_text()) | pairs))

    return run


class Evil:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("was-run"),)


def pickled(agent: Path) -> None:
    (agent / PARTS["llm"]).unlink()
    (agent / "llm" / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))


def with_code(agent: Path) -> None:
    changed("llm/config.json", auto_map={"AutoModelForCausalLM": "evil.Model"}, model_type="evil")(
        agent
    )
    (agent / "llm" / "evil.py").write_text("from pathlib import Path\nPath('was-run').touch()\n")


KINDS: dict[str, Break] = {
    **{f"{name} lacks a weight": without_one(name) for name in PARTS},
    **{f"{name} is empty": emptied(name) for name in PARTS},
    **{f"{name} is cut off": cut(name) for name in PARTS},
    **{f"no {name}": lambda a, n=name: (a / PARTS[n]).unlink() for name in PARTS},  # type: ignore[misc]
    "no part": lambda agent: shutil.rmtree(agent / "generator" / "unet"),
    "no tokenizer": lambda agent: (agent / "llm" / "tokenizer.json").unlink(),
    "tokenizer is no JSON": text("llm/tokenizer.json", "{"),
    "model_index is no JSON": text("generator/model_index.json", "no"),
    "model_index names code": changed("generator/model_index.json", unet=["os", "system"]),
    "scheduler is no JSON": text("generator/scheduler/scheduler_config.json", "[]"),
    "scheduler predicts something": changed(
        "generator/scheduler/scheduler_config.json", prediction_type="sample"
    ),
    "perceptron config is no JSON": text("perceptron/config.json", "{"),
    "perceptron config lacks a value": text("perceptron/config.json", "{}"),
    "perceptron of another width": changed("perceptron/config.json", width=64),
    "perceptron of another length": changed("perceptron/config.json", length=9),
    "llm of another width": changed("llm/config.json", hidden_size=96),
    "a pickle": pickled,
    "code in a model folder": with_code,
    "config is no JSON": text("agent_config.json", "{"),
    "config is a list": text("agent_config.json", "[]"),
    "config names a system": changed("agent_config.json", system="nothing"),
    "config names code": changed("agent_config.json", system="os:system"),
    "config names a bridge": changed("agent_config.json", model={"bridge": "zzz"}),
    "config out of range": changed("agent_config.json", model={"draw_steps": 10**9}),
    "config with NaN": text("agent_config.json", '{"train": {"lr": NaN}}'),
    "config with an unknown setting": changed("agent_config.json", modle={}),
    "no config": lambda agent: (agent / "agent_config.json").unlink(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_agent_is_refused_in_one_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(AGENT, "agent")
    Path("agent", INDEX).unlink()  # what is found without checksums
    KINDS[kind](Path("agent"))
    Path("talk.json").write_text('{"turns": [{"speaker": "A", "text": "Hi"}]}')
    done = CliRunner().invoke(app, ["generate", "--context", "talk.json", "--agent", "agent"])
    assert done.exit_code == 2, done.output + repr(done.exception)
    assert done.stderr.count("Error: ") == 1
    assert "Traceback" not in done.output
    assert not Path("was-run").exists()


def test_changed_weights_are_told_by_their_checksums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(AGENT, "agent")
    weights = load_file("agent/llm/model.safetensors")
    next(iter(weights.values())).flatten()[0] += 1
    save_file(weights, "agent/llm/model.safetensors", {"format": "pt"})
    Path("talk.json").write_text('{"turns": [{"speaker": "A", "text": "Hi"}]}')
    done = CliRunner().invoke(app, ["generate", "--context", "talk.json", "--agent", "agent"])
    assert done.exit_code == 2
    assert "llm/model.safetensors is not what was saved there" in done.stderr
