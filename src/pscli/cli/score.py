"""`score` and `report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pscli import console
from pscli.cli.app import AsJson, Device, app
from pscli.errors import ConfigError
from pscli.files import replacing, write_json
from pscli.runs import is_run

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
        str,
        typer.Option(
            help="What sees the photos for IS and FID: photoworld, inception, module:Net."
        ),
    ] = "photoworld",
    convention: Annotated[
        str,
        typer.Option(
            help="Of the text scores: sacrebleu, or authors: as the paper's released code."
        ),
    ] = "sacrebleu",
    captions: Annotated[
        bool | None,
        typer.Option(
            "--captions/--no-captions",
            help="Count captions as text.",
            show_default="as the convention has it: authors does",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:NAME",
            help="A metric of your own as well; repeatable.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    by_kind: Annotated[
        bool, typer.Option("--by-kind/--no-by-kind", help="Score instance types apart, too.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Score predictions, side by side, and keep the figures as scores.json in each folder."""
    groups = dict(map(_group, group or []))
    folders = list(dict.fromkeys([*(preds or []), *(f for some in groups.values() for f in some)]))
    if not folders:
        raise typer.BadParameter("name at least one folder of predictions, or a --group.")
    console.quiet_libraries()
    from pscli.metrics.group import grouped
    from pscli.metrics.score import metrics
    from pscli.metrics.score import score as scores_of
    from pscli.predictions.folder import read_predictions
    from pscli.report.table import left_out, signatures, table

    chosen = metrics(extractor, metric or [], convention, captions, device)
    # A broken last folder is refused before the first is scored.
    read = {folder: read_predictions(folder) for folder in folders}
    scores: dict[Path, Scores] = {}
    with console.progress("Scoring", len(folders)) as advance:
        for folder in folders:
            scores[folder] = scores_of(read.pop(folder), chosen, by_kind)
            write_json(folder / "scores.json", scores[folder].to_json())
            advance(1)
    systems = [(str(folder), scores[folder]) for folder in dict.fromkeys(preds or [])]
    means = [(name, grouped([scores[f] for f in some])) for name, some in groups.items()]
    if as_json:
        pairs = {key: {name: s.to_json() for name, s in some} for key, some in
                 (("systems", systems), ("groups", means))}  # fmt: skip
        console.show_json(pairs)
    else:
        console.show(table(systems + means))
        for line in signatures(systems + means) + left_out(systems + means):
            console.result(line)  # not wrapped, so that it can be copied


def _group(text: str) -> tuple[str, list[Path]]:
    name, _, folders = text.partition("=")
    paths = [Path(folder) for folder in folders.split(",") if folder]
    if not name or not paths:
        raise ConfigError(f"--group {text} names no folders.", "Write --group e2e=preds/a,preds/b.")
    return name, paths


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
    use: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:NAME",
            help="A dataset of your own, for contexts; repeatable.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw conversations of several systems side by side, or the curves of a run."""
    from pscli.report.sheet import curves, sheet

    if out.suffix.lower() != ".png":
        raise ConfigError(f"{out} is no name for a picture.", "Expected a name that ends in .png.")
    runs = [folder for folder in folders if is_run(folder)]
    if runs and len(folders) > 1:
        raise ConfigError(f"{runs[0]} is a run, which is drawn alone.", "Name predictions only.")
    if runs:
        curves(runs[0], out)
    else:
        picture = sheet(folders, count, kind or [], use or [])
        with replacing(out) as file:
            picture.save(file, "PNG")
    console.result(str(out))
