"""Sets too large for memory: eight bytes of each member, in a temporary database."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Hashable, Iterator
from heapq import merge

FEW = 1 << 15  # members that are collected before they are written
CACHE_KIB = 1024


class Keys:
    """A set of hashable things, told apart by their hashes.

    What is collected goes to a database file that SQLite deletes with the connection, so that
    memory does not grow with the set.
    """

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._file: sqlite3.Connection | None = None

    def add(self, key: Hashable) -> None:
        self._insert(hash(key))

    def update(self, other: Keys) -> None:
        for key in other:
            self._insert(key)

    def common(self, other: Keys) -> int:
        """How many members both have."""
        return sum(a == b for a, b in itertools.pairwise(merge(self, other)))

    def __iter__(self) -> Iterator[int]:
        """The hashes in ascending order."""
        if self._file is None:
            return iter(sorted(self._recent))
        self._write()
        return (key for (key,) in self._file.execute("SELECT key FROM keys ORDER BY key"))

    def __len__(self) -> int:
        if self._file is None:
            return len(self._recent)
        self._write()
        (count,) = self._file.execute("SELECT count(*) FROM keys").fetchone()
        return int(count)

    def _insert(self, key: int) -> None:
        self._recent.add(key)
        if len(self._recent) >= FEW:
            self._write()

    def _write(self) -> None:
        if self._file is None:
            self._file = sqlite3.connect("")  # a temporary file, removed when closed
            self._file.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            self._file.execute("PRAGMA journal_mode = OFF")
            self._file.execute("CREATE TABLE keys (key INTEGER PRIMARY KEY)")
        rows = ((key,) for key in sorted(self._recent))
        self._file.executemany("INSERT OR IGNORE INTO keys VALUES (?)", rows)
        self._file.commit()
        self._recent = set()
