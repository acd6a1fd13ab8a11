"""Systems are compared that were made alike, or it is said how they differ."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pscli.cli import app
from pscli.config import Config
from pscli.errors import ConfigError
from pscli.files import append_line, write_json
from pscli.predictions.folder import FILE_NAME, read_predictions
from pscli.predictions.settings import Settings
from pscli.predictions.trained import Trained, keep_trained, read_trained
from pscli.report import protocol
from pscli.report.protocol import made, unequal

SIDE = {"text": "a dog", "captions": [], "photos": []}
RUN = Trained("e2e", "tiny", "photoworld", "described", 0, 32, 1.0, None, 188, 412.4)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def folder(name: str, trained: Trained | None = RUN, gold: str = "a dog", **how: Any) -> Path:
    """Predictions of an agent of its own."""
    side = {"text": gold, "captions": [], "photos": []}
    append_line(Path(name, FILE_NAME), {"id": "d/1", "reference": side, "prediction": side})
    of = {"agent": name, "weights": name, "dataset": "photoworld", "split": "test", "seed": 0}
    write_json(Path(name, "config.json"), asdict(Settings(**of | {"temperature": 0.0} | how)))
    if trained:
        write_json(Path(name, "training.json"), asdict(trained))
    return Path(name)


def refuse_unequal(systems: dict[str, list[Path]], forced: bool = False) -> list[str]:
    read = {f: read_predictions(f) for folders in systems.values() for f in folders}
    return protocol.refuse_unequal(systems, read, forced)


def test_those_alike_are_compared_and_what_they_took_is_told() -> None:
    systems = {"a": [folder("a")], "b": [folder("b", replace(RUN, system="tiger", updates=90))]}
    assert unequal(systems) == []
    assert refuse_unequal(systems) == [
        "training of a |updates:188|seconds:412|runs:1",
        "training of b |updates:90|seconds:412|runs:1",
    ]


@pytest.mark.parametrize(
    ("setting", "value", "how", "trained"),
    [
        ("history", "own", {"history": "own"}, {}),
        ("seed", "4", {"seed": 4}, {}),
        ("photos", "described", {"photos": "described"}, {}),
        ("share_bias", "0.5", {"share_bias": 0.5}, {}),
        ("training seed", "7", {}, {"seed": 7}),
        ("training dialogues", "1920", {}, {"dialogues": 1920}),
        ("training epochs", "2.0", {}, {"epochs": 2.0}),
    ],
)
def test_one_setting_that_differs_is_enough(
    setting: str, value: str, how: dict[str, Any], trained: dict[str, Any]
) -> None:
    """Oracle: the one that was changed."""
    systems = {"a": [folder("a")], "b": [folder("b", replace(RUN, **trained), **how)]}
    (heads, row) = unequal(systems)
    assert heads == ["setting", "a", "b"] and (row[0], row[2]) == (setting, value)
    assert row[1] == made(systems["a"])[setting][0] != value
    with pytest.raises(ConfigError, match="not made alike") as refused:
        refuse_unequal(systems)
    assert f"\n{setting}" in refused.value.message and "--force" in refused.value.hint
    told = refuse_unequal(systems, forced=True)[1]
    assert told.split() == f"not alike: {setting} {row[1]} {value}".split()


def test_settings_of_one_agent_may_differ_and_what_nobody_knows() -> None:
    gold, own = folder("a"), folder("b", history="own", weights="a")
    assert unequal({"a": [gold], "b": [own]}) == []
    side = {"text": "x"}
    append_line(Path("c", FILE_NAME), {"id": "d/1", "reference": side, "prediction": side})
    old = folder("d", None)
    assert unequal({"a": [gold], "c": [Path("c")], "d": [old]}) == []


def test_somebody_else_s_are_no_agent_s_and_agents_in_training_their_run_s() -> None:
    """Oracle: by hand. Without its settings, nobody knows whose agent a folder is of."""
    sides = {name: [folder(name, None, seed=seed), folder(f"{name}2")]
             for seed, name in enumerate("ab")}  # fmt: skip
    assert unequal(sides)[1] == ["seed", "0", "0, 1"]
    for name in sides:
        Path(f"{name}2", "config.json").unlink()
    assert unequal(sides)[1] == ["seed", "0", "1"]
    dev = {"weights": "step 60", "split": "dev"}
    runs = {name: [folder(f"{name}-dev", None, photos=photos, agent=f"runs/{name}", **dev)]
            for name, photos in (("c", "strict"), ("d", "described"))}  # fmt: skip
    assert unequal(runs)[1] == ["photos", "strict", "described"]


def test_seeds_are_compared_as_a_whole() -> None:
    def of(name: str, seeds: list[int]) -> list[Path]:
        return [folder(f"{name}{s}", replace(RUN, seed=s)) for s in seeds]

    assert unequal({"a": of("a", [0, 1]), "b": of("b", [1, 0])}) == []
    assert unequal({"a": of("c", [0, 1]), "b": of("d", [1])})[1] == ["training seed", "0, 1", "1"]


def score(*args: str) -> Any:
    return CliRunner().invoke(app, ["score", *args, "--draws", "0"])


@pytest.mark.parametrize(
    ("setting", "how", "trained"),
    [
        ("split", {"split": "dev"}, {}),
        ("history", {"history": "own", "weights": "a"}, {}),  # of one agent, too
        ("temperature", {"temperature": 1.0}, {}),
        ("training epochs", {}, {"epochs": 2.0}),
        ("training system", {}, {"system": "pipeline"}),
        ("training preset", {}, {"preset": "demo"}),
    ],
)
def test_seeds_of_a_system_differ_in_nothing_else(
    setting: str, how: dict[str, Any], trained: dict[str, Any]
) -> None:
    """Crossed, either way is in both systems: their sets of values are the same."""
    for name, seed, other in [("a", 0, False), ("b", 1, True), ("c", 0, True), ("d", 1, False)]:
        run = replace(RUN, seed=seed, **(trained if other else {}))
        folder(name, run, **({"seed": seed} | (how if other else {})))
    result = score("--group", "x=a,b", "--group", "y=c,d")
    assert result.exit_code == 2 and not result.stdout
    lines = result.stderr.splitlines()
    assert [line.split() for line in lines if line.startswith("setting")] == [
        ["setting", "a", "b"], ["setting", "c", "d"],
    ]  # fmt: skip
    assert [line.partition("  ")[0] for line in lines].count(setting) == 2
    result = score("--group", "x=a,b", "--force")
    assert result.exit_code == 0 and f"not alike: {setting}  " in result.stdout
    assert score("--group", "x=a,d").exit_code == 0


def test_seeds_of_a_system_answer_equally_many_instances() -> None:
    folder("a")
    append_line(folder("b") / FILE_NAME, {"id": "d/2", "reference": SIDE, "prediction": SIDE})
    result = score("--group", "x=a,b")
    assert result.exit_code == 2 and "\ninstances  1  2\n" in result.stderr
    assert score("a", "b").exit_code == 0  # those of both are compared


def test_splits_of_one_agent_are_not_compared() -> None:
    folder("a")
    for setting in ("dataset", "split", "photos"):
        folder(setting, weights="a", history="own", **{setting: "described"})
        result = score("a", setting)
        assert result.exit_code == 2 and f"\n{setting}  " in result.stderr
        assert "history" not in result.stderr


def test_what_has_other_references_is_no_pair() -> None:
    """Two test sets are numbered alike, as plain lists always are."""
    for name in ("a", "b", "c"):
        folder(name, gold="a  dog " if name == "b" else "a dog" if name == "a" else "a red cat")
    Path("c/config.json").unlink()
    assert score("a", "b").exit_code == 0
    for args in (["a", "b", "c"], ["--group", "x=a,c"]):
        result = score(*args)
        assert result.exit_code == 2 and not result.stdout
        assert "references differ in a and c: 1, the first 'd/1'" in result.stderr
    assert "not alike: references differ in a and c" in score("a", "c", "--force").stdout
    for out in ("page", "both.png"):
        result = CliRunner().invoke(app, ["report", "a", "c", "--out", out])
        assert result.exit_code == 2 and "references differ in a and c" in result.stderr
        assert not Path(out).exists()


def test_so_are_pictures_of_them() -> None:
    folder("a")
    folder("b", replace(RUN, batch=8))
    drawn = ["report", "a", "b", "--out", "both.png"]
    result = CliRunner().invoke(app, drawn)
    assert result.exit_code == 2 and "training batch" in result.stderr
    assert not Path("both.png").exists()
    result = CliRunner().invoke(app, [*drawn, "--force"])
    assert result.exit_code == 0 and Path("both.png").is_file()
    assert "not alike: training batch  32  8" in result.stderr


@pytest.mark.parametrize("command", ["score", "report"])
def test_the_commands_refuse_and_may_be_forced(command: str) -> None:
    folder("a")
    folder("b", replace(RUN, batch=8))

    def run(*more: str) -> Any:
        out = ["--out", "page"] if command == "report" else []
        return CliRunner().invoke(app, [command, "a", "b", "--draws", "0", *out, *more])

    result = run()
    assert result.exit_code == 2 and not result.stdout and not Path("page").exists()
    assert "training batch" in result.stderr and "--force" in result.stderr
    result = run("--force")
    assert result.exit_code == 0, result.output
    shown = result.stdout if command == "score" else Path("page/index.html").read_text()
    assert "not alike: training batch  32  8" in shown
    assert "training of b |updates:188" in shown
    if command == "score":
        told = json.loads(run("--force", "--json").stdout)["made"]
        assert "not alike: training batch  32  8" in told


def test_what_a_run_took_is_kept_beside_the_predictions_of_its_agent() -> None:
    write_json(Path("r/checkpoints/step-00000007/state.json"), {"step": 7, "seconds": 3.5})
    append_line(Path("r/metrics.jsonl"), {"step": 0, "loss": 1.0})
    config = Config(system="tiger", seed=3)
    for agent in ("r", "r/agent"):
        keep_trained(Path("preds"), Path(agent), config)
        found = read_trained(Path("preds"))
        assert found and (found.system, found.seed, found.updates, found.seconds) == (
            "tiger", 3, 7, 3.5,
        )  # fmt: skip
    keep_trained(Path("other"), Path("away"), config)
    assert read_trained(Path("other")) is None


@pytest.mark.parametrize("state", [None, "", "[]", '{"step": 7}', '{"step": "x", "seconds": 1}'])
def test_what_a_run_took_is_not_made_up(state: str | None) -> None:
    """Whoever deletes checkpoints to make room has not trained in no time."""
    append_line(Path("r/metrics.jsonl"), {"step": 0, "loss": 1.0})
    if state is not None:
        Path("r/checkpoints/step-00000007").mkdir(parents=True)
        Path("r/checkpoints/step-00000007/state.json").write_text(state)
    preds = folder("preds", None)
    keep_trained(preds, Path("r"), Config(seed=3))
    found = read_trained(preds)
    assert found and (found.seed, found.updates, found.seconds) == (3, None, None)
    assert refuse_unequal({"a": [preds]}) == []


@pytest.mark.parametrize(
    "pairs", [[], None, {}, {"seconds": "x"}, {"seed": None}, {"batch": [8]}, {"more": 1}]
)
def test_a_broken_training_json_tells_nothing(pairs: Any) -> None:
    whole = asdict(RUN)
    if isinstance(pairs, dict):
        pairs = whole | pairs if pairs else {}
    write_json(folder("a") / "training.json", pairs)
    assert read_trained(Path("a")) is None
    assert refuse_unequal({"a": [Path("a")], "b": [folder("b", None)]}) == []


def test_a_run_that_is_called_as_what_answers_has_not_trained_it() -> None:
    """`pipeline` may be a system without training, and a run of this folder."""
    append_line(Path("pipeline/metrics.jsonl"), {"step": 0, "loss": 1.0})
    append_line(Path("bundled/metrics.jsonl"), {"step": 0, "loss": 1.0})
    few = ["--dataset", "photoworld", "--count", "1"]
    for name, more in (("pipeline", ["--system", "pipeline"]), ("bundled", [])):
        done = CliRunner().invoke(app, ["generate", *few, *more, "--out", f"preds-{name}"])
        assert done.exit_code == 0, done.output
        assert not Path(f"preds-{name}/training.json").exists()
