"""Metrics, extractors and predictions of others, by the real command line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import pscli
from pscli.files import append_line
from pscli.predictions.folder import FILE_NAME

ROOT = Path(__file__).parents[1]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the program in an empty folder, as installed: Python does not look there by itself."""
    monkeypatch.chdir(tmp_path)
    environment = os.environ | {
        "PYTHONPATH": str(Path(pscli.__file__).parents[1]), "OMP_NUM_THREADS": "1",
        "PYTHONSAFEPATH": "1", "COLUMNS": "200",
    }  # fmt: skip

    def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "pscli", *map(str, args)]
        return subprocess.run(line, env=environment, capture_output=True, text=True)

    return run


def example(name: str) -> None:
    """Copies an example to the current folder."""
    text = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    shutil.copy(ROOT / "examples" / f"{name}.py", ".")


def predictions(folder: Path, *texts: str, photos: bool = False) -> Path:
    for number, text in enumerate(texts):
        sides: dict[str, Any] = {name: {"text": text} for name in ("reference", "prediction")}
        if photos:
            for place, (name, side) in zip(("gold", "images"), sides.items(), strict=True):
                (folder / place).mkdir(parents=True, exist_ok=True)
                colour = (90 * number, 0, 255 if name == "prediction" else 0)
                Image.new("RGB", (9, 9), colour).save(folder / place / f"{number}.png")
                side["photos"] = [f"{place}/{number}.png"]
        append_line(folder / FILE_NAME, {"id": str(number), "kind": "ask", **sides})
    return folder


def scores(folder: str, section: str = "overall") -> dict[str, dict[str, Any]]:
    pairs = json.loads(Path(folder, "scores.json").read_text(encoding="utf-8"))
    found = pairs["overall"] if section == "overall" else pairs["kinds"][section]
    return {score["name"]: score for score in found["scores"]}


def test_a_metric_of_ones_own_is_scored_and_shown(command: Run) -> None:
    example("own_metric")
    predictions(Path("p"), "Where?", "There.", "Oh? Really?", "")
    shown = command("score", "p", "--metric", "own_metric:Questions", "--by-type")
    assert shown.returncode == 0, shown.stderr
    for section in ("overall", "ask"):
        assert scores("p", section)["questions"]["value"] == pytest.approx(200 / 3)  # by hand
    assert scores("p")["questions"]["signature"] == "replies-with:?|n:3"
    rows = [line for line in shown.stdout.splitlines() if line.strip().startswith("questions ")]
    assert [row.split() for row in rows[:2]] == [["questions", "66.67"]] * 2
    assert "questions |replies-with:?" in shown.stdout


def test_an_extractor_of_ones_own_gives_scores_of_its_name(command: Run) -> None:
    example("own_extractor")
    predictions(Path("p"), "a", "b", "c", photos=True)
    shown = command("score", "p", "--extractor", "own_extractor:Colours")
    assert shown.returncode == 0, shown.stderr
    # By hand: three plain colours on either side, no two alike. The means differ by 1/3 in six
    # places, 6/9; each covariance has trace 1 (variance 1/3 in three places), their product is 0.
    found = scores("p")["FID-Colours"]
    assert found["value"] == pytest.approx(6 / 9 + 1 + 1, abs=1e-5)
    assert found["signature"].startswith("singular:n<=27|extractor:27-colours|resize:32-")
    assert "p: FID-Colours: 3/3 photos are no more than the extractor's 27 fea" in shown.stderr
    assert re.search(r"FID-Colours ↓ +2\.67 +\n +n=3/3", shown.stdout)
    assert "p: no IS-Colours: 'own_extractor:Colours' knows no classes" in " ".join(
        shown.stdout.split()
    )


BROKEN = """
from pscli.metrics.base import Score, Scored
class Short:
    def values(self, predictions): return []
    def scores(self, values): return Scored()
class Bare(Short):
    def values(self, predictions): return [1 for _ in predictions]
    def scores(self, values): return 7
class Twice(Bare):
    def scores(self, values): return Scored((Score("BLEU-1", 1.0, 1, "", None),))
class Nan(Bare):
    def scores(self, values): return Scored((Score("mine", float("nan"), 1, "", None),))
def needs(argument): pass
"""


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("mine:Short", "The metric 'mine:Short' gives 0 values for 1 predictions."),
        ("mine:Bare", "The metric 'mine:Bare' gives a int, no `Scored`."),
        ("mine:Twice", "The metric 'mine:Twice' names a score 'BLEU-1', as another does."),
        ("mine:needs", "The metric 'mine:needs' cannot be made: "),
        ("mine:Score", "The metric 'mine:Score' cannot be made: "),
        ("mine:Scored", "gives a Scored without values."),
        ("mine:Gone", "The metric 'mine:Gone' cannot be loaded: "),
        ("gone:Name", "The metric 'gone:Name' cannot be loaded: No module named 'gone'."),
        ("txt", "Unknown metric 'txt'. Did you mean 'text'?"),
    ],
)
def test_what_is_no_metric_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, problem: str
) -> None:
    from typer.testing import CliRunner

    from pscli.cli import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    Path("mine.py").write_text(BROKEN)
    result = CliRunner().invoke(app, ["score", str(predictions(Path("p"), "a")), "--metric", name])
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert problem in result.stderr
    assert not Path("p/scores.json").exists()
    assert str(tmp_path) not in sys.path


def test_scores_json_never_holds_nan(command: Run) -> None:
    Path("mine.py").write_text(BROKEN)
    predictions(Path("p"), "a")
    shown = command("score", "p", "--metric", "mine:Nan", "--json")
    assert shown.returncode == 0, shown.stderr
    for text in (Path("p/scores.json").read_text(), shown.stdout):
        assert "NaN" not in text
    reasons = json.loads(shown.stdout)["systems"]["p"]["overall"]["reasons"]
    assert reasons["mine"] == "it came out as nan"


def test_the_examples_of_the_documentation_are_scored(command: Run, tmp_path: Path) -> None:
    """docs/predictions.md, to the letter, its line with photos, and its conversation."""
    text = (ROOT / "docs" / "predictions.md").read_text(encoding="utf-8")
    shell = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "pscli"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pscli "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", shell],
        env=os.environ | {"PATH": path, "PYTHONPATH": str(Path(pscli.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # By hand: 4 of 5 tokens are right, and 3 of 6 (13a parts marks from words; "At" is not "at").
    for folder in ("preds/mine", "preds/plain"):
        assert scores(folder)["BLEU-1"]["value"] == pytest.approx(100 * 7 / 11)
    line, talk = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    Path("talks").mkdir()
    Path("talks/hyp.json").write_text(talk)
    Path("talks/ref.json").write_text(talk.replace("null", '{"turn": [{"__TEXT__": "Hi"}]}'))
    shown = command("score", "talks")
    assert shown.returncode == 0, shown.stderr
    assert scores("talks")["BLEU-1"]["value"] == pytest.approx(100)
    record = json.loads(line)
    for side in (record["reference"], record["prediction"]):
        for name in side["photos"]:
            Path("more", name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 9)).save(Path("more", name))
    append_line(Path("more") / FILE_NAME, record)
    shown = command("score", "more")
    assert shown.returncode == 0, shown.stderr
    assert scores("more", "share")["sharing accuracy"]["value"] == 100
