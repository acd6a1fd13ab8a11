"""`pscli score`: intervals, differences, formats, by the command line."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pscli.cli import app
from pscli.files import append_line, write_json
from pscli.predictions.folder import FILE_NAME
from pscli.predictions.settings import Settings

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def predictions(name: str, right: int, dialogues: int = 30, start: int = 0) -> str:
    """Two replies to each dialogue: `right` words of ten are as they should be, a word more or
    less. The second shares a photo that nobody has."""
    for number in range(start, start + dialogues):
        for reply in range(2):
            kept = right + number % 2
            text = " ".join(WORDS[:kept] + ["else"] * (len(WORDS) - kept))
            sides: dict[str, Any] = {
                "reference": {"text": " ".join(WORDS), "missing": reply},
                "prediction": {"text": text, "missing": int(number % 3 > 0)},
            }
            kind = ("chat", "share")[reply]
            append_line(Path(name, FILE_NAME), {"id": f"d{number}/{reply}", "kind": kind, **sides})
    return name


def score(*args: str) -> str:
    result = CliRunner().invoke(app, ["score", *args])
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*args: str) -> str:
    result = CliRunner().invoke(app, ["score", *args])
    assert result.exit_code == 2 and not result.stdout
    return result.stderr


def test_two_systems_have_a_difference_and_a_p_value() -> None:
    a, b = predictions("a", 3), predictions("b", 5)
    shown = score(a, b)
    assert max(map(len, shown.split("difference: ")[0].splitlines())) <= 80
    (row,) = (line for line in shown.splitlines() if "BLEU-1 ↑" in line)
    assert row.split() == ["BLEU-1", "↑", "35.00", "55.00", "+20.00", "p<0.001"]
    (row,) = (line for line in shown.splitlines() if "sharing F1 ↑" in line)
    assert row.split()[3:] == ["57.14", "57.14", "0.00", "p=1.000"]
    assert "difference: second - first, on 60 instances; p two-sided" in shown
    kept = json.loads(Path("a/scores.json").read_text())
    first = kept["overall"]["scores"][0]
    low, high = first["interval"]
    assert 30 < low < 35 < high < 40 and "draws:" in first["signature"]
    assert "of:dialogues" in first["signature"]
    assert kept["kinds"]["chat"]["scores"][0]["interval"]


def made_by(folder: str, **how: Any) -> None:
    settings = Settings("bundled", "0", "photoworld", "test", 0, 0.0, **how)
    write_json(Path(folder, "config.json"), asdict(settings))


def test_how_predictions_were_made_is_told_where_it_is_not_as_usual() -> None:
    a, b, c = predictions("a", 3), predictions("b", 5), predictions("c", 5)
    made_by(a)
    made_by(b, best_of=4, history="own")
    shown = score(a, b, c, "--draws", "0")
    told = [line for line in shown.splitlines() if line.startswith("predictions of ")]
    assert told == ["predictions of b |history:own|best-of:4"]
    made_by(c, share_bias=-0.5)
    how = ["--format", "markdown", "--draws", "0", "--force"]
    shown = score("--group", f"x={a},{b},{c}", *how)
    told = "    predictions of x |as usual or history:own|best-of:4 or share-bias:-0.5\n"
    assert told in shown


def test_a_device_that_is_not_there_is_refused_though_there_are_no_photos() -> None:
    assert "Unknown device 'mars'." in refused(predictions("a", 3), "--device", "mars")


def test_no_draws_no_intervals() -> None:
    a, b = predictions("a", 3), predictions("b", 5)
    shown = score(a, b, "--draws", "0")
    assert "difference" not in shown
    kept = {
        s["name"]: s for s in json.loads(Path("a/scores.json").read_text())["overall"]["scores"]
    }
    assert "interval" not in kept["BLEU-1"]
    assert kept["sharing accuracy"]["signature"].endswith("|interval:wilson95|n:60")
    assert "--draws" in refused(a, "--draws", "-1")


def test_folders_that_answer_other_instances() -> None:
    a, b, c = (predictions(n, 3, start=s) for n, s in (("a", 0), ("b", 10), ("c", 99)))
    assert "on 40 instances that all have answered" in score(a, b)
    shown = score(a, c)
    assert "no differences: no instance is in all folders" in shown and "p=" not in shown


def test_types_are_shown_when_asked_for_and_always_kept() -> None:
    a = predictions("a", 3)
    assert "chat, n=30" not in score(a)
    assert set(json.loads(Path("a/scores.json").read_text())["kinds"]) == {"chat", "share"}
    shown = score(a, predictions("b", 5), "--by-type")
    assert "chat, n=30" in shown and "share, n=30" in shown
    rows = [line for line in shown.splitlines() if "BLEU-1 ↑" in line]
    assert [row.split()[-2:] for row in rows] == [["+20.00", "p<0.001"]] * 3


def test_every_format() -> None:
    a, b = predictions("a", 3), predictions("b_x", 5)
    assert "| b\\_x | **55.00** [" in score(a, b, "--format", "markdown")
    assert "b\\_x & \\textbf{55.00} {\\scriptsize" in score(a, b, "--format", "latex")
    rows = list(csv.DictReader(io.StringIO(score(a, b, "--format", "csv"))))
    (row,) = (r for r in rows if r["score"] == "BLEU-1" and r["minus"] == "a")
    assert float(row["value"]) == pytest.approx(20) and float(row["p"]) < 0.001
    found = json.loads(score(a, b, "--json"))
    assert found == json.loads(score(a, b, "--format", "json"))
    assert list(found) == ["systems", "groups", "differences"]
    (one,) = (d for d in found["differences"] if d["name"] == "BLEU-1")
    assert (one["of"], one["minus"], one["n"]) == ("b_x", "a", 60)
    assert "table, markdown, csv, latex, json" in refused(a, "--format", "word")


def test_groups_are_compared_seed_by_seed() -> None:
    names = [predictions(f"{system}{seed}", 3 + seed + 2 * i)
             for i, system in enumerate("xy") for seed in range(2)]  # fmt: skip
    groups = [f"--group=x={names[0]},{names[1]}", f"--group=y={names[2]},{names[3]}"]
    shown = score(*groups)
    (row,) = (line for line in shown.splitlines() if "BLEU-1 ↑" in line)
    assert row.split() == ["BLEU-1", "↑", "40.00", "±7.07", "60.00", "±7.07", "+20.00", "p<0.001"]
    assert "|seeds:2" in shown


def test_no_seed_of_a_group_is_lost_or_counted_twice() -> None:
    a, b = predictions("a", 3), predictions("b", 5)
    assert "--group x comes twice" in refused("--group", f"x={a}", "--group", f"x={b}")
    assert "names a folder twice" in refused("--group", f"x={a},./{b}/../{a}")


def test_a_folder_that_may_not_be_written_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    def write_json(path: Path, value: Any) -> None:
        raise OSError(code, os.strerror(code), str(path))

    a = predictions("a", 3)
    monkeypatch.setattr("pscli.cli.score.write_json", write_json)
    code = errno.EROFS
    result = CliRunner().invoke(app, ["score", a, "--draws", "0"])
    assert result.exit_code == 0 and "BLEU-1" in result.stdout
    assert "no scores.json is kept" in result.stderr
    code = errno.ENOSPC
    assert "No space left" in refused(a, "--draws", "0")


def test_the_same_figures_come_out_every_time() -> None:
    a, b = predictions("a", 3), predictions("b", 4)
    assert score(a, b, "--json") == score(a, b, "--json")
