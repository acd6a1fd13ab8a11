"""`score` and `report`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pscli import console
from pscli.cli.app import AsJson, app
from pscli.errors import ConfigError
from pscli.registry import check

if TYPE_CHECKING:
    from pscli.metrics.score import Scores


@app.command()
def score(
    preds: Annotated[
        list[Path] | None, typer.Argument(metavar="PREDS...", help="Folders of predictions.")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PREDS,PREDS,...",
            help="Several seeds of a system: one column, mean ± standard deviation; repeatable.",
        ),
    ] = None,
    extractor: Annotated[
        str, typer.Option(help="What sees the photos for IS and FID: photoworld or inception.")
    ] = "photoworld",
    by_kind: Annotated[
        bool, typer.Option("--by-kind/--no-by-kind", help="Score instance types apart, too.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Score predictions, side by side, and keep the figures as scores.json in each folder."""
    check("extractor", extractor)
    groups = dict(map(_group, group or []))
    folders = list(dict.fromkeys([*(preds or []), *(f for some in groups.values() for f in some)]))
    if not folders:
        raise typer.BadParameter("name at least one folder of predictions, or a --group.")
    console.quiet_libraries()
    from pscli.metrics.group import grouped
    from pscli.metrics.score import score_folder
    from pscli.predictions.folder import read_predictions
    from pscli.report.table import table

    for folder in folders:
        read_predictions(folder)  # a broken last folder is refused before the first is scored
    scores: dict[Path, Scores] = {}
    with console.progress("Scoring", len(folders)) as advance:
        for folder in folders:
            scores[folder] = score_folder(folder, extractor, by_kind)
            _keep(folder / "scores.json", scores[folder].to_json())
            advance(1)
    systems = [(str(folder), scores[folder]) for folder in dict.fromkeys(preds or [])]
    means = [(name, grouped([scores[f] for f in some])) for name, some in groups.items()]
    if as_json:
        pairs = {key: {name: s.to_json() for name, s in some} for key, some in
                 (("systems", systems), ("groups", means))}  # fmt: skip
        console.show_json(pairs)
    else:
        console.show(table(systems + means))


def _group(text: str) -> tuple[str, list[Path]]:
    name, _, folders = text.partition("=")
    paths = [Path(folder) for folder in folders.split(",") if folder]
    if not name or not paths:
        raise ConfigError(f"--group {text} names no folders.", "Write --group e2e=preds/a,preds/b.")
    return name, paths


def _keep(path: Path, value: Any) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(temporary, path)


@app.command()
def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="PREDS... | RUN", help="Predictions, or one run.")
    ],
    out: Annotated[Path, typer.Option(help="PNG file to write.", show_default=False)],
    count: Annotated[int, typer.Option(min=1, help="Conversations, each of a dialogue.")] = 4,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Only instances of this type; repeatable.", show_default="all in turn"),
    ] = None,
) -> None:
    """Draw conversations of several systems side by side, or the curves of a run."""
    from pscli.report.sheet import curves, sheet

    if out.suffix.lower() != ".png":
        raise ConfigError(f"{out} is no name for a picture.", "Expected a name that ends in .png.")
    runs = [folder for folder in folders if (folder / "metrics.jsonl").is_file()]
    if runs and len(folders) > 1:
        raise ConfigError(f"{runs[0]} is a run, which is drawn alone.", "Name predictions only.")
    out.parent.mkdir(parents=True, exist_ok=True)
    if runs:
        curves(runs[0], out)
    else:
        sheet(folders, count, kind or []).save(out, "PNG")
    console.result(str(out))
