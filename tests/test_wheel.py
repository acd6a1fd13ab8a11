"""The wheel alone: installed into a fresh environment, and used far from any checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import venv
from pathlib import Path

import pytest

import pscli

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `pscli` of an environment that has the wheel; libraries are those that run this test."""
    pytest.importorskip("pip")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    place = folder / "venv"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index",
         "--quiet", wheel],
        check=True,
    )  # fmt: skip
    # Below the wheel's own, and without the checkout that is installed there: a path file in a
    # folder that a path file names is not read.
    (own,) = place.glob("lib/*/site-packages")
    (own / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "bin" / "pscli"


def environment(folder: Path) -> dict[str, str]:
    """Of somebody who has the wheel, lives in `folder` and is offline."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"HF_HUB_OFFLINE": "1", "HOME": str(folder)}


def run(program: Path, folder: Path, *words: str, stdin: str = "") -> str:
    done = subprocess.run(
        [program, *words], cwd=folder, input=stdin, capture_output=True, text=True, timeout=600,
        env=environment(folder),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_the_wheel_that_runs(installed: Path, tmp_path: Path) -> None:
    where = run(installed.parent / "python", tmp_path, "-c", "import pscli; print(pscli.__file__)")
    assert Path(where.strip()).is_relative_to(installed.parents[1])
    assert pscli.__version__ in run(installed, tmp_path, "--version")


def test_it_answers_scores_and_reports(installed: Path, tmp_path: Path) -> None:
    for name in ("dialog.json", "kites.png"):
        shutil.copy(ROOT / "examples" / name, tmp_path)
    reply = json.loads(run(installed, tmp_path, "generate", "--context", "dialog.json", "--json"))
    assert reply["text"] and any((tmp_path / "replies").iterdir())
    answers = ("generate", "--dataset", "photoworld", "--count", "2", "--out", "preds/mine")
    run(installed, tmp_path, *answers)
    assert "BLEU-1" in run(installed, tmp_path, "score", "preds/mine")
    run(installed, tmp_path, "report", "preds/mine", "--out", "report")
    assert (tmp_path / "report" / "index.html").is_file()


def test_it_talks(installed: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "kites.png", tmp_path)
    said = run(installed, tmp_path, "chat", "kites.png", stdin="How many kites can you see?\n")
    assert "I see two." in said


def test_it_shows_its_showcase(installed: Path, tmp_path: Path) -> None:
    said = run(installed, tmp_path, "demo", "--out", "talk")
    assert "blue" in said
    assert (tmp_path / "talk" / "dialog.json").is_file()


def test_it_serves(installed: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    command = [installed, "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True,
                          env=environment(tmp_path)) as process:  # fmt: skip
        assert process.stdout
        address = process.stdout.readline().strip()
        try:
            with urllib.request.urlopen(f"{address.rstrip('/')}/v1/models", timeout=300) as answer:
                assert json.load(answer)["data"]
        finally:
            process.terminate()
