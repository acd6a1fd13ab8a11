"""`score`."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pscli import console
from pscli.cli.app import AsJson, Device, app, refuse_idle
from pscli.errors import ConfigError
from pscli.files import write_json

if TYPE_CHECKING:
    from pscli.metrics.score import Scores, Valued

# Options of every command that scores
Groups = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=PREDS,PREDS,...",
        help="Several seeds of a system: one column, mean ± standard deviation; repeatable.",
    ),
]
Extractors = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[:PLACE]",
        help="What sees the photos for IS, FID, KID ...: photoworld, inception, "
        "efficientnet-lite0, dinov2-small, clip:PLACE, dinov2:PLACE, module:Net; repeatable.",
        show_default="photoworld",
    ),
]
InceptionWeights = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Of the inception extractor, which is used.", show_default=False
    ),
]
Clip = Annotated[
    str,
    typer.Option(
        metavar="PLACE",
        help="Folder or hub id of a CLIP: CLIP-I, CLIPScore, MM-Relevance as well.",
        show_default=False,
    ),
]
OwnMetrics = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MODULE:NAME",
        help="A metric of your own as well; repeatable.",
        show_default=False,
    ),
]
Draws = Annotated[
    int,
    typer.Option(
        min=0, max=100_000, help="Resamples behind intervals and p-values; 0: scores alone."
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Compare systems that were not made alike, and tell how they differ."
    ),
]


@app.command()
def score(
    ctx: typer.Context,
    preds: Annotated[
        list[Path] | None, typer.Argument(metavar="PREDS...", help="Folders of predictions.")
    ] = None,
    group: Groups = None,
    extractor: Extractors = None,
    inception_weights: InceptionWeights = None,
    clip: Clip = "",
    convention: Annotated[
        str,
        typer.Option(
            help="Of the text scores: sacrebleu, nltk-cumulative, or authors: as the paper's "
            "released code."
        ),
    ] = "sacrebleu",
    tokenize: Annotated[
        str | None,
        typer.Option(
            help="Tokens of the text scores: 13a, intl, zh, ja-mecab, ko-mecab, char, flores200, "
            "none (split), treebank.",
            show_default="the convention's own: 13a, none, treebank",
        ),
    ] = None,
    captions: Annotated[
        bool | None,
        typer.Option(
            "--captions/--no-captions",
            help="Count captions as text.",
            show_default="as the convention has it: authors does",
        ),
    ] = None,
    metric: OwnMetrics = None,
    device: Device = "auto",
    draws: Draws = 1000,
    by_type: Annotated[
        bool, typer.Option("--by-type", help="Show each instance type, too.")
    ] = False,
    force: Force = False,
    form: Annotated[
        str, typer.Option("--format", help="table, markdown, csv, latex or json.")
    ] = "table",
    as_json: AsJson = False,
) -> None:
    """Score predictions, side by side, and keep the figures as scores.json in each folder.

    Of several systems it tells whether they differ, on the instances that all have answered.
    """
    if as_json:
        refuse_idle(ctx, ("form",), "--json")
        form = "json"
    together = groups(group or [])
    folders = list(dict.fromkeys([*(preds or []), *(f for fs in together.values() for f in fs)]))
    if not folders:
        raise typer.BadParameter("name at least one folder of predictions, or a --group.")
    console.quiet_libraries()
    from pscli.metrics.compare import differences, shared
    from pscli.metrics.extractor import extractors
    from pscli.metrics.group import grouped
    from pscli.metrics.score import metrics, scored, valued
    from pscli.predictions.folder import read_predictions
    from pscli.report.columns import provenance
    from pscli.report.formats import FORMATS, WRITERS
    from pscli.report.protocol import refuse_unequal
    from pscli.report.table import shown, tables

    if form not in FORMATS:
        raise typer.BadParameter(f"--format is one of {', '.join(FORMATS)}.")
    eyes = extractors(extractor or [], inception_weights)
    chosen = metrics(eyes, metric or [], convention, captions, device, tokenize, clip)
    # A broken last folder is refused before the first is scored.
    read = {folder: read_predictions(folder) for folder in folders}
    alone = list(dict.fromkeys(preds or []))
    named = {str(folder): [folder] for folder in alone} | together
    alike = refuse_unequal(named, read, force)
    values: dict[Path, Valued] = {}
    scores: dict[Path, Scores] = {}
    with console.progress("Scoring", len(folders)) as advance:
        for folder in folders:
            values[folder] = valued(read.pop(folder), chosen)
            scores[folder] = scored(values[folder], chosen, draws=draws)
            _keep(folder, scores[folder])
            for figure in scores[folder].overall.scores:
                if figure.warning:
                    console.note(f"{folder}: {figure.name}: {figure.warning}")
            advance(1)
    systems = [(str(folder), scores[folder]) for folder in alone]
    means = [(name, grouped([scores[f] for f in some])) for name, some in together.items()]
    sides = [[values[f] for f in some] for some in ([[f] for f in alone] + [*together.values()])]
    kinds = list(dict.fromkeys(kind for _, s in systems + means for kind in s.by_kind))
    compared = draws > 0 and len(sides) > 1
    apart = differences(sides, chosen, draws, kinds if by_type else ()) if compared else []
    told = [*provenance(named), *alike]
    if form == "json":
        pairs: dict[str, Any] = {key: {name: s.to_json() for name, s in some} for key, some in
                 (("systems", systems), ("groups", means))}  # fmt: skip
        names = [name for name, _ in systems + means]
        found = [{"of": names[d.second], "minus": names[d.first], **d.to_json()} for d in apart]
        console.show_json(pairs | {"differences": found} | ({"made": told} if told else {}))
        return
    common = len(shared(sides)) if compared else None
    report = tables(systems + means, apart, by_type, common, told)
    if form in WRITERS:
        console.result(WRITERS[form](report))
        return
    for part in shown(report, console.width()):
        console.show(part)
    for line in (*report.notes, *report.signatures, *report.reasons):
        console.result(line)  # not wrapped, so that it can be copied


def _keep(folder: Path, scores: Scores) -> None:
    """Writes scores.json; where nobody may write, the figures are shown all the same."""
    try:
        write_json(folder / "scores.json", scores.to_json())
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        console.note(f"{folder}: no scores.json is kept, since nobody may write there.")


def groups(texts: list[str]) -> dict[str, list[Path]]:
    """Folders by name, as --group gives them.

    Raises:
        ConfigError: if one names none, a folder twice, or a name comes twice.
    """
    found: dict[str, list[Path]] = {}
    for name, folders in map(_group, texts):
        if name in found:
            raise ConfigError(
                f"--group {name} comes twice.", f"Write all its folders at once: {name}=A,B."
            )
        found[name] = folders
    return found


def _group(text: str) -> tuple[str, list[Path]]:
    name, _, folders = text.partition("=")
    paths = [Path(folder) for folder in folders.split(",") if folder]
    if not name or not paths:
        raise ConfigError(f"--group {text} names no folders.", "Write --group e2e=preds/a,preds/b.")
    if len({path.resolve() for path in paths}) < len(paths):
        raise ConfigError(
            f"--group {name} names a folder twice.",
            "Each is a seed of its own: the spread of copies says nothing.",
        )
    return name, paths
