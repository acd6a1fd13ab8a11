"""Whether what is on disk is still, byte for byte, what came."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pscli.console import Progress
from pscli.datasets.base import MARKER
from pscli.datasets.manifest import DAMAGED, HERE, read_manifest, write_manifest
from pscli.errors import DataError
from pscli.fetch.dialogues import known_files, same
from pscli.files import locked


def verify(folder: Path, progress: Progress) -> list[str]:
    """Files that are gone or have changed; the next `fetch` brings them again.

    Raises:
        DataError: if the folder holds nothing that was fetched, or another process writes it.
    """
    folder = folder.resolve()
    if not (folder / MARKER).is_file():
        raise DataError(f"{folder} holds no dataset.", "Fetch it first.")
    with locked(folder, "fetching", DataError):
        entries = read_manifest(folder)
        sums = known_files(folder)
        sums |= {e.path: e.sha256 for e in entries.values() if e.status in (*HERE, DAMAGED)}
        damaged = []
        with progress("Verifying", len(sums)) as advance:
            for path, sha256 in sums.items():
                if not same(folder / path, sha256):
                    damaged.append(path)
                advance(1)
        gone = {path: entries[path] for path in damaged if path in entries}
        if gone:
            reason = "its bytes are not what came"
            entries |= {p: replace(e, status=DAMAGED, reason=reason) for p, e in gone.items()}
            write_manifest(folder, entries)
    return damaged
