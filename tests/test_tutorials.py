"""The tutorials and the notebook do what they say: their blocks run in order, as typed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reading import ROOT, blocks, commands, understood

TUTORIALS = ROOT / "docs" / "tutorials"
each = pytest.mark.parametrize("tutorial", sorted(TUTORIALS.glob("*.md")), ids=lambda p: p.stem)


def typed(folder: Path, language: str, text: str) -> str:
    """What a block prints in a folder of its own, where `pscli` is this checkout's."""
    command = [sys.executable, "-"] if language == "python" else ["bash", "-eu"]
    done = subprocess.run(
        command, input=text, cwd=folder, capture_output=True, text=True, timeout=900,
        env=environment(folder),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment(folder: Path) -> dict[str, str]:
    """A shell's, with `pscli` and `python` on the path and nobody's settings."""
    programs = folder / ".bin"
    programs.mkdir(exist_ok=True)
    for name, words in {"pscli": "-m pscli", "python": ""}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (programs / name).chmod(0o755)
    return {
        "PATH": f"{programs}:/usr/bin:/bin", "PYTHONPATH": str(ROOT / "src"), "HOME": str(folder),
        "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "80", "LANG": "C.UTF-8",
    }  # fmt: skip


def printed(shown: str, output: str) -> bool:
    """Whether the output has these lines; … stands for anything, and their ends for no spaces."""
    parts = [re.escape(part) for part in shown.strip().split("…")]
    lines = "\n".join(line.rstrip() for line in output.splitlines()) + "\n"
    return re.search(r"[\s\S]*".join(parts), lines) is not None


def test_what_is_shown_must_be_printed() -> None:
    assert printed("a: … b\n…\nc d", "x\na: 12 b  \nzz\nc d\n")
    assert not printed("a: … b\nc", "a: 12 b\nd")


@each
def test_the_program_understands_every_line_of_a_tutorial(tutorial: Path) -> None:
    """Those too that need a GPU, a network or a dataset, which no test runs."""
    found = [words for block in blocks(tutorial) for words in commands(block.text)]
    assert len(found) >= 3
    for words in found:
        assert understood(*words), words


@pytest.mark.slow
@each
def test_a_tutorial_runs(tutorial: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    output, ran = "", 0
    for block in blocks(tutorial):
        if block.language in ("sh", "python"):
            output, ran = typed(tmp_path, block.language, block.text), ran + 1
        elif block.language == "text":
            assert printed(block.text, output), f"{tutorial.name}:{block.line}\n{output}"
    assert ran >= 2


def cells() -> list[dict[str, Any]]:
    notebook = json.loads((ROOT / "examples" / "talk.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    return list(notebook["cells"])


def test_the_notebook_keeps_no_outputs() -> None:
    for cell in cells():
        wanted = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            wanted |= {"execution_count", "outputs"}
            assert cell["outputs"] == [] and cell["execution_count"] is None
        assert set(cell) == wanted


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    """Without Jupyter: a line with `!` is one of the shell, as there."""
    shutil.copytree(ROOT / "examples", tmp_path, dirs_exist_ok=True)
    code = ["import subprocess"]
    for cell in cells():
        if cell["cell_type"] == "code":
            code += [
                f"subprocess.run({line[1:].strip()!r}, shell=True, check=True)"
                if line.startswith("!")
                else line.rstrip("\n")
                for line in cell["source"]
            ]
    output = typed(tmp_path, "python", "\n".join(code))
    assert re.search(r"BLEU-2: \d+\.\d \(n = \d+\)", output), output
