"""Agents on a hub: sent with their card, fetched by id, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from hub import serving
from pscli.config import Config, ModelConfig, PartConfig, paper, tiny
from pscli.errors import CheckpointError
from pscli.photoworld.shipped import AGENT
from pscli.systems.card import card
from pscli.systems.place import agent_folder, push

TALK = {"turns": [{"speaker": "A", "text": "Hi! How was your day?"}]}


def pscli(tmp_path: Path, address: str, token: str, *arguments: str) -> tuple[int, str, str]:
    variables = {
        "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pscli", *arguments], env={**os.environ, **variables},
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_an_agent_is_sent_and_answers_by_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the folder itself, whose reply is the same."""
    shutil.copytree(AGENT, tmp_path / "agent")
    (tmp_path / "agent/evil.py").write_text("raise SystemExit")
    (tmp_path / "talk.json").write_text(json.dumps(TALK))
    root = tmp_path / "hub"
    root.mkdir()
    with serving(root, []) as address:
        code, out, errors = pscli(tmp_path, address, "token", "push", "agent", "me/agent")
        assert code == 0, errors
        assert out.strip().endswith("me/agent")
        there = {p.relative_to(root / "me/agent") for p in (root / "me/agent").rglob("*.*")}
        here = {p.relative_to(tmp_path / "agent") for p in (tmp_path / "agent").rglob("*.*")}
        assert there == here - {Path("evil.py")}
        ask = ("generate", "--context", "talk.json", "--json", "--agent")
        code, by_id, errors = pscli(tmp_path, address, "token", *ask, "me/agent")
        assert code == 0, errors
        code, none, errors = pscli(tmp_path, address, "token", *ask, "me/nobody")
        assert (code, none) == (2, "") and "no agent of that id" in errors
        code, none, errors = pscli(tmp_path, address, "wrong", "push", "agent", "me/other")
        assert (code, none) == (2, "") and "hf auth login" in errors
        assert "Traceback" not in errors
    # Without the hub, what was fetched before answers; and what was not is told at once.
    _, again, _ = pscli(tmp_path, "http://127.0.0.1:9", "", *ask, "me/agent")
    _, by_folder, _ = pscli(tmp_path, "http://127.0.0.1:9", "", *ask, "agent")
    assert json.loads(by_id) == json.loads(by_folder) == json.loads(again)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}")
    began = time.monotonic()
    with pytest.raises(CheckpointError, match=r"There is no folder me/new, .* cannot be reached"):
        agent_folder("me/new")
    assert time.monotonic() - began < 5  # the library alone retries for 23 s


def test_nothing_private_is_sent_to_what_is_public(tmp_path: Path) -> None:
    shutil.copytree(AGENT, tmp_path / "agent")
    root = tmp_path / "hub"
    (root / "me/open").mkdir(parents=True)
    with serving(root, []) as address:
        push = ("push", "agent", "--private")
        code, out, errors = pscli(tmp_path, address, "token", *push, "me/open")
        assert (code, out) == (2, "") and "me/open is there already, and public" in errors
        assert not list((root / "me/open").iterdir())
        for _ in range(2):
            code, _, errors = pscli(tmp_path, address, "token", *push, "me/own")
            assert code == 0, errors
        assert (root / "me/own/agent_config.json").is_file()


def test_what_lies_on_this_machine_alone_is_not_sent(tmp_path: Path) -> None:
    part = PartConfig("causal", str(tmp_path), lora=4)
    config = Config(model=ModelConfig(llm=part))
    (tmp_path / "perceptron").mkdir()
    (tmp_path / "agent_config.json").write_text(json.dumps(config.to_json()))
    with pytest.raises(CheckpointError, match="on this machine alone"):
        push(tmp_path, "me/agent")
    with pytest.raises(CheckpointError, match="holds no agent"):
        push(tmp_path / "perceptron", "me/agent")


def test_names_that_are_no_ids_are_folders(tmp_path: Path) -> None:
    assert agent_folder(tmp_path) == tmp_path
    assert agent_folder("a/b/c") == Path("a/b/c")
    assert agent_folder(None) == AGENT


def test_a_card_says_data_parts_settings_and_scores() -> None:
    told = card(paper(), {"BLEU-2": 12.345})
    assert told.startswith("---\nlicense: ")
    for fact in ("meta-llama/Llama-2-7b-chat-hf", "| BLEU-2 | 12.35 |", "Rate 5e-05", "`dvtm`"):
        assert fact in told, fact
    other = card(tiny("tiger"))
    assert "(tiger)" in other and "dvtm" not in other and "τ" not in other
    assert "says nothing itself" in card(tiny("dialog2image")) and "answers" in other
    local = Config(model=ModelConfig(llm=PartConfig("causal", "/home/someone/model.gguf")))
    assert "`model.gguf`" in card(local) and "someone" not in card(local)
