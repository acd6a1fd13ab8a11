"""What `pscli report` draws: from folders to pictures."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from pscli.dialogue.schema import Dialogue, Photo
from pscli.errors import DataError
from pscli.files import read_json
from pscli.predictions.folder import Prediction, Side, read_predictions
from pscli.registry import TABLES, find
from pscli.report.pictures import Parts, contact_sheet, conversation, loss_plot

KINDS = ("share", "look", "vary", "recall", "chat")  # shown in turn
LEGEND = "Strong colours: the agent's reply, and the caption it draws from. Grey: what was said."


def sheet(folders: Sequence[Path], count: int, kinds: Sequence[str] = ()) -> Image.Image:
    """A row for each of `count` instances of different dialogues, a column for each folder.

    Args:
        folders: Predictions of several systems for the same instances.
        kinds: Instance types to show; all in turn by default.

    Raises:
        DataError: if there are no predictions, or none that all folders share.
    """
    systems = [{p.id: p for p in read_predictions(folder)} for folder in folders]
    shared = [p for p in systems[0].values() if all(p.id in system for system in systems)]
    chosen = choose(shared, count, kinds)
    if not chosen:
        raise DataError(
            f"The folders share no instance{' of type ' + ', '.join(kinds) if kinds else ''}.",
            "Generate them from the same split.",
        )
    dialogues = _dialogues(folders[0])
    rows = []
    for id in chosen:
        name, _, number = id.rpartition("/")
        responses = dialogues[name].responses if name in dialogues else []
        index = int(number) if responses else 0
        speaker = responses[index].speaker if responses else ""
        rows.append(
            [
                conversation(
                    responses[:index], speaker, _parts(s[id].prediction), _parts(s[id].reference)
                )
                for s in systems
            ]
        )
    return contact_sheet(rows, _names(folders), LEGEND)


def choose(predictions: Sequence[Prediction], count: int, kinds: Sequence[str] = ()) -> list[str]:
    """Ids of up to `count` instances: types in turn, and no dialogue twice."""
    ordered = sorted(predictions, key=lambda p: p.id)
    present = dict.fromkeys([*KINDS, *(p.kind for p in ordered)])
    wanted = [kind for kind in present if kind in kinds or not kinds]
    queues = {kind: [p.id for p in ordered if p.kind == kind] for kind in wanted}
    chosen: list[str] = []
    used: set[str] = set()
    for kind in itertools.cycle(wanted):
        if len(chosen) == count or not any(queues.values()):
            break
        queues[kind] = [id for id in queues[kind] if id.rpartition("/")[0] not in used]
        if queues[kind]:
            chosen.append(queues[kind].pop(0))
            used.add(chosen[-1].rpartition("/")[0])
    return chosen


def _parts(side: Side) -> Parts:
    captions = itertools.chain(side.captions, itertools.repeat(None))
    photos = [Photo(path, caption) for path, caption in zip(side.photos, captions, strict=False)]
    return [*([side.text] if side.text else []), *photos]


def _dialogues(folder: Path) -> dict[str, Dialogue]:
    """The dialogues behind our own predictions; none behind those of others."""
    settings = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if not isinstance(settings, dict) or settings.get("dataset") not in TABLES["dataset"]:
        return {}
    source = find("dataset", settings["dataset"])()
    return {dialogue.id: dialogue for dialogue in source.load(settings["split"])}


def _names(folders: Sequence[Path]) -> list[str]:
    """Names of the folders, or their whole paths if two names are equal."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def curves(run: Path, out: Path) -> None:
    """Draws metrics.jsonl of a run.

    Raises:
        DataError: if it has no lines yet, or a broken one.
    """
    lines = metrics(run)
    if not lines:
        raise DataError(f"{run} has logged nothing yet.", "Wait for its first steps.")
    loss_plot(lines, out)


def metrics(run: Path) -> list[dict[str, Any]]:
    """Lines of a run's metrics.jsonl, if there is one; a line that is being written is left out.

    Raises:
        DataError: if a line is broken.
    """
    path = run / "metrics.jsonl"
    if not path.is_file():
        return []
    values: list[dict[str, Any]] = []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            values.append(json.loads(line))
        except ValueError as error:
            if line.endswith("\n"):
                raise DataError(f"{path}:{number} is not JSON: {error}.") from error
    return values
