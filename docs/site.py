"""A hook of mkdocs: pages of the repository in the site, and equations without a script.

The pages of `docs/` and those beside it are written to be read where the code lies. Here their
links to each other and to files are turned to where those are in the site, and each formula becomes
MathML, which browsers draw themselves: no font, style or script comes from elsewhere.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path
from urllib.parse import unquote

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
BESIDE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")  # pages outside `docs/`
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))|(?<=\]: )(\S+)$", re.MULTILINE)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def in_site(path: str) -> str:
    """Where a file of the repository lies in the site."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def in_repository(uri: str) -> str:
    """The inverse of `in_site`."""
    path = "README.md" if uri == "index.md" else uri
    return path if path in BESIDE else f"docs/{uri}"


def target(link: str, page: str) -> str | None:
    """The path in the repository that a link on one of its pages means; None if it leads away."""
    path = unquote(link.partition("#")[0])
    if not path or re.match(r"[a-z]+:", link):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), path))


def links(text: str) -> list[str]:
    """All of a page's links, images among them."""
    return [first or second for first, second in LINK.findall(text)]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that lie beside `docs/`, and every other file that a page links to."""
    pages = [file.src_uri for file in files.documentation_pages()]
    found = set(BESIDE)
    for page in [*BESIDE, *(f"docs/{uri}" for uri in pages)]:
        text = (ROOT / page).read_text(encoding="utf-8")
        found |= {path for link in links(text) if (path := target(link, page))}
    for path in sorted(found):
        uri = in_site(path)
        if files.get_file_from_path(uri) is None and (ROOT / path).is_file():
            place = str(ROOT / path)
            files.append(File.generated(config, uri, abs_src_path=place))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links to where their targets are in the site."""
    here = in_repository(page.file.src_uri)
    start = posixpath.dirname(page.file.src_uri)

    def turned(match: re.Match[str]) -> str:
        path, (_, mark, anchor) = target(match[0], here), match[0].partition("#")
        if path is None:
            return match[0]
        return posixpath.relpath(in_site(path), start or ".") + mark + anchor

    return LINK.sub(turned, markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Draws formulas, the numbers of equations at their right."""

    def drawn(match: re.Match[str]) -> str:
        formula, _, number = html.unescape(match[2]).partition(r"\tag{")
        if match[1] == "span":
            return convert(formula)
        number = f"({number.strip().rstrip('}')})" if number else ""
        return (
            f'<div class="equation">{convert(formula, display="block")}<span>{number}</span></div>'
        )

    return FORMULA.sub(drawn, content)
