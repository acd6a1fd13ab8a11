"""Settings out of range, of another type or of no such name, and runs that cannot be resumed: exit
code 2 and one message, before anything is loaded or made."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pscli.cli import app
from pscli.config import Config, tiny


def ranged(config: Any = Config(), above: str = "") -> dict[str, tuple[float, float, Any]]:
    """Every setting with a range: its ends and its default."""
    found = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found |= ranged(value, f"{above}{field.name}.")
        elif "range" in field.metadata:
            found[above + field.name] = (*field.metadata["range"], value)
    return found


def outside() -> list[tuple[str, str]]:
    pairs = []
    for name, (low, high, default) in ranged().items():
        whole = isinstance(default, int) or name == "train.dialogues"
        below = str(int(low) - 1) if whole else str(math.nextafter(low, -math.inf) - 1e-9)
        above = str(int(high) + 1) if whole else str(2 * high)
        pairs += [(name, value) for value in (below, above, "NaN", "-Infinity", "[]", "many")]
        pairs += [(name, "1.5")] if whole else []
    return pairs


NAMES = ["trian.lr", "train", "train.", ".", "", "train.lr.x", "model.frozen.x", "seed.", "Seed"]
CODE = ["dataset", "model.bridge", "model.llm.kind", "model.generator.kind", "train.extractor"]


def refused(result: Result) -> None:
    assert result.exit_code == 2, result.output + repr(result.exception)
    assert result.stderr.count("Error") == 1
    assert "Traceback" not in result.output
    assert not Path("runs").exists()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_number_has_a_range() -> None:
    def numbers(config: Any, above: str = "") -> set[str]:
        names = set()
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if dataclasses.is_dataclass(value):
                names |= numbers(value, f"{above}{field.name}.")
            elif isinstance(value, int | float) and not isinstance(value, bool):
                names.add(above + field.name)
        return names

    assert numbers(Config()) - {"seed"} <= set(ranged())


@pytest.mark.parametrize(("name", "value"), outside())
def test_a_setting_out_of_range_is_refused(name: str, value: str) -> None:
    refused(CliRunner().invoke(app, ["train-e2e", "--set", f"{name}={value}"]))


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_setting_is_refused(name: str) -> None:
    refused(CliRunner().invoke(app, ["train-e2e", "--set", f"{name}=1"]))


@pytest.mark.parametrize("name", CODE)
@pytest.mark.parametrize("value", ["nothing", ""])
def test_an_unknown_name_is_refused(name: str, value: str) -> None:
    refused(CliRunner().invoke(app, ["train-e2e", "--set", f"{name}={value}"]))


@pytest.mark.parametrize(
    "setting", ["caption_source=nobody", "caption_source=", "captions=all", "captions=Caption"]
)
def test_a_word_that_is_none_of_a_few_is_refused(setting: str) -> None:
    for command in (["train-e2e"], ["train", "pipeline"]):
        refused(CliRunner().invoke(app, [*command, "--set", f"model.{setting}"]))


@pytest.mark.parametrize("name", ["json:dumps", "json:__all__"])
def test_what_is_no_system_is_refused(name: str) -> None:
    refused(CliRunner().invoke(app, ["train", name]))
    asked = ["--dataset", "photoworld", "--count", "1"]
    refused(CliRunner().invoke(app, ["generate", "--system", name, *asked]))


@pytest.mark.parametrize("idle", [["--set", "seed=5"], ["--set", "train.lr=0.5"], ["--use", "x"]])
def test_what_an_untrained_system_would_not_read_is_refused(idle: list[str]) -> None:
    asked = ["--dataset", "photoworld", "--count", "1", *idle]
    refused(CliRunner().invoke(app, ["generate", "--system", "zero-shot", *asked]))


RUNS: dict[str, Any] = {
    "no config": None,
    "no JSON": "{",
    "a list": "[]",
    "a number": "3",
    "deep": "[" * 100_000,
    "not UTF-8": b"\xff\xfe{",
    "another system": json.dumps({"system": "pipeline"}),
    "unknown system": json.dumps({"system": "nothing"}),
    "code": json.dumps({"system": "os:system"}),
    "out of range": json.dumps({"train": {"batch": 0}}),
    "NaN": '{"train": {"lr": NaN}}',
    "a setting of another type": json.dumps({"train": []}),
    "long number": '{"seed": ' + "9" * 5000 + "}",
}


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_that_cannot_be_resumed(kind: str) -> None:
    Path("r").mkdir()
    if RUNS[kind] is not None:
        data = RUNS[kind]
        Path("r/config.json").write_bytes(data if isinstance(data, bytes) else data.encode())
    refused(CliRunner().invoke(app, ["train-e2e", "--run", "r", "--resume"]))


@pytest.mark.parametrize(
    "change", ["train.lr=1e-3", "seed=4", "model.bridge=none", "dataset=jsonl"]
)
def test_a_run_is_not_resumed_with_other_settings(change: str) -> None:
    Path("r").mkdir()
    Path("r/config.json").write_text(json.dumps(tiny().to_json()))
    words = ["train-e2e", "--run", "r", "--resume", "--set", change]
    refused(CliRunner().invoke(app, words))
