"""Outputs of other programs, as records of the form that `folder` describes.

    hyp.txt, ref.txt     a response to a line: line n of one file answers to line n of the other
    hyp.json, ref.json   conversations in MMDialog's form, as a list or one to a line:
                         [{"conversation_id": 7, "conversation": [
                            null,
                            {"turn": [{"__TEXT__": "Look"}, {"__MEDIA__": "-26820"}]}]}]

In hyp.json a turn that was given and not predicted is null. Its photos are `images/<key>.jpg`,
those of ref.json `gold/<key>.jpg`; where there is no such folder, they were sent and cannot be had.
Whatever does not match is refused: nothing is left out, and nothing made up.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pscli.errors import DataError

LISTS, DUMPS = ("hyp.txt", "ref.txt"), ("hyp.json", "ref.json")
SUFFIXES = (".jpg", ".png", ".jpeg", ".webp")  # the first is what a photo that is missing is called
HELP = "docs/predictions.md shows both files."
SHOWN = reprlib.Repr()  # of what a file holds: cut short, and control characters escaped
SHOWN.maxstring = 100


class Entry(NamedTuple):
    """One response: where it stands, and its record or line of JSON, not yet checked."""

    file: Path
    place: str
    record: dict[str, Any] | bytes


class Talk(NamedTuple):
    """One conversation: where it stands, and its turns, not yet checked."""

    at: str
    turns: list[Any]


def pair(folder: Path, own: str) -> tuple[str, str] | None:
    """Names of the two files that hold predictions; None where neither is there.

    Args:
        own: Name of the file of our own form.

    Raises:
        DataError: if one of the two is missing, or the folder holds another form as well.
    """
    forms = [names for names in (LISTS, DUMPS) if any((folder / name).exists() for name in names)]
    if not forms:
        return None
    names = forms[0]
    others = [own] if (folder / own).exists() else [name for form in forms[1:] for name in form]
    if others:
        raise DataError(
            f"{folder} holds predictions of two forms: {names[0]} and {others[0]}.",
            "Which of them counts? Move the other one away.",
        )
    lacking = [name for name in names if not (folder / name).is_file()]
    if lacking:
        there = " or ".join(name for name in names if name not in lacking) or "its name"
        raise DataError(f"{folder} has {there}, but no file {lacking[0]}.", HELP)
    return names


def entries(folder: Path, names: tuple[str, str]) -> list[Entry]:
    """All responses of the two files, in order.

    Raises:
        DataError: if they do not match, or something has another form. It names the place.
    """
    hyp, ref = (folder / name for name in names)
    found = list(_lists(hyp, ref) if names == LISTS else _dumps(hyp, ref))
    if not found:
        raise DataError(f"{folder} has no predictions: {hyp.name} holds none.", HELP)
    return found


# -- files -------------------------------------------------------------------------------------


def content(path: Path) -> bytes:
    """Bytes of a text file. Raises DataError if they cannot be had or are not UTF-8 at all."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", "Check it.") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or data[:2].count(0) == 1:
        raise DataError(f"{path} is UTF-16 or UTF-32.", "Save it as UTF-8.")
    return data.removeprefix(b"\xef\xbb\xbf")


def filled_lines(data: bytes) -> list[tuple[int, bytes]]:
    """Lines that are not blank, and their numbers, from 1. Split at line feeds only, since a text
    may hold U+2028 and the like."""
    lines = enumerate(data.split(b"\n"), start=1)
    return [(number, line) for number, line in lines if line.strip()]


def parsed(data: bytes, at: str, form: str, cut_off: str = "Mend it and try again.") -> Any:
    """A JSON value.

    Args:
        form, cut_off: What to say of a value that cannot be read, and of one that is no JSON.

    Raises:
        DataError: if it is broken, NaN among it.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    try:
        return json.loads(data.decode("utf-8"), parse_constant=refuse)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise DataError(
            f"{at} is not valid JSON: {error.msg} at {line}column {error.colno}.", cut_off
        ) from error
    except RecursionError as error:
        raise DataError(f"{at} is nested too deeply.", form) from error
    except ValueError as error:  # not UTF-8, NaN, or an integer of thousands of digits
        raise DataError(f"{at} cannot be read: {error}.", form) from error


# -- plain lists -------------------------------------------------------------------------------


def _lists(hyp: Path, ref: Path) -> Iterator[Entry]:
    ours, theirs = _texts(hyp), _texts(ref)
    if len(ours) != len(theirs):
        raise DataError(
            f"{hyp} has {len(ours):,} lines, and {ref} {len(theirs):,}.",
            "Line n of one answers to line n of the other; where nothing was said, it is empty.",
        )
    for number, (text, real) in enumerate(zip(ours, theirs, strict=True), start=1):
        record = {"id": str(number), "reference": {"text": real}, "prediction": {"text": text}}
        yield Entry(hyp, f"line {number}", record)


def _texts(path: Path) -> list[str]:
    lines = content(path).removesuffix(b"\n").split(b"\n")
    texts = []
    for number, line in enumerate(lines if lines != [b""] else [], start=1):
        try:
            text = line.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, line {number} is not UTF-8.", "Save it as UTF-8.") from error
        if "\r" in text:
            raise DataError(
                f"{path}, line {number} has a carriage return within.",
                "Lines end in line feeds; a response that holds one takes predictions.jsonl.",
            )
        texts.append(text)
    return texts


# -- dumps in MMDialog's form ------------------------------------------------------------------


def _dumps(hyp: Path, ref: Path) -> Iterator[Entry]:
    ours, theirs = _talks(hyp), _talks(ref)
    for some, others, file, other in ((theirs, ours, hyp, ref), (ours, theirs, ref, hyp)):
        lacking = [id for id in some if id not in others]
        if lacking:
            raise DataError(
                f"{file} lacks {len(lacking):,} of the {len(some):,} conversations of {other}; "
                f"the first is {SHOWN.repr(lacking[0])}.",
                "Both hold the same ones; in hyp.json, null stands for a turn that has no answer.",
            )
    for id, talk in ours.items():
        real = theirs[id]
        if len(talk.turns) != len(real.turns):
            raise DataError(
                f"{talk.at} has {len(talk.turns)} turns, and {len(real.turns)} in {ref.name}.",
                "In hyp.json, null stands for a turn that was given and not predicted.",
            )
        for k, turn in enumerate(talk.turns):
            if turn is None:
                continue
            place = f"turn {k + 1}"
            if k == 0:
                raise DataError(
                    f"{talk.at}, {place} has nothing before it that it could answer.",
                    "Write null for turns that were given and not predicted.",
                )
            record = {
                "id": f"{id}/{k}",
                "reference": _side(real.turns[k], ref.parent, "gold", f"{real.at}, {place}"),
                "prediction": _side(turn, hyp.parent, "images", f"{talk.at}, {place}"),
            }
            yield Entry(hyp, f"{talk.at.removeprefix(f'{hyp}, ')}, {place}", record)


def _talks(path: Path) -> dict[str, Talk]:
    """Conversations by id."""
    data = content(path)
    if data.lstrip().startswith(b"["):
        values = enumerate(parsed(data, str(path), HELP), start=1)
        places = [(f"{path}, conversation {number}", value) for number, value in values]
    else:
        lines = [(f"{path}, line {number}", line) for number, line in filled_lines(data)]
        places = [(at, parsed(line, at, HELP)) for at, line in lines]
    found: dict[str, Talk] = {}
    for at, value in places:
        turns = value.get("conversation") if isinstance(value, dict) else None
        if not isinstance(turns, list):
            raise DataError(f"{at} is no object with a list `conversation`.", HELP)
        id = value.get("conversation_id")
        if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
            raise DataError(f"{at}: `conversation_id` is missing, or no string or number.", HELP)
        if str(id) in found:
            raise DataError(
                f"{at}: conversation_id {SHOWN.repr(id)} is also that of {found[str(id)].at}.",
                "Delete one of the two.",
            )
        found[str(id)] = Talk(at, turns)
    return found


def _side(turn: Any, folder: Path, place: str, at: str) -> dict[str, Any]:
    """A turn's texts and photos. Args: place: Folder of the photos, below `folder`."""
    parts = turn.get("turn") if isinstance(turn, dict) else turn
    if not isinstance(parts, list):
        raise DataError(f"{at} is no list of texts and media.", HELP)
    texts: list[str] = []
    photos: list[str] = []
    told: list[str] = []
    for number, part in enumerate(parts, start=1):
        pairs = part if isinstance(part, dict) else {}
        text, key = pairs.get("__TEXT__"), pairs.get("__MEDIA__")
        if isinstance(text, str) and key is None:
            texts.append(text)
            told.append(text)
        elif text is None and isinstance(key, str | int) and not isinstance(key, bool):
            photos.append(_photo(folder, place, str(key)))
            told.append("[img]  [/img]")
        else:
            raise DataError(f"{at}, part {number} is neither a __TEXT__ nor a __MEDIA__.", HELP)
    side = {"text": " ".join(texts), "told": " ".join(told)}
    had = (folder / place).is_dir()
    return side | ({"photos": photos} if had else {"missing": len(photos)})


def _photo(folder: Path, place: str, key: str) -> str:
    names = [f"{place}/{key}{suffix}" for suffix in SUFFIXES]
    try:
        return next((name for name in names if (folder / name).is_file()), names[0])
    except (ValueError, OSError):  # NUL, too long: refused with its name, where photos are checked
        return names[0]
