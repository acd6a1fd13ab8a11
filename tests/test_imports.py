"""The layers: imports point one way, and what the command line needs at once is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pscli.errors

ROOT = Path(pscli.errors.__file__).parent
LAYERS = [
    "errors",
    "console",
    "registry",
    "config",
    "data",
    "model",
    "training",
    "foundations",
    "evaluation",
]
LEAVES = {"pscli.foundations"}  # only the folder of the shipped weights, for anyone to read
APART = ["perceptron", "llm", "bridge", "generator"]


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports anywhere, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in below if located(name) is not None}
            names |= modules | ({node.module} if below - modules else set())
    return {name for name in names if name.split(".")[0] == "pscli"}


def located(name: str) -> Path | None:
    place = ROOT.parent / Path(*name.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def module(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def rank(name: str) -> int:
    """Height of a module; the command line and the package itself stand on top."""
    parts = name.split(".")
    if name in LEAVES:
        return -1
    return LAYERS.index(parts[1]) if len(parts) > 1 and parts[1] in LAYERS else len(LAYERS)


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    name = module(path)
    uphill = {other for other in imported(path) if rank(other) > rank(name)}
    assert not uphill, f"{name} imports {', '.join(sorted(uphill))}"


@pytest.mark.parametrize("name", APART)
def test_components_never_import_each_other(name: str) -> None:
    others = {f"pscli.model.{other}" for other in APART if other != name}
    seen, waiting = set(), {f"pscli.model.{name}"}
    while waiting:  # not by way of a third module either
        current = waiting.pop()
        seen.add(current)
        path = located(current)
        assert path is not None
        waiting |= imported(path) - seen
    assert not seen & others


def test_the_bridge_needs_torch_and_our_errors_alone() -> None:
    path = ROOT / "model" / "bridge.py"
    assert imported(path) == {"pscli.errors"}


LIGHT = ["errors", "registry", "config", "data.schema", "data.photoworld", "data.photoworld.source"]


def test_light_modules_do_not_import_torch() -> None:
    code = "; ".join(
        [
            "import sys",
            *(f"import pscli.{name}" for name in LIGHT),
            "print(*[m for m in ('torch', 'transformers', 'diffusers') if m in sys.modules])",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
