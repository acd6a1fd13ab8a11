"""A folder of predictions: one line per test instance, its drawn photos and the gold ones.

    preds/predictions.jsonl
        {"id": "photoworld-test-00012/3", "kind": "look",
         "reference": {"text": "…", "captions": ["…"], "photos": ["gold/….png"]},
         "prediction": {"text": "…", "captions": ["…"], "photos": ["images/….png"],
                        "raw": "…", "notes": []},
         "truth": {"kind": "look", …}, "filled": false}
    preds/images/  drawn photos
    preds/gold/    photos of the references

Photo paths are relative to the folder and stay inside it, so a folder can be moved and shared.
`kind` and `truth` may be null; `filled`, which may be left out, says that a photo of the context or
the reference is not the real one.
"""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pscli.dialogue.schema import Truth
from pscli.errors import DataError

FILE_NAME = "predictions.jsonl"
FORM = (
    'Expected {"id": "…", "kind": null, "reference": {"text": "…", "captions": [], "photos": []}, '
    '"prediction": {"text": "…", "captions": [], "photos": []}, "truth": null}.'
)


@dataclass(frozen=True)
class Side:
    """A response as text, captions and photo files (absolute paths).

    Args:
        raw: The generated string before it was parsed; empty for a reference.
        notes: What was unusual about it.
    """

    text: str = ""
    captions: tuple[str, ...] = ()
    photos: tuple[Path, ...] = ()
    raw: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """One test instance: what was said, what was predicted, and what is right if that is known."""

    id: str
    kind: str | None
    reference: Side
    prediction: Side
    truth: Truth | None = None
    filled: bool = False


def read_predictions(folder: Path) -> list[Prediction]:
    """Every prediction of the folder, in the order of the file.

    Raises:
        DataError: if there are none, a line has another form, an id comes twice, or a photo is
            missing, is no image or lies outside the folder. It names the line.
    """
    lines = _lines(folder)
    if not lines:
        problem = "no predictions" if (folder / FILE_NAME).is_file() else f"no {FILE_NAME}"
        raise DataError(f"{folder} has {problem}.", "Write some with `pscli generate --out`.")
    predictions: list[Prediction] = []
    seen: dict[str, int] = {}
    for number, line in lines:
        at = f"{folder / FILE_NAME}, line {number}"
        prediction = _prediction(_record(line, at), folder, at)
        if prediction.id in seen:
            raise DataError(
                f"{at}: id {prediction.id!r} is already on line {seen[prediction.id]}.",
                "Delete one of the two lines.",
            )
        seen[prediction.id] = number
        predictions.append(prediction)
    return predictions


def append(folder: Path, record: dict[str, Any]) -> None:
    """Adds one line to the folder's predictions, whole or not at all.

    A line that an interrupted run left half-written is dropped first.

    Args:
        record: As at the top of this module; its photos should be on disk already, so that an
            instance that counts as done has everything.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    line = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    _mend(path)
    # One write of an append-only file: a reader never sees lines interleaved, and a crash leaves
    # at most one unterminated line, which `_mend` recognises.
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)


def done_ids(folder: Path) -> set[str]:
    """Ids that the folder already has, so that a run can be resumed; a half-written last line
    does not count.

    Raises:
        DataError: if a line before the last is broken.
    """
    lines = _lines(folder)
    if lines and not _ends_whole(folder / FILE_NAME):
        lines = lines[:-1]
    ids = set()
    for number, line in lines:
        at = f"{folder / FILE_NAME}, line {number}"
        ids.add(_text(_record(line, at), "id", at))
    return ids


def _lines(folder: Path) -> list[tuple[int, bytes]]:
    """Non-empty lines and their numbers, from 1. Split at line feeds only, since a text may hold
    U+2028 and the like."""
    path = folder / FILE_NAME
    try:
        data = path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}.", "Check its permissions.") from error
    return [(i, line) for i, line in enumerate(data.split(b"\n"), start=1) if line.strip()]


def _ends_whole(path: Path) -> bool:
    """Whether the last line is complete: ended by a line feed, or a JSON value all the same (a
    file written by hand may lack the last line feed)."""
    last = path.read_bytes().rsplit(b"\n", 1)[-1]
    try:
        return not last or isinstance(json.loads(last), dict)
    except ValueError:
        return False


def _mend(path: Path) -> None:
    if not path.is_file() or path.stat().st_size == 0:
        return
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        if _ends_whole(path):
            file.write(b"\n")
        else:
            file.truncate(path.read_bytes().rfind(b"\n") + 1)


def _record(line: bytes, at: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{at} is not valid JSON: {error.msg} at column {error.colno}.",
            "A line that is cut off comes from an interrupted run: generate into the same folder "
            "again to resume it, or delete the line.",
        ) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{at} cannot be read: {error}.", FORM) from error
    if not isinstance(record, dict):
        raise DataError(f"{at} is not an object.", FORM)
    return record


def _prediction(record: dict[str, Any], folder: Path, at: str) -> Prediction:
    kind = record.get("kind")
    if not isinstance(kind, str | None):
        raise DataError(f"{at}: `kind` is neither a string nor null.", FORM)
    filled = record.get("filled", False)
    if not isinstance(filled, bool):
        raise DataError(f"{at}: `filled` is neither true nor false.", FORM)
    return Prediction(
        id=_text(record, "id", at),
        kind=kind,
        reference=_side(record, "reference", folder, at),
        prediction=_side(record, "prediction", folder, at),
        truth=_truth(record.get("truth"), at),
        filled=filled,
    )


def _side(record: dict[str, Any], name: str, folder: Path, at: str) -> Side:
    pairs = record.get(name)
    if not isinstance(pairs, dict):
        raise DataError(f"{at}: `{name}` is missing or not an object.", FORM)
    at = f"{at}, {name}"
    return Side(
        text=_text(pairs, "text", at),
        captions=_texts(pairs, "captions", at),
        photos=tuple(_photo(path, folder, at) for path in _texts(pairs, "photos", at)),
        raw=_text({"raw": ""} | pairs, "raw", at),
        notes=_texts(pairs, "notes", at),
    )


def _text(pairs: dict[str, Any], name: str, at: str) -> str:
    value = pairs.get(name)
    if not isinstance(value, str):
        raise DataError(f"{at}: `{name}` is missing or not a string.", FORM)
    return value


def _texts(pairs: dict[str, Any], name: str, at: str) -> tuple[str, ...]:
    value = pairs.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{at}: `{name}` is not a list of strings.", FORM)
    return tuple(value)


def _truth(value: Any, at: str) -> Truth | None:
    if value is None:
        return None
    try:
        return Truth.from_json(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{at}: `truth` has another form ({error}).",
            'Expected null or {"kind": "share", "share": true, "things": [["red", "car"]]}.',
        ) from error


def _photo(name: str, folder: Path, at: str) -> Path:
    from PIL import Image

    try:
        path = (folder / name).resolve()
    except (ValueError, OSError) as error:
        raise DataError(f"{at}: photo {name!r} is not a path ({error}).", FORM) from error
    if not path.is_relative_to(folder.resolve()):
        raise DataError(
            f"{at}: photo {name!r} lies outside {folder}.",
            "Copy the photo into the folder and name it by its path from there.",
        )
    if not path.is_file():
        raise DataError(
            f"{at}: photo {name!r} does not exist in {folder}.",
            "Copy it there, or generate the predictions again.",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.verify()  # headers and checksums only; the scores decode the pixels
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{at}: photo {name!r} is not an image that can be decoded.",
            "Expected PNG, JPEG, WebP or another format that Pillow reads.",
        ) from error
    return path
