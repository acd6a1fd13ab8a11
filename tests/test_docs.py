"""What people read: every link leads somewhere, and the site is built without a warning."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from imports import GUEST, LAYERS
from reading import ROOT, anchors, links, pages, prose

AWAY = re.compile(r"[a-z]+:")  # a scheme


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in links(page.read_text(encoding="utf-8")):
        if AWAY.match(link):
            continue
        path, _, anchor = unquote(link).partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists() and file.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_page_in_brackets_is_a_link(page: Path) -> None:
    text = prose(page.read_text(encoding="utf-8"))
    meant = set(re.findall(r"\[([^\]\s]+\.md)\](?!\(|: )", text))
    assert meant <= set(re.findall(r"^\[([^\]]+)\]: ", text, re.MULTILINE))


def test_the_page_on_architecture_names_every_module() -> None:
    """But for what lies in the folders of photoworld, which are named as such."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`]+`", text))))
    files = (ROOT / "src" / "pscli").rglob("*.py")
    modules = {f.stem for f in files if f.parents[1].name != GUEST}
    assert {name for name in modules if not name.startswith("__")} <= named


def test_the_page_on_architecture_has_the_layers_in_their_order() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Layers")[2]
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)`", text, re.MULTILINE)
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    levels = [level[name] for name in rows if name != GUEST]
    assert levels == sorted(levels, reverse=True) and level.keys() | {GUEST} == set(rows)


class Page(HTMLParser):
    """What a page of the site names: ids, what it links to and what it loads."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.formulas = 0
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        self.formulas += tag == "math"
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag != "a":
            self.loads += [values[name] for name in ("href", "src") if name in values]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without a warning."""
    for package in ("material", "mkdocstrings_handlers.python", "latex2mathml"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=600,
                          env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.slow
def test_every_link_of_the_site_leads_to_a_page_and_a_place(site: Path) -> None:
    found = {file: Page(file) for file in site.rglob("*.html") if file.name != "404.html"}
    assert len(found) > 20
    for file, page in found.items():
        for link in [*page.links, *page.loads]:
            if AWAY.match(link):
                continue
            path, _, anchor = unquote(link).partition("#")
            other = (file.parent / path).resolve() if path else file
            assert other.is_file(), f"{file}: {link}"
            if anchor and other in found:
                assert anchor in found[other].ids, f"{file}: {link}"


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere_and_draws_its_formulas(site: Path) -> None:
    for file in site.rglob("*.html"):
        page = Page(file)
        assert not [load for load in page.loads if AWAY.match(load) or load.startswith("//")], file
    equations = (site / "equations.html").read_text(encoding="utf-8")
    assert Page(site / "equations.html").formulas > 13
    assert [f"({n})" for n in range(1, 14)] == re.findall(r"<span>(\(\d+\))</span>", equations)
    assert "arithmatex" not in equations and "merror" not in equations


@pytest.mark.slow
def test_everything_that_the_package_gives_is_in_the_reference(site: Path) -> None:
    import pscli

    given = {f"{home}.{name}" for name, home in pscli._HOMES.items()}
    assert given <= Page(site / "api" / "pscli.html").ids
