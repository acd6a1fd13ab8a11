"""`make systems`: every step in order, each one that `pscli` knows, noted, and its table."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import systems
from PIL import Image
from systems_figure import PANELS, figure, point
from typer.main import get_command

from pscli import console
from pscli.cli import app
from pscli.errors import DataError
from pscli.files import append_line, write_json
from pscli.photoworld.members import MADE
from test_dialog2image import FEW, sets
from test_paper_table import FAKE, MAKEFILE

TABLE = systems.Table("photoworld", Path("s"), [0, 1], ["e2e", "zero-shot"], preset="demo", count=9)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_system_is_planned_trained_asked_and_compared() -> None:
    """Oracle: by hand. What trains nothing is asked as it is."""
    found = {step.name: step.words for step in systems.steps(TABLE)}
    assert list(found) == [
        "plan e2e", "plan zero-shot",
        "train e2e-0", "answer e2e-0 test", "answer zero-shot-0 test",
        "train e2e-1", "answer e2e-1 test", "answer zero-shot-1 test",
        "score all test", "report all test",
    ]  # fmt: skip
    at = ["--dataset", "photoworld"]
    new = ["--run", "s/e2e-1", "--preset", "demo", "--seed", "1"]
    assert found["train e2e-1"] == ["train", "e2e", *at, *new]
    rest = ["--split", "test", "--out", "s/preds/test/zero-shot-0", "--seed", "0", "--count", "9"]
    drawn = ["--system", "zero-shot", "--preset", "demo"]
    assert found["answer zero-shot-0 test"] == ["generate", *at, *drawn, *rest]
    groups = ["e2e=s/preds/test/e2e-0,s/preds/test/e2e-1",
              "zero-shot=s/preds/test/zero-shot-0,s/preds/test/zero-shot-1"]  # fmt: skip
    assert [word for word in found["score all test"] if "=" in word] == groups
    write_json(Path("s/e2e-1/config.json"), {})
    again = {step.name: step.words for step in systems.steps(TABLE)}
    # pscli refuses to resume with other settings than the run's.
    assert again["train e2e-1"] == ["train", "e2e", *at, *new, "--resume"]


def test_those_that_speak_are_compared_alone_as_well() -> None:
    t = replace(TABLE, systems=["e2e", "tiger", "zero-shot"], splits=["test", "unseen"])
    names = [step.name for step in systems.steps(t) if step.kind == "score"]
    assert names == ["score all test", "score speaking test", "score all unseen",
                     "score speaking unseen"]  # fmt: skip
    (alone,) = (s.words for s in systems.steps(t) if s.name == "score speaking test")
    assert sum("zero-shot" in word for word in alone) == 0


def test_members_that_are_not_shipped_are_made_first() -> None:
    """Divter's, as photoworld's presets have it, and once for all its runs; not as published."""
    t = replace(TABLE, systems=["e2e", "divter"])
    first, *others = systems.steps(t)
    assert (first.words, first.made) == (["foundations", "divter"], MADE / "divter/scores.json")
    assert "foundations" not in {step.words[0] for step in others}
    for preset, word in ((None, "foundations"), ("tiny", "foundations"), ("sun2022", "plan")):
        assert systems.steps(replace(t, preset=preset))[0].words[0] == word
    assert systems.steps(replace(t, dataset="photochat", preset=None))[0].words[0] == "plan"


def test_pscli_knows_every_command_and_option() -> None:
    known = get_command(app).commands  # type: ignore[attr-defined]
    for step in systems.steps(replace(TABLE, settings=["model.draw_steps=2"])):
        assert known[step.words[0]].make_context(step.words[0], list(step.words[1:]))
    text = MAKEFILE.read_text(encoding="utf-8")
    (recipe,) = re.findall(r"^systems:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    script = Path(systems.__file__).read_text(encoding="utf-8")
    assert "benchmarks/systems.py" in recipe
    assert all(f'"{option}"' in script for option in re.findall(r"--[a-z]+", recipe))


def test_what_is_done_is_not_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: a stand-in for pscli that fails at its fourth call, and then never."""
    for name, text in (("__init__", ""), ("__main__", FAKE)):
        Path("pscli").mkdir(exist_ok=True)
        Path("pscli", f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.setenv("FAIL", "4")
    with pytest.raises(SystemExit):
        systems.carry_out(TABLE)
    names = [step.name for step in systems.steps(TABLE)]
    assert list(systems.done(TABLE)) == names[:3]
    assert [name for name, _ in systems.left(TABLE)] == names[3:]
    monkeypatch.setenv("FAIL", "0")
    systems.carry_out(TABLE)
    assert len(Path("calls").read_text().splitlines()) == len(names) + 1  # one of them twice
    assert systems.left(TABLE) == []
    write_json(Path("s/e2e-1/config.json"), {})
    assert systems.left(TABLE) == []  # though it would be resumed now
    more = replace(TABLE, systems=[*TABLE.systems, "tiger"])
    assert {"score all test", "report all test"} <= {name for name, _ in systems.left(more)}
    longer, answers = replace(TABLE, count=20), [n for n in names if n.startswith("answer")]
    assert [name for name, _ in systems.left(longer)] == answers
    before = len(Path("calls").read_text().splitlines())
    systems.carry_out(longer)
    again = len(Path("calls").read_text().splitlines()) - before
    assert again == len(answers) + 2 and systems.left(longer) == []  # and what compares them
    shutil.rmtree("s/preds/test/e2e-1")
    assert [name for name, _ in systems.left(longer)] == ["answer e2e-1 test"]


def test_hours_are_those_of_steps_of_the_kind_or_of_their_likes() -> None:
    """Oracle: by hand, of 1.5 h of training and 0.5 h of answers."""
    assert all(seconds is None for _, seconds in systems.left(TABLE))
    assert "10 steps are left: 0.00 h, and 10 of which none" in systems.told(TABLE)
    for kind, name, hours, made in (
        ("train e2e", "train e2e-0", 1.5, TABLE.run("e2e", 0) / "agent"),
        ("answer e2e", "answer e2e-0 test", 0.5, TABLE.preds("e2e", 0, "test")),
    ):
        made.mkdir(parents=True)
        append_line(Path("s/done.jsonl"), {"step": name, "kind": kind, "seconds": 3600 * hours})
    left = dict(systems.left(TABLE))
    assert left["train e2e-1"] == 5400 and left["answer e2e-1 test"] == 1800
    assert left["answer zero-shot-1 test"] == 1800  # as others answer
    assert "8 steps are left: 3.00 h, and 4 of which none" in systems.told(TABLE)


def test_a_line_that_is_no_note_is_named() -> None:
    append_line(Path("s/done.jsonl"), {"step": "train e2e-0"})
    with pytest.raises(DataError, match=r"done\.jsonl has a line without kind, seconds, step"):
        systems.done(TABLE)


def test_what_is_named_twice_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same run twice would be two seeds without a spread."""
    found: list[systems.Table] = []
    monkeypatch.setattr(systems, "carry_out", found.append)
    monkeypatch.setattr(systems, "page", lambda t: "")
    monkeypatch.setattr(systems, "scored", lambda t, split: {})
    monkeypatch.setattr(systems, "figure", lambda read, path: None)
    args = ["photoworld", "--seeds", "1", "0", "1", "--systems", "e2e", "e2e", "--splits", "dev"]
    monkeypatch.setattr(sys, "argv", ["systems.py", *args, "dev"])
    systems.main()
    (t,) = found
    assert (t.seeds, t.systems, t.splits) == ([1, 0], ["e2e"], ["dev"])


@pytest.mark.parametrize("args", [["nowhere"], ["photoworld", "--systems", "e2f"]])
def test_unknown_names_are_refused_without_a_traceback(
    args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["systems.py", *args])
    monkeypatch.setattr(systems, "carry_out", pytest.fail)
    with pytest.raises(SystemExit, match="2"):
        console.script(systems.main)
    assert "Unknown" in capsys.readouterr().err


def test_who_stops_a_script_sees_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="130"):
        console.script(stopped)
    assert capsys.readouterr().err == ""


# -- the table ---------------------------------------------------------------------------------


def score(value: float, n: int = 9, **more: Any) -> dict[str, Any]:
    return {"name": "F", "value": value, "n": n, **more}


def test_a_cell_is_the_mean_its_deviation_and_the_mean_of_the_ends() -> None:
    """Oracle: by hand."""
    seeds = [score(1.0, interval=[0.0, 3.0]), score(4.0, interval=[2.0, 4.0])]
    assert systems.cell(seeds) == "2.50 ± 2.12 [1.00, 3.50] (n = 9)"
    assert systems.cell([score(1.0)]) == "1.00 (n = 9)"
    assert systems.cell([score(1.0), None]) == "–"
    several = [score(1.0, 9), score(1.0, 12), score(1.0, 7)]
    assert systems.cell(several) == "1.00 ± 0.00 (n = 7–12)"


def test_budgets_are_parameters_updates_seconds_and_operations() -> None:
    """Oracle: 3 TFLOP a step, 10 and 30 updates in 4 and 8 seconds."""
    parts = [{"trained": 1000, "frozen": 5}, {"trained": 500, "frozen": 0}]
    for name in TABLE.systems:
        write_json(TABLE.plan(name), {"components": parts, "flops": 3e12})
    for seed, updates, seconds in ((0, 10, 4.0), (1, 30, 8.0)):
        place = Path(f"s/e2e-{seed}/checkpoints/step-{updates:08d}/state.json")
        write_json(place, {"step": updates, "seconds": seconds})
    rows = systems.budgets(TABLE).splitlines()
    assert rows[2:] == ["| e2e | 1,500 | 5 | 20 | 6 | 60.0 |",
                        "| zero-shot | 1,500 | 5 | 0 | 0 | 0 |"]  # fmt: skip
    place.unlink()  # the last run's: what was spent is not known any more
    assert systems.budgets(TABLE).splitlines()[2] == "| e2e | 1,500 | 5 | – | – | – |"


def test_the_page_has_a_table_of_every_type_and_split() -> None:
    test_budgets_are_parameters_updates_seconds_and_operations()
    for name, shift in (("e2e", 0.0), ("zero-shot", 2.0)):
        for seed in (0, 1):
            kinds = {"share": {"n": 4, "scores": [score(5.0 + shift, 4)], "reasons": {}}}
            kinds |= {"chat": {"n": 5, "scores": [score(3.0)]}} if name == "e2e" else {}
            whole = {"scores": [score(seed + shift)], "reasons": {}}
            of = {"n": 9, "overall": whole, "kinds": kinds}
            write_json(TABLE.preds(name, seed, "test") / "scores.json", of)
    page = systems.page(TABLE)
    command = "python benchmarks/systems.py photoworld --preset demo --count 9"
    assert f"`{command}` wrote this page (20" in page and "up to 9 dialogues" in page
    parts = page.split("\n## test: ")
    assert [part.splitlines()[0] for part in parts[1:]] == ["all", "share", "chat"]
    assert "| F | 0.50 ± 0.71 (n = 9) | 2.50 ± 0.71 (n = 9) |" in parts[1]
    assert "| F | 5.00 ± 0.00 (n = 4) | 7.00 ± 0.00 (n = 4) |" in parts[2]
    assert "| F | 3.00 ± 0.00 (n = 9) | – |" in parts[3]


def test_a_point_is_the_mean_of_seeds_and_of_the_ends_of_their_intervals() -> None:
    """Oracle: by hand."""

    def seed(*scores: dict[str, Any]) -> dict[str, Any]:
        return {"overall": {"scores": list(scores)}}

    pair = [seed(score(1.0, 8, interval=[0.0, 3.0])), seed(score(4.0, interval=[2.0, 4.0]))]
    assert point(pair, "F") == (2.5, 1.0, 3.5, 9)
    assert point([pair[0], seed()], "F") is None and point([seed(score(1.0))], "F") is None


def test_the_figure_has_a_panel_for_each_score_and_leaves_out_what_is_missing() -> None:
    whole = [{**score(50.0, interval=[51.0, 60.0]), "name": name} for name in PANELS]
    read = {
        split: {"e2e": [{"overall": {"scores": whole}}], "zero-shot": [{"overall": {"scores": []}}]}
        for split in ("test", "unseen")
    }
    figure(read, Path("images/systems.png"))
    with Image.open("images/systems.png") as picture:
        assert picture.width > 1000


@pytest.mark.slow
def test_all_of_it_at_a_tiny_size() -> None:
    names = ["tiger", "dialog2image", "zero-shot"]
    args = ["photoworld", "--preset", "demo", "--seeds", "0", "--systems", *names, "--count", "4"]
    command = [sys.executable, systems.__file__, *args, *sets(FEW), "--out", "s"]
    subprocess.run([*command, "--plot", "systems.png"], check=True)
    page = Path("s/table.md").read_text(encoding="utf-8")
    assert "| | tiger | dialog2image | zero-shot |" in page.replace("|  |", "| |")
    assert "## test: share" in page
    left = subprocess.run([*command, "--plan"], check=True, capture_output=True, text=True)
    assert left.stdout == "0 steps are left: 0.00 h.\n"
