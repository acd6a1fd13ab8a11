"""The command line: what it prints, where it writes, and how it refuses."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner, Result

import pscli
from pscli import console
from pscli.cli import app
from pscli.config import Config, demo, tiny
from pscli.dialogue.schema import Dialogue, Turn
from pscli.errors import ConfigError
from pscli.files import append_line, locked, write_json
from pscli.metrics.base import Score, Scored
from pscli.metrics.group import grouped
from pscli.metrics.score import Scores
from pscli.photoworld.dataset import Photoworld
from pscli.photoworld.members import MADE
from pscli.predictions.folder import FILE_NAME
from pscli.predictions.settings import Settings
from pscli.runs import Run

COMMANDS = [
    "fetch", "stats", "inspect", "plan", "train-e2e", "train-pipeline", "generate", "chat", "demo",
    "score", "report", "doctor", "foundations",
]  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PSCLI_DATA", raising=False)
    return tmp_path


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, args)))


def refused(result: Result, *parts: str) -> None:
    """Exit code 2, everything on stderr, no traceback."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    plain = re.sub(r"[\s│]+", " ", result.stderr)
    for part in parts:
        assert part in plain


def passed(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


# ---------------------------------------------------------------------------- everywhere


def test_light_commands_do_not_import_torch(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from typer.testing import CliRunner
        import pscli
        from pscli.cli import app
        for line in sys.argv[1:]:
            result = CliRunner().invoke(app, line.split())
            assert result.exit_code == 0, result.output
        heavy = {"torch", "transformers", "diffusers", "matplotlib"} & set(sys.modules)
        sys.exit(f"imported {heavy}" if heavy else 0)
    """
    lines = [
        "--help",
        "fetch photoworld --count 1 --split dev",
        "stats photoworld --from data/photoworld",
        *(f"{command} --help" for command in COMMANDS),
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *lines],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(pscli.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_one_line_and_tells_every_option(command: str) -> None:
    assert command in passed(run("--help"))
    shown = passed(run(command, "--help"))
    from typer.main import get_command

    known = get_command(app).commands[command]  # type: ignore[attr-defined]
    assert known.help.splitlines()[0].endswith(".")
    for parameter in known.params:
        assert parameter.name == "help" or parameter.help
        assert parameter.opts[0] in shown or parameter.metavar in shown


def test_the_version() -> None:
    shown = dict(line.split() for line in passed(run("--version")).splitlines())
    assert shown.pop("pscli") == pscli.__version__
    assert shown.pop("python") == platform.python_version()
    assert shown == {name: importlib.metadata.version(name) for name in shown}


def test_the_public_names_are_loaded_when_asked_for() -> None:
    assert pscli.Dialogue is Dialogue
    assert set(pscli.__all__) <= set(dir(pscli))
    with pytest.raises(AttributeError, match="no attribute 'Bot'"):
        _ = pscli.Bot


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["scores"], ["No such command 'scores'", "Did you mean 'score'"]),
        (["stats", "photoworld", "--jsno"], ["--jsno", "--json"]),
        (["stats"], ["Missing argument"]),
        (["stats", "photowrld"], ["Unknown dataset 'photowrld'. Did you mean 'photoworld'?"]),
        (["stats", "photoworld", "--from", "no"], ["Error: no holds no dataset."]),
        (["fetch", "photochatt"], ["Unknown dataset 'photochatt'"]),
        (["fetch", "photoworld", "--split", "tst"], ["no split 'tst'", "train, dev, test"]),
        (["fetch", "photoworld", "--count", "0"], ["--count"]),
        (["train-e2e", "--dataset", "photowold"], ["Did you mean 'photoworld'?"]),
        (["train-e2e", "--preset", "tinny"], ["Unknown preset 'tinny'. Did you mean 'tiny'?"]),
        (["train-e2e", "--perceptron", "qforma"], ["Did you mean 'qformer'?"]),
        (["train-e2e", "--bridge", "dvmt"], ["Did you mean 'dvtm'?"]),
        (["train-pipeline", "--bridge", "dvtm"], ["No such option", "--bridge"]),
        (["train-e2e", "--set", "train.lr"], ["--set train.lr has no value"]),
        (["train-e2e", "--set", "train.rl=1"], ["Unknown setting 'train.rl'"]),
        (["train-e2e", "--set", "train.lr=fast"], ["'train.lr' is 'fast'", "Expected float"]),
        (["train-e2e", "--set", "model.bridge=dvmt"], ["Did you mean 'dvtm'?"]),
        (["train-e2e", "--set", "system=pipeline"], ["trains 'e2e', not 'pipeline'"]),
        (["train-e2e", "--resume"], ["Name it: --run"]),
        (["train-e2e", "--resume", "--overwrite"], ["contradict"]),
        (["generate"], ["--context FILE or --dataset NAME"]),
        (["generate", "--context", "a", "--dataset", "photoworld"], ["either --context"]),
        (["generate", "--dataset", "photoword"], ["Did you mean 'photoworld'?"]),
        (["generate", "--context", "a", "--temperature", "-1"], ["--temperature"]),
        (["score"], ["at least one folder"]),
        (["score", "no"], ["no has no predictions.jsonl"]),
        (["score", "x", "--extractor", "photowold"], ["Did you mean 'photoworld'?"]),
        (["score", "--group", "e2e"], ["--group e2e names no folders"]),
        (["score", "x", "--json", "--format", "csv"], ["--format: --json does not read it"]),
        (["fetch", "photoworld", "--verify", "--overwrite"], ["--overwrite: --verify does not"]),
        (["generate", "--context", "a", "--use", "a:b"], ["--use: the bundled agent does not"]),
        (["serve", "--use", "a:b"], ["--use: the bundled agent does not"]),
        (["caption", "photoworld", "--out", "x", "--use", "a:b"], ["--use: the bundled captioner"]),
        (["chat", "--use", "a:b"], ["--use: the bundled agent does not"]),
        (["chat", ".."], [".. is a folder and no photo.", "--agent .."]),
        (["report", "no", "--out", "x.png"], ["no has no predictions.jsonl"]),
        (["report", "no", "--out", "x.html"], ["ends in .png"]),
    ],
)
def test_mistakes_are_told_and_exit_with_2(args: list[str], parts: list[str]) -> None:
    refused(run(*args), *parts)
    assert list(Path().iterdir()) == []


def test_debug_shows_the_traceback() -> None:
    result = run("--debug", "stats", "photowrld")
    assert isinstance(result.exception, ConfigError)


def test_ctrl_c_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Photoworld, "load", interrupted)
    result = run("stats", "photoworld")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "Interrupted.\n")


def test_a_folder_that_cannot_be_written_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(run("fetch", "photoworld", "--count", 1, "--out", "file/x"), "Error: ", "File exists")


def test_a_file_in_the_place_of_a_folder_is_told() -> None:
    Path("dialog.json").write_text('{"turns": [{"speaker": "A", "text": "Hi"}]}')
    Path("taken").write_text("")
    for out in ("taken", "taken/below"):
        answer = ["generate", "--context", "dialog.json", "--out", out]
        refused(run(*answer), "taken", "A folder was to be there: name another.")
        refused(run("chat", "--out", out), "taken", "A folder was to be there: name another.")
    refused(run("demo", "--out", "taken"), "taken", "A folder was to be there: name another.")
    for part in ("llm", "perceptron", "generator"):
        weights = ["--set", f"model.{part}.weights=taken"]
        refused(run("plan", *weights), "taken is a file.", ".gguf")
        answer = ["generate", "--context", "dialog.json", "--system", "e2e", *weights]
        refused(run(*answer), "taken is a file.", ".gguf")
    refused(run("foundations", "composing", "--out", "taken", "--work", "work"), "taken", "exists")


def test_an_address_that_is_not_asked_is_told() -> None:
    part = {"type": "image_url", "image_url": {"url": "http://127.0.0.1/dog.jpg"}}
    message = {"role": "user", "content": [{"type": "text", "text": "Look!"}, part]}
    Path("talk.json").write_text(json.dumps({"messages": [message]}))
    told = "Its address is not asked here: save what is at http://127.0.0.1/dog.jpg under that name"
    refused(run("generate", "--context", "talk.json"), "does not exist", told)
    turn = {"speaker": "A", "text": "Look!", "photo": "http://127.0.0.1/dog.jpg"}
    Path("talk.json").write_text(json.dumps({"turns": [turn]}))
    told = "No address is asked here: save the photo"
    refused(run("generate", "--context", "talk.json"), "does not exist", told)
    refused(run("chat", "http://127.0.0.1/dog.jpg"), "does not exist", told)


def test_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console.result("[IMG] [red]a[/red] :smile: [/IMG] " + "x" * 200)
    console.show_error(ConfigError("no [/IMG] here", "[bold]"))
    out, err = capsys.readouterr()
    assert out == "[IMG] [red]a[/red] :smile: [/IMG] " + "x" * 200 + "\n"
    assert err == "Error: no [/IMG] here\n[bold]\n"


def test_half_blocks_hold_two_pixels_each() -> None:
    image = Image.new("RGB", (2, 4))
    colours = [(10 * i, 0, 255) for i in range(8)]
    image.putdata(colours)
    text = console.half_blocks(image, 2)
    assert text.plain == "▀▀\n▀▀\n"
    shown = [
        (span.style.color.triplet, span.style.bgcolor.triplet)  # type: ignore[union-attr]
        for span in text.spans
    ]
    expected = [(0, 2), (1, 3), (4, 6), (5, 7)]
    assert shown == [(colours[a], colours[b]) for a, b in expected]


def test_progress_without_a_terminal_is_ten_plain_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with console.progress("Drawing", 1000) as advance:
        for _ in range(1000):
            advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert (lines[0], lines[-1]) == ("Drawing: 100 of 1,000", "Drawing: 1,000 of 1,000")


# ---------------------------------------------------------------------------- data


def test_fetch_then_stats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSCLI_DATA", str(tmp_path / "big"))
    result = run("fetch", "photoworld", "--count", 2, "--split", "test", "--split", "dev")
    folder = tmp_path / "big" / "photoworld"
    assert f"{folder}: 2 dialogues of test\n" in passed(result)
    assert "Licence of photoworld: Apache-2.0" in result.stdout
    assert "photoworld dev" in result.stderr
    shown = json.loads(passed(run("stats", "photoworld", "--json", "--from", folder)))
    assert shown["splits"]["test"]["dialogues"] == 2
    assert shown["total"]["dialogues"] == 4
    parts = shown["splits"].values()
    assert shown["total"]["photos"] == sum(part["photos"] for part in parts)
    again = run("fetch", "photoworld", "--count", 1)
    refused(again, "exists already.", "--overwrite")
    passed(run("fetch", "photoworld", "--count", 1, "--split", "dev", "--overwrite"))
    assert sorted(p.name for p in folder.glob("*.jsonl")) == ["dev.jsonl", "manifest.jsonl"]


def test_stats_of_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"train": 3, "dev": 1, "test": 2, "unseen": 1}
    whole = Photoworld.load
    monkeypatch.setattr(Photoworld, "load", lambda self, split: whole(self, split, sizes[split]))
    lines = [line.split() for line in passed(run("stats", "photoworld")).splitlines()]
    assert ["train", "dev", "test", "unseen", "total"] in lines
    assert ["dialogues", "3", "1", "2", "1", "7"] in lines


# ---------------------------------------------------------------------------- training


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Config, Path, bool]]:
    """Stands in for the training; what it was asked for."""
    calls: list[tuple[Config, Path, bool]] = []

    def run_training(
        config: Config, run: Path, *, resume: bool, overwrite: bool, tracker: str | None
    ) -> None:
        calls.append((config, run, resume))
        if not resume and os.environ.get("RANK", "0") == "0":
            Run.start(run, config, overwrite)

    fake = SimpleNamespace(run_training=run_training)
    monkeypatch.setitem(sys.modules, "pscli.training.experiment", fake)
    return calls


def test_options_make_the_configuration(trained: list[Any]) -> None:
    args = "--preset demo --perceptron linear --bridge none --seed 3 --run r"
    passed(run("train-e2e", *args.split(), "--set", "train.lr=1e-4", "--set", "train.epochs=2"))
    ((config, folder, resume),) = trained
    expected = demo("e2e").to_json()
    expected["seed"] = 3
    expected["model"]["perceptron"]["kind"] = "linear"
    expected["model"]["bridge"] = "none"
    expected["train"] |= {"lr": 1e-4, "epochs": 2.0}
    assert (config.to_json(), folder, resume) == (expected, Path("r"), False)
    written = json.loads((folder / "config.json").read_text())
    assert Config.from_json(written) == config


def test_a_run_gets_a_dated_name(trained: list[Any]) -> None:
    shown = passed(run("train-pipeline"))
    ((config, folder, _),) = trained
    assert config == tiny("pipeline")
    assert re.fullmatch(r"runs/pipeline-\d{8}-\d{6}", str(folder))
    assert shown == f"{folder}/agent\n"


def test_a_run_is_not_overwritten_unasked(trained: list[Any]) -> None:
    passed(run("train-e2e", "--run", "r"))
    Path("r/metrics.jsonl").write_text("old")
    refused(run("train-e2e", "--run", "r"), "Error: r exists already.", "--resume", "--overwrite")
    assert Path("r/metrics.jsonl").is_file()
    passed(run("train-e2e", "--run", "r", "--overwrite"))
    assert not Path("r/metrics.jsonl").exists()
    Path("mine").mkdir()
    Path("mine/thesis.txt").touch()
    refused(run("train-e2e", "--run", "mine", "--overwrite"), "no config.json")
    assert Path("mine/thesis.txt").is_file()
    Path("config.json").write_text(Path("r/config.json").read_text())
    refused(run("train-e2e", "--run", ".", "--overwrite"), ". cannot be replaced")
    refused(run("train-e2e", "--run", "."), ". exists already", "--resume")


@pytest.mark.parametrize("theirs", ['{"model_type": "llama"}', '{"system": "e2e"}', "[1]", "{"])
def test_a_configuration_of_something_else_gives_up_no_folder(
    trained: list[Any], theirs: str
) -> None:
    """As of a model of transformers, or of predictions."""
    Path("model").mkdir()
    Path("model/config.json").write_text(theirs)
    refused(run("train-e2e", "--run", "model", "--overwrite"), "its config.json is not one of ours")
    asked = run("train-e2e", "--run", "model")
    refused(asked, "model exists already")
    assert "--resume" not in asked.stderr
    assert Path("model/config.json").read_text() == theirs


def test_a_resumed_run_keeps_its_configuration(trained: list[Any]) -> None:
    passed(run("train-e2e", "--preset", "demo", "--seed", 5, "--run", "r"))
    passed(run("train-e2e", "--run", "r", "--resume"))
    passed(run("train-e2e", "--preset", "demo", "--seed", 5, "--run", "r", "--resume"))
    first, *others = trained
    assert others == [(first[0], Path("r"), True)] * 2
    refused(run("train-e2e", "--seed", 6, "--run", "r", "--resume"), "another seed than 6")
    refused(run("train-pipeline", "--run", "r", "--resume"), "r trains 'e2e'", "train e2e")
    refused(run("train-e2e", "--run", "other", "--resume"), "other cannot be resumed")
    assert len(trained) == 3


def test_processes_of_one_run_share_its_name(
    trained: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused(run("train-e2e"), "Several processes need one name")
    passed(run("train-e2e", "--run", "r"))
    monkeypatch.setenv("RANK", "1")
    passed(run("train-e2e", "--run", "r"))  # the folder that rank 0 has made is its own


def test_foundations_are_built_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fake = SimpleNamespace(build_all=lambda *args: calls.append(args), make=calls.append)
    monkeypatch.setitem(sys.modules, "pscli.photoworld.foundations.build", fake)
    passed(run("foundations", "--work", "w", "--out", "o", "--only", "vae"))
    passed(run("foundations"))
    assert calls == [(Path("w"), Path("o"), "vae"), (None, None, None)]


@pytest.mark.parametrize("family", ["looking", "composing", "divter", "uvit", "unidiffuser"])
def test_members_are_made_whole_and_by_one_process(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(run("foundations", family, "--only", "vae"), f"{family} is made as a whole")
    with locked(MADE / family, "making foundations"):
        refused(
            run("foundations", family),
            f"Another process is making foundations in runs/foundations/{family}",
        )
    refused(run("foundations", "uvat"), "Unknown foundations 'uvat'. Did you mean 'uvit'?")
    write_json(MADE / family / "work/recipe.json", {"seed": 7})
    refused(run("foundations", family), f"{family}/work was begun by another recipe")


# ---------------------------------------------------------------------------- scoring


def predictions(folder: Path, *texts: str, dialogue: str = "d") -> Path:
    for number, text in enumerate(texts, start=1):
        side = {"captions": [], "photos": []}
        reference = side | {"text": "one two three four"}
        record = {"id": f"{dialogue}/{number}", "reference": reference}
        append_line(folder / FILE_NAME, record | {"prediction": side | {"text": text}})
    return folder


def test_scores_of_several_folders_stand_side_by_side() -> None:
    folders = [predictions(Path("a"), "one two"), predictions(Path("b"), "one two three four")]
    shown = passed(run("score", *folders, "--draws", "0"))
    (row,) = (line for line in shown.splitlines() if "BLEU-1 ↑" in line)
    # Oracle: all words are right; the brevity penalty of 2 words for 4 is exp(1 - 4 / 2).
    assert re.findall(r"\d+\.\d\d", row) == ["36.79", "100.00"]
    assert shown.count("order:1|cumulative") == 1
    assert json.loads(Path("a/scores.json").read_text())["n"] == 1
    assert not list(Path("a").glob(".*"))


def test_a_group_is_its_mean_and_deviation() -> None:
    texts = {"s0": "one two", "s1": "one two three four", "s2": "one x three four"}
    folders = [predictions(Path(name), text) for name, text in texts.items()]
    result = run("score", "--json", "--group", f"e2e={','.join(map(str, folders))}", "s0")
    shown = json.loads(passed(result))
    assert list(shown["systems"]) == ["s0"]
    assert list(shown["groups"]) == ["e2e"]
    single = [json.loads((f / "scores.json").read_text())["overall"]["scores"] for f in folders]
    for score, *ones in zip(shown["groups"]["e2e"]["overall"]["scores"], *single, strict=True):
        values = [one["value"] for one in ones]
        assert score["value"] == pytest.approx(statistics.fmean(values))
        assert score["deviation"] == pytest.approx(statistics.stdev(values))
        assert score["signature"].endswith("|mean±sd-of:3|n:1")


def test_a_group_shows_every_count_and_drops_what_a_run_lacks() -> None:
    def scores(value: float, drawn: int, *more: Score) -> Scores:
        how, spread = "extractor:x|resize:64", (0.0, 1.0)
        fid = Score("FID", value, drawn, how, "lower", interval=spread, count=f"{drawn}/9")
        return Scores(9, Scored((fid, *more)))

    extra = Score("IS", 2.0, 5, "", "higher")
    whole = grouped([scores(1.0, 5, extra), scores(3.0, 7)])
    (fid,) = whole.overall.scores
    assert (fid.value, fid.n, fid.interval) == (2.0, 6, None)
    assert fid.deviation == pytest.approx(2**0.5)  # of 1 and 3, by n - 1
    assert (fid.better, fid.count) == ("lower", "5/9,7/9")
    assert fid.signature == "extractor:x|resize:64|mean±sd-of:2|n:5/9,7/9"
    assert grouped([scores(1.0, 5)]).overall["FID"].deviation is None


def test_a_broken_last_folder_is_told_before_the_first_is_scored() -> None:
    predictions(Path("a"), "one")
    Path("empty").mkdir()
    refused(run("score", "a", "empty"), "empty has no predictions.jsonl", "pscli generate")
    assert not Path("a/scores.json").exists()


# ---------------------------------------------------------------------------- pictures


def test_report_draws_the_systems_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Photoworld, split: str, count: int | None = None) -> list[Dialogue]:
        assert split == "test"
        return [Dialogue((Turn("A", "hi " * 90), Turn("B", "ho")), "d")]

    for name in ("a", "b"):
        predictions(Path(name), "reply")
    passed(run("report", "a", "b", "--out", "new/x.png"))
    monkeypatch.setattr(Photoworld, "load", load)
    settings = Settings("bundled", "0", "photoworld", "test", 0, 0.0)
    write_json(Path("b/config.json"), asdict(settings))  # any of the folders may tell
    assert passed(run("report", "a", "b", "--out", "y.png")) == "y.png\n"
    with Image.open("new/x.png") as without, Image.open("y.png") as with_context:
        assert without.width == with_context.width
        assert with_context.height > without.height
    predictions(Path("c"), "reply", dialogue="other")
    refused(run("report", "a", "c", "--out", "z.png"), "share no instance")


def test_report_takes_types_in_turn_and_dialogues_once() -> None:
    from pscli.predictions.folder import Prediction, Side
    from pscli.report.sheet import choose

    kinds = {
        "a/1": "share",
        "a/2": "look",
        "b/1": "share",
        "b/2": "look",
        "c/1": "chat",
        "c/3": None,
    }
    some = [Prediction(id, kind, Side(), Side()) for id, kind in kinds.items()]
    assert choose(some, 3) == ["a/1", "b/2", "c/1"]
    assert choose(some, 9) == ["a/1", "b/2", "c/1"]
    assert choose(some, 9, ["look"]) == ["a/2", "b/2"]
    assert choose(some, 9, ["vary"]) == []


def test_report_draws_the_curves_of_a_run() -> None:
    Path("r").mkdir()
    lines = [json.dumps({"step": i, "loss": 1.0 / (i + 1)}) for i in range(3)]
    Path("r/metrics.jsonl").write_text("\n".join([*lines, '{"step": 3, "lo']))
    passed(run("report", "r", "--out", "x.png"))
    assert Image.open("x.png").format == "PNG"
    Path("r/metrics.jsonl").write_text("nonsense\n")
    refused(run("report", "r", "--out", "y.png"), "metrics.jsonl:1 is not JSON")
    Path("r/metrics.jsonl").write_text("")
    refused(run("report", "r", "--out", "y.png"), "has logged nothing yet")
    refused(run("report", "r", "r", "--out", "y.png"), "is a run, which is drawn alone")


def test_a_table_is_not_squeezed_into_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.table import Table

    file = io.StringIO()
    monkeypatch.setattr(console, "stdout", Console(file=file, width=80))
    console.show(Table("x" * 60, "y" * 60))
    assert "x" * 60 in file.getvalue()
