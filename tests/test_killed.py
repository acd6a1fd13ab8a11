"""SIGKILL while it trains, system by system: the run that goes on ends as one never killed does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pscli.photoworld.foundations.divter import make
from pscli.photoworld.members import MADE
from pscli.registry import TABLES
from pscli.runs import Run
from test_dialog2image import sets
from test_divter import TINY
from test_shipped import weights
from test_training import curve

FEW = {
    "train.dialogues": 16, "train.batch": 2, "train.micro_batch": 2, "train.eval_dialogues": 2,
    "train.warmup": 0, "train.epochs": 1.0, "train.save_minutes": 0.0,
    "sequence.max_new_tokens": 4, "model.draw_steps": 2,
}  # fmt: skip
KILLED_AFTER = (2, 5)  # lines of the curve


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photoworld's members for divter, of a few steps."""
    folder = tmp_path_factory.mktemp("home")
    make(out=folder / MADE / "divter", recipe=TINY)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TABLES["system"] if name != "zero-shot"])
def test_a_killed_run_ends_as_one_that_was_not(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, killed = Path(name, "whole"), Path(name, "killed")
    train = [sys.executable, "-m", "pscli", "train", name]
    begun = [*train, "--preset", "demo", *sets(FEW), "--run"]
    subprocess.run([*begun, str(whole)], check=True, env=environment)
    command = [*begun, str(killed)]
    for lines in KILLED_AFTER:
        process = subprocess.Popen(command, env=environment)
        while process.poll() is None and len(Run(killed).metrics) < lines:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        command = [*train, "--run", str(killed), "--resume"]
    subprocess.run(command, check=True, env=environment)
    assert curve(killed) == curve(whole) and len(curve(whole)) >= KILLED_AFTER[-1]
    assert weights(killed) == weights(whole)
