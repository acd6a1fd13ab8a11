"""What every reader needs: records of a file one at a time, clean texts, safe names, and a list of
what could not be read."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pscli.dialogue.schema import Photo
from pscli.errors import DataError

CHUNK = 1 << 20  # characters read at a time
MAX_RECORD = 1 << 24  # characters of one dialogue; a longer one is a broken file
NEAR_END = 64  # characters in which a cut number, literal or escape shows as an error

_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.:-]+")
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True)
class KnownPhoto(Photo):
    """A photo that may not be on disk yet: `source` is where it lies once it is.

    Args:
        urls: Where it can be had, best first.
        sha256: Of its file, if somebody published it.
    """

    urls: tuple[str, ...] = ()
    sha256: str | None = None

    @property
    def hint(self) -> str:
        if not self.urls:
            return super().hint
        return f"Its address is not asked here: save what is at {self.urls[0]} under that name."


@dataclass
class Dropped:
    """What a reader left out: how often each reason occurred, and where first."""

    reasons: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def __call__(self, at: str, reason: str) -> None:
        self.reasons[reason] += 1
        self.first.setdefault(reason, at)

    def lines(self) -> list[str]:
        """One line per reason."""
        return [f"{n:,} × {why}, first in {self.first[why]}" for why, n in self.reasons.items()]


def records(path: Path) -> Iterator[tuple[int, Any]]:
    """(number from 0, value) of a JSON list, of JSON lines, or of a single JSON value.

    A few megabytes of the file are in memory at a time, whatever its size.

    Raises:
        DataError: if the file cannot be read, is empty, or is broken; it names the record.
    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, value in enumerate(_values(_Window(file), path)):
                yield number, value
            if not path.stat().st_size:
                raise DataError(f"{path} is empty.", "Expected dialogues as JSON.")
    except UnicodeDecodeError as error:
        _refuse(path, number, f"it is not UTF-8 ({error.reason})", error)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}.", "Check the path.") from error


class _Window:
    """The part of a text file that is being parsed."""

    def __init__(self, file: Any) -> None:
        self.file, self.text, self.at, self.step = file, "", 0, CHUNK

    def grow(self) -> bool:
        """Whether there is more; drops what has been parsed and appends what comes next."""
        more = self.file.read(self.step)
        if more:
            self.text = self.text[self.at :] + more
            self.at = 0
        return bool(more)

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.grow():
                return ""


def _values(window: _Window, path: Path) -> Iterator[Any]:
    is_list = window.peek() == "["
    window.at += is_list
    number = 0
    if is_list and window.peek() == "]":
        window.at += 1
        is_list = False
    while (is_list and not number) or window.peek():
        yield _value(window, path, number)
        number += 1
        if not is_list:
            continue
        mark = window.peek()
        window.at += 1
        if mark == "]":
            if window.peek():
                _refuse(path, number, "something follows the end of the list")
            return
        if mark != ",":
            problem = f"a comma or ] was expected, not {mark!r}" if mark else "the file is cut off"
            _refuse(path, number, problem)


def _value(window: _Window, path: Path, number: int) -> Any:
    window.peek()
    window.step = CHUNK
    while True:
        try:
            value, end = _decode(window.text, window.at)
        except json.JSONDecodeError as error:
            near = error.pos >= len(window.text) - NEAR_END
            cut = near or error.msg.startswith("Unterminated string")
            if len(window.text) - window.at > MAX_RECORD:
                _refuse(path, number, "it is larger than any dialogue", error)
            window.step = max(CHUNK, len(window.text) - window.at)  # doubles what is re-read
            if not cut or not window.grow():
                what = "the file is cut off or broken" if cut else "it is not valid JSON"
                _refuse(path, number, f"{what}: {error.msg}", error)
            continue
        except (ValueError, RecursionError) as error:
            _refuse(path, number, str(error), error)
        number_like = not isinstance(value, dict | list | str)
        if number_like and set(window.text[end:]) <= set("0123456789+-.eE") and window.grow():
            continue  # a number may go on
        window.at = end
        return value


_decode = json.JSONDecoder().raw_decode


def _refuse(path: Path, number: int, reason: str, cause: Exception | None = None) -> NoReturn:
    raise DataError(
        f"{path}, record {number}: {reason}.", "Mend the file, or fetch the dataset again."
    ) from cause


def clean(text: str, at: str, drop: Dropped) -> str:
    """A text that can be written as UTF-8: half characters are replaced, and named."""
    if text.isascii() or not _SURROGATE.search(text):
        return text
    drop(at, "half a character (a lone surrogate)")
    return _SURROGATE.sub("\ufffd", text)


def clean_id(value: Any, number: int | str) -> str:
    """An id that can be part of a file name; `number` if there is none."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return str(number)
    text = str(value)
    safe = _UNSAFE.sub("-", text)
    if safe == text and len(safe) <= 96 and safe.strip("."):
        return safe
    return f"{safe[:80].lstrip('.')}-{digest(text)[:12]}"


def digest(text: str) -> str:
    """A hexadecimal name for a text, the same on every machine."""
    return hashlib.sha1(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def url_of(value: Any, at: str, drop: Dropped) -> str | None:
    """An http(s) address, its spaces quoted and its scheme in small letters; or None, and named."""
    text = value.strip() if isinstance(value, str) and len(value) <= 4096 else ""
    scheme, colon, rest = text.partition("://")
    host = rest.partition("/")[0]
    if scheme.lower() in ("http", "https") and host and " " not in host and text.isprintable():
        return scheme.lower() + colon + rest.replace(" ", "%20")
    drop(at, "a photo without an http(s) address")
    return None


def unknown(photos: Path, caption: str | None, split: str, at: str) -> KnownPhoto:
    """A photo that was shared but that nobody can find, so that its dialogue ends before it."""
    number = at.rpartition(" ")[2]
    return KnownPhoto(photos / "unknown" / f"{split}-{number}.jpg", caption)
