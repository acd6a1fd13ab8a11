"""Tables of rows that can be computed again: kept in files, for one process or for several."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from pscli.files import write_whole


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
            write_whole(self._keys, f"{len(value)} {note}\n".encode("ascii"))
        if len(value) != self._length:
            raise ValueError(f"a row of {len(value)} bytes, not {self._length}")
        write_whole(self._rows, value)
        write_whole(self._keys, key)
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
