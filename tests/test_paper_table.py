"""`make paper-table`: every command in order, each one that `pscli` knows, and resumed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import attribution
import paper_table
import pytest
from typer.main import get_command

from pscli.cli import app

SCRIPT = Path(paper_table.__file__)
MAKEFILE = SCRIPT.parents[1] / "Makefile"

# Stands in for pscli: notes what it was asked, begins a run, and fails at call number $FAIL.
FAKE = """
import json, os, pathlib, sys
args = sys.argv[1:]
with open("calls", "a") as file:
    file.write(json.dumps(args) + chr(10))
if args[0] == "train":
    run = pathlib.Path(args[args.index("--run") + 1])
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.json").touch()
    (run / "agent").mkdir(exist_ok=True)
elif "--out" in args:
    pathlib.Path(args[args.index("--out") + 1]).mkdir(parents=True, exist_ok=True)
sys.exit(7 if len(open("calls").readlines()) == int(os.environ["FAIL"]) else 0)
"""


def table(folder: Path, *args: str, fail: int = 0) -> tuple[int, list[list[str]]]:
    """The script's exit code, and what it asked of pscli."""
    (folder / "pscli").mkdir(exist_ok=True)
    (folder / "pscli" / "__init__.py").touch()
    (folder / "pscli" / "__main__.py").write_text(FAKE)
    (folder / "calls").unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *args],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "FAIL": str(fail)},
        capture_output=True,
    )
    calls = (folder / "calls").read_text().splitlines()
    return done.returncode, [json.loads(line) for line in calls]


def test_the_protocol_goes_on_where_it_stopped(tmp_path: Path) -> None:
    args = ("photochat", "--out", "t", "--seeds", "0", "1", "--preset", "small", "--count", "9")
    code, calls = table(tmp_path, *args, fail=3)
    assert code == 7
    assert [call[:2] for call in calls] == [
        ["train", "e2e"], ["generate", "--dataset"], ["train", "pipeline"],
    ]  # fmt: skip
    new = ["--dataset", "photochat", "--run", "t/e2e-0", "--preset", "small", "--seed", "0"]
    assert calls[0][2:] == new
    code, calls = table(tmp_path, *args)
    assert code == 0
    resumed = ["--resume" in call for call in calls if call[0] == "train"]
    assert resumed == [True, True, False, False]
    assert [call[0] for call in calls] == [*(["train", "generate"] * 4), "score", "report"]
    preds = [call[call.index("--out") + 1] for call in calls if call[0] == "generate"]
    assert preds == ["t/preds/e2e-0", "t/preds/pipeline-0", "t/preds/e2e-1", "t/preds/pipeline-1"]
    groups = ["--group", "e2e=t/preds/e2e-0,t/preds/e2e-1"]
    groups += ["--group", "pipeline=t/preds/pipeline-0,t/preds/pipeline-1"]
    assert calls[-2] == ["score", *groups]
    assert calls[-1] == ["report", *groups, "--out", "t/report", "--overwrite"]


def test_a_seed_that_is_named_twice_is_one(tmp_path: Path) -> None:
    args = ("photochat", "--out", "t", "--seeds", "0", "0", "--systems", "e2e", "e2e")
    code, calls = table(tmp_path, *args)
    assert code == 0
    assert [call[0] for call in calls] == ["train", "generate", "score", "report"]
    assert calls[-2] == ["score", "--group", "e2e=t/preds/e2e-0"]


def test_who_stops_a_protocol_sees_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(words: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(paper_table.subprocess, "run", stopped)
    with pytest.raises(SystemExit, match="130"):
        paper_table.carry_out([["doctor"]])


@pytest.mark.parametrize("count", ["0", "-1", "1001"])
def test_drawings_that_are_none_are_refused_before_anything_trains(
    count: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["attribution.py", "--best-of", count])
    monkeypatch.setattr(attribution, "carry_out", pytest.fail)
    with pytest.raises(SystemExit, match="2"):
        attribution.main()
    assert "--best-of is from 1 to 1,000." in capsys.readouterr().err


@pytest.mark.parametrize("begun", [False, True])
def test_pscli_knows_every_command_and_option(tmp_path: Path, begun: bool) -> None:
    if begun:
        (tmp_path / "e2e-3").mkdir()
        (tmp_path / "e2e-3" / "config.json").touch()
    found = paper_table.commands("photoworld", tmp_path, [3], ["e2e"], "tiny", 5, "photoworld")
    known = get_command(app).commands  # type: ignore[attr-defined]
    for name, *args in found:
        assert known[name].make_context(name, list(args))
    assert "--preset" in found[0] and ("--resume" in found[0]) == begun


def test_the_makefile_calls_it_with_options_that_it_has() -> None:
    text = MAKEFILE.read_text(encoding="utf-8")
    scripts = {"results": SCRIPT, "paper-table": SCRIPT, "attribution": Path(attribution.__file__)}
    for target, script in scripts.items():
        (recipe,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
        assert f"benchmarks/{script.name}" in recipe
        options = set(re.findall(r"--[a-z]+", recipe))
        assert options and all(f'"{option}"' in script.read_text() for option in options)


def test_the_rows_of_an_attribution_are_trained_once_and_drawn_twice(tmp_path: Path) -> None:
    (tmp_path / "e2e-0").mkdir()
    (tmp_path / "e2e-0" / "config.json").touch()  # by `make results`
    rows = ["foundations", "e2e", "described"]
    found = attribution.commands("photoworld", tmp_path, [0, 1], rows, "tiny", 5, 3)
    known = get_command(app).commands  # type: ignore[attr-defined]
    for name, *args in found:
        assert known[name].make_context(name, list(args))
    runs = [Path(c[c.index("--run") + 1]).name for c in found if c[0] == "train"]
    assert runs == ["e2e-0", "described-0", "e2e-1", "described-1"]
    assert ["--resume" in c for c in found if c[0] == "train"] == [True, False, False, False]
    (told,) = {tuple(c[c.index("--set") :]) for c in found if "--set" in c}
    assert told == ("--set", "model.captions=describe")
    drawn = {Path(c[c.index("--out") + 1]).name: c for c in found if c[0] == "generate"}
    assert len(drawn) == 12
    agent = ["--agent", str(tmp_path / "e2e-0")]
    for name, who, seed, drawings in (
        ("foundations-1", ["--system", "e2e", "--preset", "tiny"], "1", "1"),
        ("e2e-best-of-3-0", agent, "0", "3"),
    ):
        rest = ["--seed", seed, "--count", "5", "--best-of", drawings]
        out = str(tmp_path / "attribution" / name)
        assert drawn[name][5:] == [*who, "--out", out, *rest]
    names = [part.partition("=")[0] for part in found[-2][2::2]]
    assert names == [n for row in rows for n in (row, f"{row}-best-of-3")]
