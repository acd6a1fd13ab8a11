"""A dataset of one's own works with every command, and ids and folders come out safe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pscli
from pscli import registry
from pscli.datasets.base import data_folder, distinct, load, named
from pscli.dialogue.schema import Dialogue, Turn
from pscli.errors import ConfigError
from pscli.fetch.dataset import fetch

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_dataset.py"
SOURCES = str(Path(pscli.__file__).parents[1])


def pscli_in(folder: Path, *args: str) -> str:
    """What the real command line prints, run in a folder."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pscli", *args],  # -P: as the installed `pscli`
        cwd=folder,
        env=os.environ | {"PYTHONPATH": SOURCES, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_is_counted_fetched_trained_on_answered_and_drawn(tmp_path: Path) -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 40
    shutil.copy(EXAMPLE, tmp_path)
    own = "own_dataset:Kites"
    counted = json.loads(pscli_in(tmp_path, "stats", own, "--json"))
    assert counted["dataset"] == "kites"
    assert [s["dialogues"] for s in counted["splits"].values()] == [6, 2, 2]
    told = pscli_in(tmp_path, "fetch", own)
    assert "data/kites: 6 dialogues of train\n" in told
    assert "photos: 10 ok\n" in told
    again = json.loads(pscli_in(tmp_path, "stats", "jsonl", "--from", "data/kites", "--json"))
    assert again["splits"] == counted["splits"]
    short = ["--set", "train.batch=2", "--set", "train.eval_dialogues=1"]
    args = ["train-e2e", "--dataset", own, "--preset", "demo", "--run", "run", *short]
    assert pscli_in(tmp_path, *args) == "run/agent\n"
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert sum("loss" in json.loads(line) for line in lines) == 3
    args = ["generate", "--dataset", own, "--agent", "run", "--out", "preds", "--count", "1"]
    assert pscli_in(tmp_path, *args) == "preds: 2 instances\n"
    assert pscli_in(tmp_path, "report", "preds", "--out", "preds.png") == "preds.png\n"
    assert (tmp_path / "preds.png").is_file()


def test_modules_of_the_current_folder_are_found_and_hide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_only_here.py").write_text("def Mine():\n    return 3\n")
    (tmp_path / "json.py").write_text("raise SystemExit\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert registry.find("dataset", "mine_only_here:Mine")() == 3
    assert registry.find("dataset", "json:dumps") is json.dumps
    assert sys.path == before
    monkeypatch.setattr(sys, "path", [str(tmp_path), *before])
    registry.find("dataset", "mine_only_here:Mine")
    assert sys.path == [str(tmp_path), *before]  # what was there stays where it was
    del sys.modules["mine_only_here"]


class Own:
    """Yields its dialogues, two of which have the same id and one an id that is a path."""

    name, licence, citation, splits = "own", "CC0", "none", ("test",)

    def load(self, split: str, count: int | None = None) -> Iterator[Dialogue]:
        for id in ("d", "D", "a/../b", ""):
            yield Dialogue((Turn("A", "Hi"), Turn("B", "Hello")), id)


def test_ids_of_a_dataset_that_yields_are_made_safe_and_different() -> None:
    ids = [dialogue.id for dialogue in load(Own(), "test")]
    assert ids[:2] == ["d", "D-2"]
    assert ids[2].startswith("a-..-b-")
    assert ids[3] == "3"
    assert len(load(Own(), "test", 2)) == 2
    with pytest.raises(ConfigError, match=r"own has no split 'dev'\. Known: test"):
        load(Own(), "dev")


@pytest.mark.parametrize(
    ("ids", "told_apart"),
    [
        (["d", "d", "d-2"], ["d", "d-2", "d-2-2"]),
        (["d-2", "d", "d"], ["d-2", "d", "d-3"]),
        (["a:1", "a-1", "A:1"], ["a:1", "a-1-2", "A:1-3"]),
        (["x"] * 3, ["x", "x-2", "x-3"]),
    ],
)
def test_ids_that_collide(ids: list[str], told_apart: list[str]) -> None:
    """Also where file systems fold case, and with the colon that Windows forbids."""
    found = [d.id for d in distinct(Dialogue((Turn("A", "x"),), id) for id in ids)]
    assert found == told_apart


def test_fetch_takes_a_dataset_that_yields(tmp_path: Path) -> None:
    from test_stats import silent

    assert fetch(Own(), tmp_path / "o", ["test"], silent).dialogues == {"test": 4}


@pytest.mark.parametrize("name", ["json:dumps", "json:__all__"])
def test_what_cannot_be_called_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"The dataset '{name}' (cannot be made: |is a list).*"):
        named(name)


def test_what_lacks_something_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"'types:SimpleNamespace' has no name, no licence, .*no load\. A dataset"
    ):
        named("types:SimpleNamespace")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("photochat", "photochat"),
        ("own_dataset:Kites", "own_dataset-Kites"),
        ("../../etc", "etc"),
        ("a b/c", "a-b-c"),
        ("..", "dataset"),
    ],
)
def test_folders_of_datasets(name: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PSCLI_DATA", raising=False)
    assert data_folder(name) == Path("data") / folder
