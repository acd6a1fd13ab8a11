"""The README, typed as it stands: in a clone, line by line, in its order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pscli.cli import app
from reading import ROOT, blocks, commands, understood

README = ROOT / "README.md"
PYTHON, BIBLIOGRAPHY = "python", "bibtex"
# Lines that are not run to their end, by how they begin, and why; their options are parsed.
UNRUN = {
    "python3 -m venv": "brings 6.4 GB; `test_wheel.py` installs without dependencies",
    "pscli fetch photochat": "needs the network; `test_fetch.py` has servers of its own",
    "pscli stats photochat": "needs the dataset",
    "pscli train-e2e": "ten minutes; the tutorials train for some steps",
    "pscli train-pipeline": "ten minutes; `test_golden.py` trains for some steps",
    "pscli train dialog2image": "ten minutes; `test_dialog2image.py` trains for some steps",
    "pscli train tiger": "ten minutes; `test_tiger.py` trains for some steps",
    "pscli train examples.own_system:Blind": "ten minutes; `test_examples.py` trains two steps",
    "pscli caption photoworld": "captions all 7,700 dialogues; `test_caption.py` captions a few",
    "pscli serve": "waits for visitors; `test_serve_api.py` has some",
    "pscli push": "needs an account; `test_push.py` has a hub of its own",
    "pscli foundations": "hours",
}


def lines(unrun: bool) -> list[str]:
    """Command lines of the README, without their comments: those of `UNRUN`, or the others."""
    typed = [line for b in blocks(README) if not b.language for line in b.text.splitlines()]
    bare = [re.split(r"\s+# ", line)[0] for line in typed]
    return [line for line in bare if bool(reason(line)) == unrun]


def reason(line: str) -> str:
    return next((why for start, why in UNRUN.items() if line.startswith(start)), "")


def test_every_block_is_typed_and_every_reason_has_its_line() -> None:
    assert {b.language for b in blocks(README)} == {"", PYTHON, BIBLIOGRAPHY}
    typed = lines(unrun=True)
    assert all(any(line.startswith(start) for line in typed) for start in UNRUN)
    known = ("git clone ", "pscli ", ".venv/bin/pscli ", "python3 ")
    assert all(line.startswith(known) for line in typed + lines(unrun=False))


@pytest.mark.parametrize("line", [x for x in lines(unrun=True) if x.startswith("pscli ")])
def test_a_line_that_is_not_run_is_one_that_the_program_understands(line: str) -> None:
    """Its options and their values are parsed as for running it."""
    (words,) = commands(line)
    assert understood(*words)
    with pytest.raises(Exception, match="--gone"):
        understood(*words, "--gone")


def test_make_knows_every_target_that_a_page_names() -> None:
    pages = [README, *(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md"]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    targets = {t for text in texts for t in re.findall(r"(?:`|^)make ([a-z][a-z-]*)", text, re.M)}
    assert {"demo", "test", "docs"} <= targets
    for target in sorted(targets):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout, done.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `git clone` gives, with a `.venv` whose `pscli` is the clone's own."""
    folder = tmp_path_factory.mktemp("readme")
    (first,) = [line for line in lines(unrun=False) if line.startswith("git clone")]
    typed(folder, first.replace("REPOSITORY", shlex.quote(str(ROOT))))
    programs = folder / "pscli" / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "pscli").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pscli "$@"\n')
    (programs / "pscli").chmod(0o755)
    return folder / "pscli"


def typed(folder: Path, line: str) -> None:
    here = {"PATH": f"{folder}/.venv/bin:/usr/bin:/bin", "PYTHONPATH": str(folder / "src")}
    done = subprocess.run(
        ["bash", "-eu", "-c", line], cwd=folder, capture_output=True, text=True, timeout=900,
        stdin=subprocess.DEVNULL, env=os.environ | here | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


@pytest.mark.slow
def test_every_other_line_runs_as_it_stands(clone: Path) -> None:
    for line in lines(unrun=False):
        if not line.startswith("git clone"):
            typed(clone, line)
    for made in ("replies", "preds/a", "preds/b", "report/index.html", "conversations.png"):
        assert (clone / made).exists(), made


@pytest.mark.slow
def test_the_lines_of_python_run_as_they_stand(clone: Path) -> None:
    (block,) = [b for b in blocks(README) if b.language == PYTHON]
    typed(clone, f"{shlex.quote(sys.executable)} -c {shlex.quote(block.text)}")


def test_help_of_every_command_that_the_readme_names() -> None:
    names = {line.split()[1] for line in lines(True) + lines(False) if "pscli " in line[:16]}
    for name in sorted(names):
        assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0
