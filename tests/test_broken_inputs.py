"""Broken contexts, datasets and checkpoints, by the commands that read them: exit code 2 and one
message, nothing is run and nothing is left behind. CONTRIBUTING.md counts these and their like."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from pscli.cli import app
from pscli.config import changed, tiny
from pscli.datasets.base import load, named
from pscli.training.checkpoint import data_digest, save_checkpoint

TALK = '{"id": "d", "turns": [{"speaker": "A", "text": "Hi"}, {"speaker": "B", "text": "Yo"}]}'


def turn(text: str) -> bytes:
    return b'{"turns": [' + text.encode() + b"]}"


def shared(photo: str) -> bytes:
    return turn('{"speaker": "A", "text": "Look", "photo": ' + photo + "}")


NO_JSON = {
    "empty": b"", "blank": b" \n", "UTF-16": TALK.encode("utf-16"), "gzip": b"\x1f\x8b\x08\0",
    "latin-1": turn('{"speaker": "A", "text": "Zoë"}').replace(b"\xc3\xab", b"\xeb"),
    "NUL": b"\0" * 9, "cut off": TALK[:-9].encode(), "a list that is cut off": b"[" + TALK.encode(),
    "single quotes": b"{'turns': []}", "a trailing comma": b'{"turns": [],}', "words": b"Hi",
    "deep": b"[" * 99_999, "deep objects": b'{"a":' * 99_999,
    "a long number": b'{"turns": ' + b"9" * 5000 + b"}", "a bare escape": b'{"\x1b[2J": 1}',
    "one of two lines": TALK.encode() + b"\n{",
}  # fmt: skip
NO_DIALOGUE = {
    "null": b"null", "a number": b"3", "a text": b'"Hi"', "NaN": b"NaN", "an empty list": b"[]",
    "an empty object": b"{}", "no turns": b'{"turns": []}', "turns: text": b'{"turns": "Hi"}',
    "turns: object": b'{"turns": {}}', "turns: texts": turn('"Hi"'), "turns: null": turn("null"),
    "no speaker": turn('{"text": "x"}'), "speaker: list": turn('{"speaker": [], "text": "x"}'),
    "speaker: null": turn('{"speaker": null, "text": "x"}'), "no text": turn('{"speaker": "A"}'),
    "text: number": turn('{"speaker": "A", "text": 3}'),
    "text: NaN": turn('{"speaker": "A", "text": NaN}'),
    "blank text": turn('{"speaker": "A", "text": " \\n"}'),
    "photo: list": shared("[]"), "photo: number": shared("3"), "photo: no path": shared("{}"),
    "photo: caption": shared('{"path": "x.png", "caption": 3}'),
    "truth": turn('{"speaker": "A", "text": "x", "truth": {}}'),
    "no sentence of MMDD": b'{"dialog": ["Hi"], "replaced_idx": 5, "img_file": "x.png"}',
    "no pair of Image-Chat": b'{"image_hash": "x", "dialog": ["Hi"]}',
    "no sender of LLaVA": b'{"conversations": ["Hi"]}',
    "nobody of OpenAI": b'{"messages": [{"role": "system", "content": "x"}]}',
    "no turns of PhotoChat": b'{"dialogue": 3, "photo_id": "x"}',
}  # fmt: skip
NO_PHOTO = {
    "photo: not there": shared('"gone.png"'), "photo: a text": shared('"d.json"'),
    "photo: a folder": shared('"."'), "photo: a device": shared('"/dev/zero"'),
    "photo: no name": shared('""'), "photo: NUL": shared('"a\\u0000b"'),
    "photo: a long name": shared(f'"{"x" * 300}.png"'),
    "photo: an address": shared('"http://127.0.0.1:1/x.png"'),
}  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PSCLI_DATA", "data")


def refused(*words: str, left: tuple[str, ...] = ()) -> str:
    """What a command says that must refuse its input, and leave no more than there was."""
    before = set(Path().rglob("*"))
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 2, done.output + repr(done.exception)
    assert isinstance(done.exception, SystemExit) and done.stdout == ""
    assert done.stderr.count("Error: ") == 1 and "Traceback" not in done.stderr
    assert done.stderr.replace("\n", "").isprintable() and len(done.stderr) < 1500
    assert {p.name for p in set(Path().rglob("*")) - before} <= set(left)
    return done.stderr


def parameters(kinds: dict[str, Any]) -> list[Any]:
    return [pytest.param(value, id=name) for name, value in kinds.items()]


# -- contexts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", parameters({"no file": None} | NO_JSON | NO_DIALOGUE | NO_PHOTO))
def test_a_context_that_cannot_be_answered(data: bytes | None) -> None:
    if data is not None:
        Path("d.json").write_bytes(data)
    refused("generate", "--context", "d.json")


# -- datasets ----------------------------------------------------------------------------------

COMMANDS = {
    "stats": ["stats", "jsonl"],
    "generate": ["generate", "--dataset", "jsonl"],
    "train-e2e": ["train-e2e", "--dataset", "jsonl"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("data", parameters({"no folder": None} | NO_JSON | NO_DIALOGUE))
def test_a_dataset_that_cannot_be_read(command: str, data: bytes | None) -> None:
    if data is not None:
        Path("data/jsonl").mkdir(parents=True)
        for split in ("train", "dev", "test"):
            Path(f"data/jsonl/{split}.jsonl").write_bytes(data)
    assert "jsonl" in refused(*COMMANDS[command])


# -- checkpoints -------------------------------------------------------------------------------

Break = Callable[[Path], Any]
WEIGHTS, MOMENTS, STATE = "weights.safetensors", "moments.safetensors", "state.json"


def written(name: str, data: bytes) -> Break:
    return lambda folder: (folder / name).write_bytes(data)


def tensors(name: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> Break:
    def run(folder: Path) -> None:
        found = load_file(folder / name)
        change(found)
        save_file(found, folder / name)

    return run


def state(**pairs: Any) -> Break:
    def run(folder: Path) -> None:
        found = json.loads((folder / STATE).read_text()) | pairs
        (folder / STATE).write_text(json.dumps(found))

    return run


def cut(name: str) -> Break:
    def run(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return run


FILES = (WEIGHTS, MOMENTS, STATE)
CHECKPOINTS: dict[str, Break] = {
    **{f"no {name}": lambda folder, n=name: (folder / n).unlink() for name in FILES},  # type: ignore[misc]
    **{f"{name} is empty": written(name, b"") for name in FILES},
    **{f"{name} is cut off": cut(name) for name in FILES},
    **{f"{name} is a pickle": written(name, pickle.dumps({"step": 1})) for name in FILES},
    "no weights": tensors(WEIGHTS, dict.clear),
    "a weight less": tensors(WEIGHTS, dict.popitem),
    "a weight more": tensors(WEIGHTS, lambda t: t.update({"more.weight": torch.zeros(1)})),
    "a weight of another shape": tensors(WEIGHTS, lambda t: t.update({max(t): torch.zeros(99)})),
    "a weight of one row": tensors(WEIGHTS, lambda t: t.update({max(t): torch.zeros(1)})),
    "a weight that is no number": tensors(
        WEIGHTS, lambda t: [w.fill_(torch.nan) for w in t.values()]
    ),
    "a moment of no weight": tensors(MOMENTS, lambda t: t.update({"more|step": torch.zeros(())})),
    "a moment without a name": tensors(MOMENTS, lambda t: t.update({"more": torch.zeros(())})),
    "a list": written(STATE, b"[]"),
    "no counters": written(STATE, b"{}"),
    "deep": written(STATE, b"[" * 99_999),
    "latin-1": written(STATE, b"\xeb"),
    "a step in words": state(step="1"),
    "half a step": state(step=0.5),
    "a step below zero": state(step=-1),
    "a step far away": state(step=10**9),
    "a history in words": state(history="x"),
    "a history of numbers": state(history=[3]),
    "a history of words": state(history=[{"BLEU-2": "x"}]),
    "other data": state(data="x"),
}


@pytest.mark.parametrize("broken", parameters(CHECKPOINTS))
def test_a_checkpoint_that_cannot_be_gone_on_with(
    broken: Break, build: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("data/jsonl").mkdir(parents=True)
    for split in ("train", "dev"):
        Path(f"data/jsonl/{split}.jsonl").write_text(TALK)
    Path("r").mkdir()
    config = changed(tiny(), "dataset", "jsonl")
    Path("r/config.json").write_text(json.dumps(config.to_json()))
    system = build.end_to_end()
    monkeypatch.setattr("pscli.training.experiment.build", lambda *_: system)
    (dialogue,) = load(named("jsonl"), "train")
    data = data_digest(system.template(config.sequence.max_length).pack(dialogue))
    optimizer = torch.optim.AdamW(system.parameters())
    counters = {"step": 1, "history": [], "data": data}
    broken(save_checkpoint(Path("r/checkpoints"), system, optimizer, counters))
    left = ("cache", "0", ".r.lock", "metrics.jsonl")
    said = refused("train-e2e", "--run", "r", "--resume", left=left)
    assert "r/checkpoints/step-00000001" in said
    assert sorted(p.name for p in Path("r/checkpoints").iterdir()) == ["step-00000001"]
