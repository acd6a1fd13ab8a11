"""What `pscli report` draws: from folders to pictures."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from pscli import console
from pscli.datasets.base import load, named
from pscli.dialogue.schema import Dialogue, Photo, Response
from pscli.errors import DataError, PscliError
from pscli.metrics.base import Metric
from pscli.predictions.folder import Prediction, Side, open_photo, read_predictions
from pscli.predictions.settings import Settings, read_settings
from pscli.registry import TABLES
from pscli.report.columns import logged, names, refuse_unknown
from pscli.report.contact import verdicts
from pscli.report.curves import loss_plot
from pscli.report.pictures import Parts, contact_sheet, exchange
from pscli.runs import Run

IN_TURN = ("share", "look", "vary", "recall", "chat")  # instance types, as they are shown
BEFORE, AFTER = "before", "what was said"  # columns beside those of the systems
LEGEND = "Strong colours: replies, with the captions they draw from. Grey: what was really said."


def sheet(
    folders: Sequence[Path],
    count: int,
    kinds: Sequence[str] = (),
    use: Collection[str] = (),
    judges: Sequence[Metric] = (),
    dialogues: Sequence[Dialogue] | None = None,
) -> Image.Image:
    """A row for each of `count` instances of different dialogues: what was said before, the reply
    of each folder with what is right and wrong about it, and what was really said.

    Args:
        folders: Predictions of several systems for the same instances.
        kinds: Instance types to show; all in turn by default.
        use: Datasets `module:object` that a folder may name; a file does not choose code to run.
        judges: Metrics whose `marks` are shown, beside whether a photo is sent as one is due.
        dialogues: Those behind the predictions; loaded as the folders say by default.

    Raises:
        DataError: if there are no predictions, or none that all folders share.
        ConfigError: if none is of one of the types.
    """
    systems = [{p.id: p for p in read_predictions(folder)} for folder in folders]
    refuse_unknown(kinds, (p for system in systems for p in system.values()))
    shared = [p for p in systems[0].values() if all(p.id in system for system in systems)]
    settings = next(filter(None, map(read_settings, folders)), None)
    chosen = choose(shared, count, kinds, ours=settings is not None)
    if not chosen:
        raise DataError(
            f"The folders share no instance{' of type ' + ', '.join(kinds) if kinds else ''}.",
            "Generate them from the same split.",
        )
    if dialogues is not None:
        behind = {dialogue.id: dialogue for dialogue in dialogues}
    else:
        behind = dialogues_behind(settings, use) if settings else {}
    marks = [dict(zip(s, verdicts(list(s.values()), judges), strict=True)) for s in systems]
    rows = []
    for id in chosen:
        before, speaker = context_of(behind, id)
        before = stood(before, systems[0][id], systems[0])
        replies = [
            (parts_of(system[id].prediction, id), sharing(system[id]) | found[id])
            for system, found in zip(systems, marks, strict=True)
        ]
        gold = parts_of(systems[0][id].reference, id)
        rows.append(exchange(before, speaker, replies, gold))
    columns, legend = names(folders), LEGEND
    if len(systems) > 1 and any(system[id].history for system in systems for id in chosen):
        legend += f" Before: what stood in the context of {columns[0]}."
    return contact_sheet(rows, [BEFORE, *columns, AFTER], legend)


def sharing(p: Prediction) -> dict[str, bool]:
    """Whether a photo is sent as one is due; nothing where neither is."""
    sent, due = p.prediction.shares, p.reference.shares
    return {"photo sent" if sent else "no photo": sent == due} if sent or due else {}


def choose(
    predictions: Sequence[Prediction], count: int, kinds: Sequence[str] = (), ours: bool = True
) -> list[str]:
    """Ids of up to `count` instances: types in turn, and no dialogue twice.

    Args:
        ours: Whether ids are DIALOGUE/NUMBER; those of other programs may be anything.
    """

    def dialogue(id: str) -> str:
        return id.rpartition("/")[0] if ours else id

    ordered = sorted(predictions, key=lambda p: p.id)
    present = dict.fromkeys([*IN_TURN, *(p.kind for p in ordered)])
    wanted = [kind for kind in present if kind in kinds or not kinds]
    queues = {kind: [p.id for p in ordered if p.kind == kind] for kind in wanted}
    chosen: list[str] = []
    used: set[str] = set()
    for kind in itertools.cycle(wanted):
        if len(chosen) == count or not any(queues.values()):
            break
        queues[kind] = [id for id in queues[kind] if dialogue(id) not in used]
        if queues[kind]:
            chosen.append(queues[kind].pop(0))
            used.add(dialogue(chosen[-1]))
    return chosen


def parts_of(side: Side, id: str) -> Parts:
    """A response as it is drawn: its text, its photos, and captions of those that are gone."""
    captions = itertools.chain(side.captions, itertools.repeat(None))
    photos = [
        Photo(open_photo(path, id), caption)
        for path, caption in zip(side.photos, captions, strict=False)
    ]
    told = side.captions[len(photos) :][: side.missing]
    return [
        *([side.text] if side.text else []),
        *photos,
        *(Photo(Path(), caption, missing=True) for caption in told),
    ]


def dialogues_behind(settings: Settings, use: Collection[str]) -> dict[str, Dialogue]:
    """The dialogues behind predictions of ours; where they cannot be had, a note says why."""
    name = settings.dataset
    if name not in TABLES["dataset"] and name not in use:
        console.note(
            f"Without contexts: they come from {name!r}, and no file chooses code to run. "
            f"If you trust it, name it yourself: --use {name!r}."
        )
        return {}
    try:
        dialogues = load(named(name), settings.split, photos=settings.photos)
    except PscliError as error:
        console.note(f"Without contexts: {error}")
        return {}
    return {dialogue.id: dialogue for dialogue in dialogues}


def context_of(dialogues: Mapping[str, Dialogue], id: str) -> tuple[list[Response], str]:
    """What was said before an instance, and who replies; nothing if it is of none of these."""
    name, _, number = id.rpartition("/")
    responses = dialogues[name].responses if name in dialogues else []
    index = int(number) if number.isdecimal() and number.isascii() else len(responses)
    return (responses[:index], responses[index].speaker) if index < len(responses) else ([], "")


def stood(
    before: Sequence[Response], p: Prediction, said: Mapping[str, Prediction]
) -> list[Response]:
    """What stood in the context: drawn photos, or the agent's own reply, where it says so.

    Args:
        before: What was really said.
        said: The folder's predictions, by id.
    """
    found = []
    for number, response in enumerate(before):
        speaker, photos = response.speaker, p.history.get(number)
        parts: Parts = response.parts
        own = said.get(f"{p.id.rpartition('/')[0]}/{number}")
        if own and own.prediction.photos == photos:
            parts = parts_of(own.prediction, own.id)
        elif photos:
            left = iter(photos)
            parts = [
                replace(part, source=next(left, part.source))
                if isinstance(part, Photo) and not part.missing
                else part
                for part in parts
            ]
        found += [Response.of(speaker, parts)] if parts else []
    return found


def curves(run: Path, out: Path) -> None:
    """Draws metrics.jsonl of a run.

    Raises:
        DataError: if it has no lines yet, or a broken one.
    """
    loss_plot(logged(run), out, Run(run).monitored)
