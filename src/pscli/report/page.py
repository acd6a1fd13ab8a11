"""The report's page: one HTML file that shows everything and loads nothing, and its figures as PNG.

Every text of the page, whoever wrote it, passes `plain` and is then escaped: by Jinja in the page,
and by `embedded` in the block of data that page.js reads. The policy in the page's head lets the
browser run that one script, use that one style sheet and show embedded pictures; nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pscli import __version__, console
from pscli.console import plain
from pscli.files import (
    claim,
    locked,
    new_folder,
    refuse_fixed,
    replacing,
    to_json,
    write_text,
)
from pscli.metrics.base import Metric, made
from pscli.metrics.compare import differences, shared
from pscli.metrics.group import grouped
from pscli.metrics.score import METHODS, Scores, Valued, metrics, scored, valued
from pscli.predictions.folder import Prediction, read_predictions
from pscli.predictions.settings import Settings, read_settings
from pscli.report import page_gallery, page_worst
from pscli.report.columns import Column, Contents, provenance, refuse_unknown
from pscli.report.page_curves import Curves, curves
from pscli.report.page_ladder import ladders
from pscli.report.page_tables import headline, sections
from pscli.report.protocol import refuse_unequal
from pscli.report.sheet import dialogues_behind
from pscli.report.table import Tables, signatures, tables

INDEX = "index.html"
OURS = '<p class="kicker">Photo-sharing dialogue'  # what tells our own pages
WEB = Path(__file__).with_name("web")
SECTIONS = {"headline": "The paper’s table", "scores": "All scores",
            "ladders": "How errors propagate", "training": "Training",
            "worst": "Where each does worst", "gallery": "Conversations",
            "how": "How it was made"}  # fmt: skip
CONVENTION = "Text in sacreBLEU’s convention, captions not counted."


@dataclass(frozen=True)
class Options:
    """What of a report may be chosen.

    Args:
        count: Instances in the gallery, at most.
        kinds: Instance types in the gallery; all by default.
        seed: Of what is drawn at random.
        extractors, clip, own, device: As of `metrics.score.metrics`.
        draws: Resamples behind intervals and p-values; 0 leaves them out.
        use: Datasets `module:object` that a folder may name, for contexts.
        force: Whether systems may be compared that were not made alike.
    """

    count: int = 240
    kinds: tuple[str, ...] = ()
    seed: int = 0
    extractors: tuple[str, ...] = ("photoworld",)
    clip: str = ""
    own: tuple[str, ...] = ()
    device: str = "cpu"
    draws: int = 1000
    use: tuple[str, ...] = ()
    force: bool = False


def write_page(out: Path, found: Contents, options: Options, overwrite: bool = False) -> None:
    """Writes `index.html`, and the figures that it shows as PNG files beside it.

    Raises:
        CheckpointError: if the folder holds something else, or a report that may not be replaced,
            or cannot be replaced at all.
        DataError: if predictions, photos or metrics of a run are broken.
        ConfigError: if a metric or an extractor cannot be had, or no prediction is of a type.
    """
    claim(out, INDEX, overwrite, ours=_is_report)
    refuse_fixed(out)
    drawn = curves(found.runs, _order(found)) if found.runs else None
    html = page(found, options, drawn)
    with locked(out, "writing a report"), new_folder(out) as folder:
        write_text(folder / INDEX, html)
        for figure in drawn.figures if drawn else ():
            for theme, data in (("", figure.light), ("-dark", figure.dark)):
                with replacing(folder / "figures" / f"{figure.name}{theme}.png") as file:
                    file.write(data)


def _is_report(index: Path) -> bool:
    """Whether a page is one of ours."""
    return index.is_file() and OURS in index.read_text(encoding="utf-8", errors="replace")


def page(found: Contents, options: Options, drawn: Curves | None) -> str:
    """The page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    columns = found.columns
    names = [column.name for column in columns]
    read = {folder: read_predictions(folder) for column in columns for folder in column.folders}
    alike = refuse_unequal({column.name: column.folders for column in columns}, read, options.force)
    refuse_unknown(options.kinds, (p for some in read.values() for p in some))
    chosen = metrics(options.extractors, options.own, device=options.device, clip=options.clip)
    text = made("metric", "text", METHODS, "authors")
    values = _valued(read, chosen)
    usual = _scored(columns, values, chosen, options.draws)
    authors = _scored(columns, _valued(read, {"text": text}), {"text": text}, options.draws)
    told = _compared(columns, values, chosen, usual, options.draws, alike)
    known = {folder: read_settings(folder) for folder in read}
    dataset, title = _titled(list(known.values()))
    notes = list(found.notes)
    gallery, rule, lowest = _gallery(columns, values, chosen, known, options, notes)
    order = _order(found)
    parts: dict[str, Any] = {
        "title": title,
        "facts": _facts(columns, found, read),
        "columns": names,
        "seeds": any(len(column.folders) > 1 for column in columns),
        "headline": headline(authors, usual, dataset, f"Here: {title}") if columns else None,
        "convention": CONVENTION,
        "tables": sections(told) if columns else [],
        "compared": told.notes,
        "ladders": ladders(columns, usual, values, known, chosen),
        "figures": [_figure(figure) for figure in drawn.figures] if drawn else [],
        "window": drawn.window if drawn else "",
        "legend": [(_legend(name, runs), order.index(name)) for name, runs in found.runs.items()],
        "gallery": Markup(embedded(gallery)) if gallery else "",
        "gallery_rule": rule,
        "worst": lowest,
        "worst_rule": page_worst.RULE.format(count=page_worst.SHOWN),
        "sources": _sources(columns, known, read),
        "signatures": [*told.signatures, *(f"authors: {s}" for s in signatures(authors, False))],
        "left_out": told.reasons,
        "notes": notes,
        "version": __version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    there = {name for name in SECTIONS if parts.get(name) or name == "how"}
    there |= {"scores"} if parts["tables"] else set()
    there |= {"training"} if parts["figures"] else set()
    style, script = ((WEB / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    environment = Environment(
        loader=FileSystemLoader(WEB),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        **parts,
        sections=[(name, text) for name, text in SECTIONS.items() if name in there],
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
    )


# -- safety ------------------------------------------------------------------------------------


def embedded(value: Any) -> str:
    """JSON for a script block: no text in it can end the block, or begin a comment."""
    text = to_json(_plain(value), indent=None)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _plain(value: Any) -> Any:
    """The value with control characters spelt out in every text."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _shown(value: Any) -> Any:
    """What Jinja prints of a value, before it escapes it."""
    return plain(value) if type(value) is str else value


def _policy(style: str, script: str) -> str:
    """A Content Security Policy that names the page's own style sheet and script by their hash."""

    def hashed(text: str) -> str:
        digest = hashlib.sha256(text.encode("utf-8")).digest()
        return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"

    return (
        f"default-src 'none'; img-src data:; style-src {hashed(style)}; "
        f"script-src {hashed(script)}; base-uri 'none'; form-action 'none'"
    )


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


# -- parts of the page -------------------------------------------------------------------------


def _valued(read: Mapping[Path, list[Prediction]], chosen: dict[str, Metric]) -> dict[Path, Valued]:
    """What each instance contributes to each metric, by folder."""
    found = {}
    with console.progress("Scoring", len(read)) as advance:
        for folder, predictions in read.items():
            found[folder] = valued(predictions, chosen)
            advance(1)
    return found


def _scored(
    columns: Sequence[Column], values: Mapping[Path, Valued], chosen: dict[str, Metric], draws: int
) -> list[tuple[str, Scores]]:
    """Scores of each system; of several seeds their mean and deviation."""
    found = []
    for column in columns:
        runs = [scored(values[folder], chosen, draws=draws) for folder in column.folders]
        found.append((column.name, grouped(runs) if len(runs) > 1 else runs[0]))
    return found


def _compared(
    columns: Sequence[Column],
    values: Mapping[Path, Valued],
    chosen: dict[str, Metric],
    systems: Sequence[tuple[str, Scores]],
    draws: int,
    alike: Sequence[str],
) -> Tables:
    """All scores, and where the systems differ. Args: alike: As `refuse_unequal` tells it."""
    sides = [[values[folder] for folder in column.folders] for column in columns]
    told = [*provenance({column.name: column.folders for column in columns}), *alike]
    if len(sides) < 2 or not draws:
        return tables(systems, by_type=True, provenance=told)
    kinds = dict.fromkeys(kind for _, scores in systems for kind in scores.by_kind)
    apart = differences(sides, chosen, draws, kinds)
    return tables(systems, apart, by_type=True, shared=len(shared(sides)), provenance=told)


def _gallery(
    columns: Sequence[Column],
    values: Mapping[Path, Valued],
    chosen: Mapping[str, Metric],
    known: Mapping[Path, Settings | None],
    options: Options,
    notes: list[str],
) -> tuple[dict[str, Any] | None, str, list[list[str]]]:
    """The gallery's data, how it was chosen, and the worst dialogues; a note where there is
    nothing to show."""
    if not columns:
        return None, "", []
    first = [column.folders[0] for column in columns]
    by_id = [{p.id: p for p in values[folder].predictions} for folder in first]
    common = [
        p
        for p in values[first[0]].predictions
        if all(p.id in system for system in by_id)
        and (not options.kinds or p.kind in options.kinds)
    ]
    if not common:
        notes.append("No conversations: the systems share no instance of the types asked for.")
        return None, "", []
    found = [page_gallery.marks(values[folder], chosen) for folder in first]
    some = [[system[p.id] for p in common] for system in by_id]
    worth = [page_gallery.figures(p, m) for p, m in zip(some, found, strict=True)]
    choice = page_gallery.choose(common, worth, options.count, options.seed)
    settings = next(filter(None, map(known.__getitem__, first)), None)
    dialogues = dialogues_behind(settings, options.use) if settings else {}
    names = [column.name for column in columns]
    rule = page_gallery.rule(choice, options.seed)
    if any(len(column.folders) > 1 for column in columns):
        rule += " Of several seeds the first is shown."
    if any(p.history for replies in some for p in replies):
        whose = f" of {names[0]}" if len(names) > 1 else ""
        rule += f" What was said before stands as it stood in the context{whose}."
    lowest = page_worst.table(names, page_worst.sunk(common, worth))
    return page_gallery.payload(names, by_id, found, choice, dialogues), rule, lowest


def _order(found: Contents) -> list[str]:
    """Names of systems in the order of their colours."""
    return list(dict.fromkeys([*(column.name for column in found.columns), *found.runs]))


def _titled(settings: Collection[Settings | None]) -> tuple[str, str]:
    """Data set in the registry, and what the report is of, where the folders agree."""
    of = {(s.dataset, s.split) for s in settings if s}
    if len(of) != 1:
        return "", "Photo-sharing dialogue"
    ((dataset, split),) = of
    return dataset, f"{dataset}, {split} split"


def _facts(
    columns: Sequence[Column], found: Contents, read: Mapping[Path, list[Prediction]]
) -> str:
    runs = sum(map(len, found.runs.values()))
    names = ", ".join(column.name for column in columns)
    told = [f"{_many(len(columns), 'system')}: {names}"] if columns else []
    sizes = dict.fromkeys(len(predictions) for predictions in read.values())
    told += [f"{' / '.join(f'{size:,}' for size in sizes)} responses each"] if sizes else []
    told += [_many(runs, "training run")] if runs else []
    return " · ".join(told)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _legend(name: str, runs: Sequence[Path]) -> str:
    return name if len(runs) == 1 else f"{name} ({_many(len(runs), 'run')})"


def _figure(figure: Any) -> dict[str, Any]:
    width, height = figure.size
    return {
        "title": figure.title,
        "light": _uri(figure.light),
        "dark": _uri(figure.dark),
        "width": width,
        "height": height,
    }


def _sources(
    columns: Sequence[Column],
    known: Mapping[Path, Settings | None],
    read: Mapping[Path, list[Prediction]],
) -> list[list[str]]:
    """What was read: a line of headings, then one a folder."""
    rows = [["System", "Predictions", "Responses", "Agent", "Weights", "Data", "Seed"]]
    for column in columns:
        for folder in column.folders:
            s = known[folder]
            of = [s.agent, s.weights, f"{s.dataset} {s.split}", str(s.seed)] if s else ["–"] * 4
            rows.append([column.name, str(folder), f"{len(read[folder]):,}", *of])
    return rows if len(rows) > 1 else []
