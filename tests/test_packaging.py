"""What is shipped: the wheel's files, its dependencies, and the same version everywhere."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import pscli
from pscli.predictions.generate import read_dialogue

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "pscli"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
NEEDED = [Requirement(line) for line in PROJECT["dependencies"]]
DEVELOPERS = [Requirement(line) for line in PROJECT["optional-dependencies"]["dev"]]
EXTRAS = PROJECT["optional-dependencies"]
OPTIONAL = EXTRAS["features"] + EXTRAS["chat"] + EXTRAS["web"]
PARTNER = "torchvision"  # torch-fidelity imports it; its floor is the one that fits torch's
PROMISED = "datasets"  # for users of hub datasets; our readers need nothing of it


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.iterdir()
    return path


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [path for path in SOURCES.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert names == {f"pscli/{path.relative_to(SOURCES).as_posix()}" for path in files}
    for name in (
        "py.typed",
        "datasets/photochat.sha256",
        "photoworld/agent/agent_config.json",
        "photoworld/agent/llm/model.safetensors",
        "photoworld/weights/extractor/model.safetensors",
    ):
        assert f"pscli/{name}" in names


@pytest.mark.slow
def test_the_wheel_alone_shows_its_conversation(wheel: Path, tmp_path: Path) -> None:
    """Outside a checkout, from nothing but what the wheel holds."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "pscli", "demo", "--out", "kept"],
        cwd=elsewhere, env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "in blue" in done.stdout
    assert len(read_dialogue(elsewhere / "kept" / "dialog.json").turns) > 4
    where = "import pscli; print(pscli.__file__)"
    home = subprocess.run(
        [sys.executable, "-c", where], cwd=elsewhere, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )  # fmt: skip
    assert Path(home.stdout.strip()).is_relative_to(tmp_path / "site")


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size <= 40_000_000


def test_the_wheel_says_what_pyproject_says(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
        (points,) = (n for n in archive.namelist() if n.endswith(".dist-info/entry_points.txt"))
        assert "pscli = pscli.__main__:main" in archive.read(points).decode()
    assert f"Version: {pscli.__version__}" in lines
    needed = [Requirement(line.split(": ", 1)[1]) for line in lines if "Requires-Dist" in line]
    assert {r for r in needed if not r.marker} == set(NEEDED)


def test_one_version_and_licence() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^(version|license): (\S+)$", citation, re.MULTILINE))
    assert stated == {"version": PROJECT["version"], "license": PROJECT["license"]}
    assert pscli.__version__ == PROJECT["version"]


def test_what_is_imported_is_needed_and_what_is_needed_is_imported() -> None:
    tops: set[str] = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                tops |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                tops.add(str(node.module).split(".")[0])
    homes = packages_distributions()
    extra = {Requirement(line).name.replace("-", "_") for line in OPTIONAL}  # may be missing
    foreign = {homes[top][0] for top in tops - set(sys.stdlib_module_names) - {"pscli"} - extra}
    named = {requirement.name.replace("-", "_").lower() for requirement in NEEDED}
    named = named - {PARTNER, PROMISED} | {"peft"}  # the one of an extra that we import
    assert {name.replace("-", "_").lower() for name in foreign} == named


@pytest.mark.parametrize("name", [PARTNER, PROMISED])
def test_what_we_do_not_import_can_be_imported(name: str) -> None:
    import_module(name)


@pytest.mark.parametrize("requirement", [*NEEDED, *DEVELOPERS], ids=str)
def test_every_dependency_has_a_floor_that_is_met_here(requirement: Requirement) -> None:
    """`make floors` runs all tests with exactly these versions."""
    assert any(part.operator == ">=" for part in requirement.specifier)
    assert requirement.specifier.contains(version(requirement.name), prereleases=True)
