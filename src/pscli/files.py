"""Files and folders: the only place that writes what counts, and that knows `.tmp` names.

A file or folder is there whole or not at all; a line of a log is. What is written is checked to
have been written: a full disk is an error, never a shorter file.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from filelock import FileLock, Timeout

from pscli.errors import CheckpointError, DataError, PscliError

if TYPE_CHECKING:
    from PIL.Image import Image

# -- reading ---------------------------------------------------------------------------------


def read_json(path: Path) -> Any:
    """The JSON value in a file. Raises DataError with line and column if it is broken."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.", "Check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.", "Expected a JSON file.") from error
    return parse_json(text, str(path))


def has_keys(path: Path, *keys: str) -> bool:
    """Whether a file is a JSON object that has these keys."""
    try:
        value = read_json(path)
    except DataError:
        return False
    return isinstance(value, dict) and value.keys() >= {*keys}


def parse_json(text: str | bytes, where: str) -> Any:
    """The JSON value in a text. Raises DataError with line and column if it is broken."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        problem = error.msg.removesuffix(" at")
        raise DataError(
            f"{where} is not valid JSON: {problem} at line {error.lineno}, column {error.colno}.",
            "Mend the file and try again.",
        ) from error
    except ValueError as error:  # an integer of thousands of digits, or bytes of another encoding
        raise DataError(f"{where} cannot be read: {error}.", "Expected JSON.") from error
    except RecursionError as error:
        raise DataError(f"{where} is nested too deeply.", "Expected a dialogue.") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Objects of a JSON-lines file that `append_line` writes; one that was cut off is left out.

    Raises:
        DataError: if another line is broken; it names the line.
    """
    data = path.read_bytes() if path.is_file() else b""
    return parse_lines(data.split(b"\n")[:-1], str(path))


def parse_lines(lines: Iterable[bytes], where: str) -> list[dict[str, Any]]:
    """Objects of JSON lines. Raises DataError if a line is broken; it names the line."""
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{where}:{number} is not JSON: {error}.", "Delete the line."
            ) from error
        if not isinstance(value, dict):
            raise DataError(f"{where}:{number} is no JSON object.", "Delete the line.")
        found.append(value)
    return found


# -- writing ---------------------------------------------------------------------------------


def to_json(value: Any, indent: int | None = 1) -> str:
    """JSON text. Raises ValueError at NaN and infinities, which JSON does not have."""
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    write_text(path, to_json(value) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all; half a character becomes "?"."""
    with replacing(path) as file:
        file.write(text.encode("utf-8", "replace"))


def write_png(path: Path, image: Image) -> None:
    """Writes a picture, whole or not at all."""
    with replacing(path) as file:
        image.save(file, "PNG")


def write_lines(path: Path, values: Iterable[Any]) -> None:
    """Writes a JSON-lines file, whole or not at all."""
    with replacing(path) as file:
        for value in values:
            file.write(to_json(value, indent=None).encode("utf-8", "replace") + b"\n")


@contextlib.contextmanager
def replacing(path: Path, via: Path | None = None, sync: bool = True) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when all has gone well.

    Args:
        via: Where it is until then, on the same disk; beside `path` by default.
        sync: Whether it must outlive a power cut, too; many small files take much longer then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = via or path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of `folder` if all goes well (see `refuse_fixed`).

    What was there before stays until then, also if we die in between: the next one finds it.
    """
    refuse_fixed(folder)
    folder = folder.resolve()
    temporary, before = (folder.with_name(f".{folder.name}.{end}") for end in ("tmp", "old"))
    _back(before, folder)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(before, ignore_errors=True)
        if folder.exists():
            os.replace(folder, before)
        os.replace(temporary, folder)
    finally:
        _back(before, folder)
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(before, ignore_errors=True)


def refuse_fixed(folder: Path, error: type[PscliError] = CheckpointError) -> None:
    """Raises `error` if no other folder can take the place of this one."""
    whole = folder.resolve()
    why = "a disk is mounted there" if os.path.ismount(whole) else ""
    with contextlib.suppress(FileNotFoundError):  # of a folder that is gone we may still be in
        why = "you are in it" if Path.cwd().is_relative_to(whole) else why
    if why:
        raise error(f"{folder} cannot be replaced: {why}.", "Name a folder inside it.")


def refuse_taken(folder: Path) -> None:
    """Raises NotADirectoryError if a file stands where this folder, or one above it, is to be."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))


def _back(before: Path, folder: Path) -> None:
    """Puts what was there before in its place again, if nothing is there."""
    if before.exists() and not folder.exists():
        os.replace(before, folder)


def folds_names(folder: Path) -> bool:
    """Whether names that differ in case or in the form of an accent are one there, as on macOS."""
    probe = folder / ".Fold-\u00e9"
    probe.touch()
    try:
        return any((folder / name).exists() for name in (".fold-\u00e9", ".Fold-e\u0301"))
    finally:
        probe.unlink()


def append_line(path: Path, value: Any) -> None:
    """Adds a line of JSON to a file, whole or not at all; one that was cut off is dropped first.

    Raises:
        OSError: if it could not be written; the file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = to_json(value, indent=None).encode("utf-8", "replace") + b"\n"
    with path.open("ab+", buffering=0) as file:
        end = _whole(file)
        if end != file.seek(0, os.SEEK_END):
            file.truncate(end)
        try:
            write_whole(file, line)
        except OSError:
            file.truncate(end)
            raise


def drop_cut_off(path: Path) -> None:
    """Drops the last line of a file that `append_line` writes, if it was cut off."""
    if path.is_file():
        with path.open("ab+", buffering=0) as file:
            file.truncate(_whole(file))


def _whole(file: Any) -> int:
    """Where the last whole line of an open file ends."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - (1 << 16))
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return int(start + found + 1)
        end = start
    return 0


# -- folders that others may also want ---------------------------------------------------------


@contextlib.contextmanager
def locked(folder: Path, what: str, error: type[PscliError] = CheckpointError) -> Iterator[None]:
    """Keeps other processes from writing a folder in the meantime.

    Args:
        what: What we do there, such as "writing predictions".

    Raises:
        error: if another process does it already.
    """
    whole = folder.resolve()
    whole.parent.mkdir(parents=True, exist_ok=True)
    # Where nothing may be written beside a folder, nothing can take its place, either.
    place = whole.parent if os.access(whole.parent, os.W_OK) or not whole.is_dir() else whole
    lock = FileLock(place / f".{whole.name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as taken:
        raise error(
            f"Another process is {what} in {folder}.", "Wait until it has ended."
        ) from taken
    try:
        yield
    finally:
        lock.release()


def claim(
    folder: Path, marker: str, overwrite: bool, error: type[PscliError] = CheckpointError,
    ours: Callable[[Path], bool] = Path.is_file,
) -> None:  # fmt: skip
    """Returns if a folder may be written.

    Args:
        marker: File that tells our own folders, the only ones that `overwrite` gives up.
        ours: Whether that file is one of ours; by default whether it is there.

    Raises:
        error: if something is there already, and is not ours or not to be overwritten.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite:
        raise error(f"{folder} exists already.", "Name another folder, or replace it: --overwrite.")
    if not ours(folder / marker):
        there = (folder / marker).is_file()
        why = f"its {marker} is not one of ours" if there else f"it has no {marker}"
        raise error(
            f"{folder} is not overwritten: {why}, so it may hold something else.",
            "Name another folder, or delete it yourself.",
        )


def write_whole(file: Any, data: bytes) -> None:
    """Writes all of it: a disk that is nearly full takes a part at a time."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
