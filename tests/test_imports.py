"""The layers: imports point one way, photoworld is a guest, and what comes first is light."""

from __future__ import annotations

import subprocess
import sys

import pytest

from imports import GRAPH, LAYERS, ROOT, circle, guests, layer, upward

APART = ["perceptron", "llm", "bridge", "generator"]


def test_imports_point_one_way() -> None:
    assert upward() == []


def test_no_circle_of_imports() -> None:
    assert circle() == []


def test_nothing_imports_photoworld() -> None:
    """The registry's strings find its dataset, weights, judge and metrics, like anyone's."""
    assert guests() == []


def test_every_module_has_a_layer() -> None:
    above = {name for name in GRAPH if layer(name) == len(LAYERS)}
    assert {n for n in above if not n.startswith("pscli.photoworld")} == {"pscli", "pscli.__main__"}


@pytest.mark.parametrize("name", APART)
def test_components_never_import_each_other(name: str) -> None:
    others = {f"pscli.components.{other}" for other in APART if other != name}
    seen, waiting = set(), {f"pscli.components.{name}"}
    while waiting:  # not by way of a third module either
        current = waiting.pop()
        seen.add(current)
        waiting |= GRAPH[current] - seen
    assert not seen & others


def test_the_bridge_needs_torch_and_our_errors_alone() -> None:
    assert GRAPH["pscli.components.bridge"] == {"pscli.errors"}


def test_no_file_is_long() -> None:
    """photoworld's phrases are as long as there are sayings."""
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in ROOT.rglob("*.py")}
    long = {path.name for path, length in lengths.items() if length > 400}
    assert long <= {"phrases.py"}


LIGHT = ["errors", "files", "registry", "config", "dialogue.schema", "photoworld.dataset", "cli"]


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
