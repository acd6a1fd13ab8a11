"""Files of dialogues, from where they are published, from a mirror or from a folder."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from pscli import console
from pscli.console import Progress
from pscli.datasets.base import MARKER, Published, Upstream
from pscli.errors import DataError, PscliError
from pscli.fetch.web import Fault, Web, is_address
from pscli.files import read_json, replacing

MAX_FILE = 4 << 30  # bytes
SECONDS = 3600.0
ATTEMPTS = 4


def fetch_dialogues(
    dataset: Published,
    folder: Path,
    splits: Sequence[str],
    origin: str | None,
    web: Web,
    progress: Progress,
    keep: Callable[[dict[str, str]], None],
) -> None:
    """Fetches what is not there yet.

    Args:
        keep: Told the sha256 of each file that is there, whenever one more is.

    Raises:
        DataError: if a file cannot be had, or the origin has none.
    """
    known = known_files(folder)
    if origin is not None and not is_address(origin):
        keep(known | _copied(dataset, Path(origin), folder, splits))
        return
    files = [file for file in dataset.upstream if file.split in splits]
    with progress(f"{dataset.name} dialogues", len(files)) as advance:
        for file in files:
            url = f"{origin.rstrip('/')}/{quote(file.name)}" if origin else file.url
            expected = file.sha256 or known.get(file.name)
            if expected is None or not same(folder / file.name, expected):
                expected = _downloaded(web, url, folder / file.name, file)
            known[file.name] = expected
            keep(known)
            advance(1)


def known_files(folder: Path) -> dict[str, str]:
    """Checksums of the files that came before."""
    try:
        files = read_json(folder / MARKER)["files"]
        return {str(name): str(sha256) for name, sha256 in files.items()}
    except (PscliError, AttributeError, KeyError, TypeError):
        return {}


def _copied(
    dataset: Published, origin: Path, folder: Path, splits: Sequence[str]
) -> dict[str, str]:
    published = {file.name: file.sha256 for file in dataset.upstream}
    sums = {}
    for split in splits:
        for path in dataset.files(origin, split):
            name = path.relative_to(origin).as_posix()
            sums[name] = sha256_of(path)
            if published.get(name) not in (None, sums[name]):
                console.note(f"{path} is not the published revision of {dataset.name}.")
            if not same(folder / name, sums[name]):
                with path.open("rb") as source, replacing(folder / name) as file:
                    shutil.copyfileobj(source, file)
    if not sums:
        raise DataError(
            f"{origin} holds no files of {dataset.name} {', '.join(splits)}.",
            "Expected SPLIT/*.json, SPLIT.json or SPLIT.jsonl.",
        )
    return sums


def same(path: Path, sha256: str) -> bool:
    """Whether a file is there, and has that checksum."""
    return path.is_file() and sha256_of(path) == sha256


def sha256_of(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _downloaded(web: Web, url: str, target: Path, file: Upstream) -> str:
    """Fetches a file, whole or not at all, and returns its sha256."""
    for attempt in range(1, ATTEMPTS + 1):
        digest = hashlib.sha256()
        try:
            with replacing(target) as out:
                for piece in web.pieces(url, MAX_FILE, SECONDS):
                    digest.update(piece)
                    out.write(piece)
                if not out.tell():
                    raise Fault("broken", "nothing came", passing=True)
                if file.sha256 not in (None, digest.hexdigest()):
                    found = f"its sha256 is {digest.hexdigest()}, not {file.sha256}"
                    raise Fault("broken", found)
            return digest.hexdigest()
        except Fault as fault:
            if not fault.passing or attempt == ATTEMPTS:
                raise DataError(
                    f"{url} could not be fetched: {fault.reason}.",
                    "Give the same command again to go on, or name a copy: --from.",
                ) from fault
            time.sleep(max(fault.wait, web.limits.backoff * 2 ** (attempt - 1)))
    raise AssertionError("every attempt ends")
