"""A folder of predictions, as `score` and `report` read it; `writer` writes it.

    preds/predictions.jsonl
        {"id": "photoworld-test-00012/3", "kind": "look",
         "reference": {"text": "…", "captions": ["…"], "photos": ["gold/….png"]},
         "prediction": {"text": "…", "captions": ["…"], "photos": ["images/….png"],
                        "raw": "…", "notes": []},
         "truth": {"kind": "look", …}, "filled": false, "described": false,
         "history": {"1": ["images/….png"]}}
    preds/images/      drawn photos
    preds/gold/        photos of the references
    preds/config.json  what they were generated with
    preds/training.json  how the agent was trained, where that is known
    preds/scores.json  what `score` made of them

Photo paths are relative to the folder and stay inside it, so a folder can be moved and shared.
Only `id` and the texts must be there; docs/predictions.md says what each field means.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pscli.dialogue.schema import Photo, Truth, whole
from pscli.errors import DataError
from pscli.predictions.names import FILE_NAME
from pscli.predictions.outputs import SHOWN, Entry, content, entries, filled_lines, pair, parsed

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_TEXT = 20_000  # characters
FORM = (
    'Expected {"id": "…", "kind": null, "reference": {"text": "…", "captions": [], "photos": []}, '
    '"prediction": {"text": "…", "captions": [], "photos": []}, "truth": null}.'
)
CUT_OFF = (
    "A line that is cut off comes from an interrupted run: generate into the same folder "
    "again to resume it, or delete the line."
)


@dataclass(frozen=True)
class Side:
    """A response as text, captions and photo files (absolute paths).

    Args:
        missing: How many more photos were sent, of which nobody has the files; their captions
            come last.
        told: All of it in order, `[img] caption [/img]` where a photo stands; may be empty.
        raw: The generated string before it was parsed; empty for a reference.
        notes: What was unusual about it.
    """

    text: str = ""
    captions: tuple[str, ...] = ()
    photos: tuple[Path, ...] = ()
    raw: str = ""
    notes: tuple[str, ...] = ()
    missing: int = 0
    told: str = ""

    @property
    def line(self) -> str:
        """`told`, or else the text and then the captions."""
        return self.told or " ".join([self.text, *map(marked, self.captions)]).strip()

    @property
    def shares(self) -> bool:
        """Whether it sends a photo."""
        return bool(self.photos or self.missing)


@dataclass(frozen=True)
class Prediction:
    """One test instance: what was said, what was predicted, and what is right if that is known.

    Args:
        filled: Whether a photo of the context or the reference is not the real one.
        described: Whether one of them cannot be had, and is told by its caption.
        history: Responses of the context that were not all the dataset's own, by number: the drawn
            photos that stood there.
    """

    id: str
    kind: str | None
    reference: Side
    prediction: Side
    truth: Truth | None = None
    filled: bool = False
    described: bool = False
    history: dict[int, tuple[Path, ...]] = field(default_factory=dict)


# -- reading ---------------------------------------------------------------------------------


def read_predictions(folder: Path) -> list[Prediction]:
    """Every prediction of the folder, in the order of the file. Photos are not opened yet.

    Where it holds no such file, the forms of `outputs` are read.

    Raises:
        DataError: if there are none, a line has another form, an id comes twice, or a photo is
            missing, is empty or lies outside the folder. It names the first of them and says how
            many there are.
    """
    predictions: list[Prediction] = []
    seen: dict[str, str] = {}
    broken: list[DataError] = []
    root = folder.resolve()
    for file, place, record in _entries(folder):
        at = f"{file}, {place}"
        try:
            prediction = _prediction(_record(record, at), root, at)
            if prediction.id in seen:
                raise DataError(
                    f"{at}: id {SHOWN.repr(prediction.id)} is already on {seen[prediction.id]}.",
                    "Delete one of the two lines.",
                )
        except DataError as error:
            broken.append(error)
            continue
        seen[prediction.id] = place
        predictions.append(prediction)
    if len(broken) > 1:
        of = f"Of {len(broken) + len(predictions):,} entries {len(broken):,} cannot be used"
        raise DataError(f"{broken[0].message} {of}; this is the first.", broken[0].hint)
    if broken:
        raise broken[0]
    return predictions


def open_photo(path: Path, id: str) -> Image:
    """Pixels of a photo of an instance. Raises DataError, which names the instance."""
    try:
        return Photo(path).open()
    except DataError as error:
        raise DataError(f"Instance {SHOWN.repr(id)}: {error.message}", error.hint) from error


def _entries(folder: Path) -> Iterator[Entry]:
    path = folder / FILE_NAME
    if folder.is_file():
        raise DataError(f"{folder} is a file.", f"Name the folder in which {FILE_NAME} lies.")
    names = pair(folder, FILE_NAME)
    if names:
        yield from entries(folder, names)
        return
    write = "Write some with `pscli generate --out`; docs/predictions.md tells what else is read."
    if not path.is_file():
        raise DataError(f"{folder} has no {FILE_NAME}.", write)
    lines = filled_lines(content(path))
    if not lines:
        raise DataError(f"{folder} has no predictions.", write)
    for number, line in lines:
        yield Entry(path, f"line {number}", line)


def _record(record: dict[str, Any] | bytes, at: str) -> dict[str, Any]:
    value = parsed(record, at, FORM, CUT_OFF) if isinstance(record, bytes) else record
    if not isinstance(value, dict):
        raise DataError(f"{at} is not an object.", FORM)
    return value


def _prediction(record: dict[str, Any], root: Path, at: str) -> Prediction:
    kind = record.get("kind")
    if not isinstance(kind, str | None) or not (kind or "").isprintable():
        raise DataError(f"{at}: `kind` is neither null nor a string that can be printed.", FORM)
    filled, described = (_flag(record, name, at) for name in ("filled", "described"))
    return Prediction(
        id=_text(record, "id", at),
        kind=kind,
        reference=_side(record, "reference", root, at),
        prediction=_side(record, "prediction", root, at),
        truth=_truth(record.get("truth"), at),
        filled=filled,
        described=described,
        history=_history(record, root, at),
    )


def _history(record: dict[str, Any], root: Path, at: str) -> dict[int, tuple[Path, ...]]:
    pairs = record.get("history", {})
    if not isinstance(pairs, dict) or not all(re.fullmatch("[0-9]{1,9}", key) for key in pairs):
        raise DataError(f"{at}: `history` holds no photos by number of response.", FORM)
    at = f"{at}, history"
    return {
        int(key): tuple(_photo(path, root, at) for path in _texts(pairs, key, at)) for key in pairs
    }


def _flag(record: dict[str, Any], name: str, at: str) -> bool:
    value = record.get(name, False)
    if not isinstance(value, bool):
        raise DataError(f"{at}: `{name}` is neither true nor false.", FORM)
    return value


def _side(record: dict[str, Any], name: str, root: Path, at: str) -> Side:
    pairs = record.get(name)
    if not isinstance(pairs, dict):
        raise DataError(f"{at}: `{name}` is missing or not an object.", FORM)
    at = f"{at}, {name}"
    missing = pairs.get("missing", 0)
    if type(missing) is not int or missing < 0:
        raise DataError(f"{at}: `missing` is no number of photos.", FORM)
    return Side(
        text=_text(pairs, "text", at),
        captions=_texts(pairs, "captions", at),
        photos=tuple(_photo(path, root, at) for path in _texts(pairs, "photos", at)),
        raw=_text({"raw": ""} | pairs, "raw", at),
        notes=_texts(pairs, "notes", at),
        missing=missing,
        told=_text({"told": ""} | pairs, "told", at),
    )


def _text(pairs: dict[str, Any], name: str, at: str) -> str:
    value = pairs.get(name)
    if not isinstance(value, str):
        raise DataError(f"{at}: `{name}` is missing or not a string.", FORM)
    if len(value) > MAX_TEXT:
        raise DataError(
            f"{at}: `{name}` has {len(value):,} characters, more than {MAX_TEXT:,}.",
            "Is it one response? Cut it.",
        )
    return whole(value)


def _texts(pairs: dict[str, Any], name: str, at: str) -> tuple[str, ...]:
    value = pairs.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{at}: `{name}` is not a list of strings.", FORM)
    return tuple(map(whole, value))


def _truth(value: Any, at: str) -> Truth | None:
    if value is None:
        return None
    with contextlib.suppress(TypeError, ValueError, AttributeError):
        truth = Truth.from_json(value)
        if truth.kind.isprintable():
            return truth
    raise DataError(
        f"{at}: `truth` has another form.",
        'Expected null or {"kind": "share", "share": true, "things": [["red", "car"]]}.',
    )


def _photo(name: str, root: Path, at: str) -> Path:
    at = f"{at}: photo {SHOWN.repr(name)}"
    try:
        path = (root / name).resolve()
        size = path.stat().st_size if path.is_file() else None
    except (ValueError, OSError, RuntimeError) as error:  # NUL, too long, a circle of links
        raise DataError(f"{at} is no path.", FORM) from error
    if not path.is_relative_to(root):
        raise DataError(
            f"{at} lies outside {root}.",
            "Copy the photo into the folder and name it by its path from there.",
        )
    if size is None:
        raise DataError(
            f"{at} does not exist in {root}.", "Copy it there, or generate the predictions again."
        )
    if not size:
        raise DataError(f"{at} is an empty file.", "Generate the predictions again.")
    return path


def marked(caption: str) -> str:
    """A caption where its photo stands in a text."""
    return f"[img] {caption} [/img]"
