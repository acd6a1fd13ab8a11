"""The graph of imports within the package: `python tests/imports.py` prints it, layer by layer."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pscli.errors

ROOT = Path(pscli.errors.__file__).parent
LAYERS = [  # from the ground up; a module imports its own layer and those below
    ["errors"],
    ["processes"],
    ["files", "rows", "console"],
    ["registry"],
    ["config"],
    ["runs"],
    ["dialogue"],
    ["datasets"],
    ["components"],
    ["systems"],
    ["plan"],
    ["fetch"],
    ["predictions"],
    ["metrics"],
    ["report"],
    ["training"],
    ["chat"],
    ["serve"],
    ["cli"],
]
GUEST = "photoworld"  # imports whatever it needs, and is named by strings of the registry alone


def located(name: str) -> Path | None:
    place = ROOT.parent / Path(*name.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def module(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


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


def top(name: str) -> str:
    """The folder or file directly below the package that a module belongs to."""
    return [*name.split("."), ""][1]


def layer(name: str) -> int:
    """Height of a module; the package itself and `__main__` stand on top."""
    heights = [i for i, names in enumerate(LAYERS) if top(name) in names]
    return heights[0] if heights else len(LAYERS)


GRAPH = {module(path): imported(path) for path in sorted(ROOT.rglob("*.py"))}


def upward() -> list[str]:
    """Imports that point up. `pscli` itself loads nothing: anyone may ask it for its version."""
    arrows = [(a, b) for a, others in GRAPH.items() for b in others - {"pscli"} if top(a) != GUEST]
    return [f"{a} → {b}" for a, b in arrows if layer(b) > layer(a) and top(b) != GUEST]


def guests() -> list[str]:
    """Imports of photoworld by anyone else."""
    arrows = [(a, b) for a, others in GRAPH.items() for b in others if top(a) != GUEST]
    return [f"{a} → {b}" for a, b in arrows if top(b) == GUEST]


def circle() -> list[str]:
    """A circle of imports, if there is one."""
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        return [str(name) for name in error.args[1]]
    return []


if __name__ == "__main__":
    for names in [*LAYERS, [GUEST]]:
        for name in sorted(name for name in GRAPH if top(name) in names):
            print(f"{name:36} {' '.join(sorted(n.removeprefix('pscli.') for n in GRAPH[name]))}")
    print(
        f"circle: {circle() or 'none'}; upward: {upward() or 'none'}; guest: {guests() or 'none'}"
    )
