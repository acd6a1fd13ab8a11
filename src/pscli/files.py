"""Files and folders: the only place that writes, and so the only one that knows `.tmp` names.

A file or folder is there whole or not at all; a line of a log is. What is written is checked to
have been written: a full disk is an error, never a shorter file.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
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


def parse_json(text: str | bytes, where: str) -> Any:
    """The JSON value in a text. Raises DataError with line and column if it is broken."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
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
            _write(file, line)
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


class Rows:
    """Byte strings of one length by 16-byte key, appended to a file; found again after a crash.

    Args:
        path: `PATH.rows` holds the values, `PATH.keys` a note, then the keys in the same order.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path.with_name(f"{path.name}.rows")
        self._rows = self.path.open("ab+", buffering=0)
        self._keys = path.with_name(f"{path.name}.keys").open("ab+", buffering=0)
        self._keys.seek(0)
        head, _, rest = self._keys.read().partition(b"\n")
        length, _, note = head.decode("ascii", "replace").partition(" ")
        self.note: str = note
        self._length = int(length) if length.isdigit() else 0
        whole = self._rows.seek(0, os.SEEK_END) // self._length if self._length else 0
        keys = [rest[i : i + 16] for i in range(0, len(rest) - 15, 16)][:whole]
        self._where = {key: number for number, key in enumerate(keys)}
        # What a crash left behind, of one file or the other, is cut off.
        self._keys.truncate(len(head) + 1 + 16 * len(keys) if self._length else 0)
        self._rows.truncate(len(keys) * self._length)

    @property
    def size(self) -> int:
        """Bytes of all values."""
        return len(self._where) * self._length

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, if it has one."""
        number = self._where.get(key)
        if number is None:
            return None
        self._rows.seek(number * self._length)
        return self._rows.read(self._length)

    def put(self, key: bytes, value: bytes, note: str) -> None:
        """Adds a value. Args: note: What all values have in common; the first one's is kept."""
        if not self._length:
            self._length, self.note = len(value), note
            _write(self._keys, f"{len(value)} {note}\n".encode("ascii"))
        if len(value) != self._length:
            raise ValueError(f"a row of {len(value)} bytes, not {self._length}")
        _write(self._rows, value)
        _write(self._keys, key)
        self._where[key] = len(self._where)

    def close(self) -> None:
        self._rows.close()
        self._keys.close()


class SharedRows:
    """`Rows` in a folder of tables that several processes use at the same time.

    Whatever goes wrong with the disk, a value is merely not found.

    Args:
        path: The table, as `Rows` has it; the folder holds tables alone.
        limit: Bytes of all tables; the ones that were not read for longest go first.
    """

    PATIENCE = 30.0  # seconds for another process to have written

    def __init__(self, path: Path, limit: int) -> None:
        self.path, self.limit = path, limit

    def find(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The values of those keys that have one."""
        if not self.path.with_name(f"{self.path.name}.keys").is_file():
            return {}
        with contextlib.suppress(OSError, Timeout), self._open() as rows:
            os.utime(rows.path)
            return {key: value for key in keys if (value := rows.get(key)) is not None}
        return {}

    def add(self, values: dict[bytes, bytes]) -> None:
        """Keeps values, of one length, as far as there is room."""
        with contextlib.suppress(OSError, Timeout):
            self._make_room(sum(map(len, values.values())))
            with self._open() as rows:
                for key, value in values.items():
                    if rows.get(key) is None and rows.size + len(value) <= self.limit:
                        rows.put(key, value, "")

    @contextlib.contextmanager
    def _open(self) -> Iterator[Rows]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock", timeout=self.PATIENCE):
            rows = Rows(self.path)
            try:
                yield rows
            finally:
                rows.close()

    def _make_room(self, size: int) -> None:
        others = [p for p in self.path.parent.glob("*.rows") if p.stem != self.path.name]
        here = self.path.with_name(f"{self.path.name}.rows")
        size += sum(p.stat().st_size for p in (*others, here) if p.exists())
        for oldest in sorted(others, key=lambda p: p.stat().st_mtime):
            if size <= self.limit:
                return
            size -= oldest.stat().st_size
            with FileLock(oldest.with_suffix(".lock"), timeout=0):
                oldest.with_suffix(".keys").unlink(missing_ok=True)  # first: no key without a row
                oldest.unlink()


def user_cache() -> Path:
    """Where programs of this user keep what can be computed again. Raises RuntimeError if there
    is no home."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "pscli"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "pscli"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pscli"


def _write(file: Any, data: bytes) -> None:
    left = memoryview(data)
    while left:  # a disk that is nearly full takes only a part
        left = left[file.write(left) :]
