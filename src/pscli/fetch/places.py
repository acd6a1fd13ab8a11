"""Where a photo may be had: in the copy that is fetched from, and at its own addresses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from pscli import console
from pscli.datasets.manifest import MANIFEST, Entry, parse_manifest, read_manifest
from pscli.datasets.records import KnownPhoto
from pscli.dialogue.schema import Photo
from pscli.errors import DataError
from pscli.fetch.web import Fault, Web, is_address

MAX_MANIFEST = 1 << 28  # bytes


@dataclass(frozen=True)
class Place:
    """Where a photo may be had: an address, or a file of a local copy.

    Args:
        sha256: That its file must have, if that is known.
    """

    where: str | Path
    provenance: str = "original"
    sha256: str | None = None

    @property
    def host(self) -> str:
        """Which to be polite to; empty for a file."""
        try:
            return "" if isinstance(self.where, Path) else urlsplit(self.where).netloc
        except ValueError:  # such as http://[
            return ""


@dataclass(frozen=True)
class Wanted:
    """A photo to fetch: its path below the dataset's folder, and where it may be had."""

    path: str
    places: tuple[Place, ...]
    urls: tuple[str, ...] = ()


Mirror = Callable[[str], Place | None]  # path of a photo → where a copy has it


def mirror_of(origin: str | None, web: Web) -> Mirror:
    """Finds a photo in the copy that is fetched from, if it has it and did not make it up."""
    if origin is None:
        return lambda path: None
    remote = is_address(origin)
    base = origin.rstrip("/")
    entries: dict[str, Entry] = {}
    try:
        if remote:
            manifest = f"{base}/{MANIFEST}"
            entries = parse_manifest(web.get(manifest, MAX_MANIFEST), manifest)
        else:
            entries = read_manifest(Path(origin))
    except Fault:
        pass  # without a manifest nobody knows which photos are there
    except DataError as error:
        console.note(f"{error.message} Photos are fetched from their own addresses.")

    def find(path: str) -> Place | None:
        entry = entries.get(path)
        if entry is None:
            return None if remote else Place(Path(origin) / path, "mirror")
        if entry.status != "ok":
            return None
        where = f"{base}/{quote(path)}" if remote else Path(origin) / path
        return Place(where, "mirror", entry.sha256 or None)

    return find


def wanted(path: str, photo: Photo, mirror: Mirror) -> Wanted:
    """A photo and its places, best first."""
    urls = photo.urls if isinstance(photo, KnownPhoto) else ()
    sha256 = photo.sha256 if isinstance(photo, KnownPhoto) else None
    # The first address is the dataset's own; what follows are copies that others keep.
    places = [Place(u, "mirror" if i else "original", sha256) for i, u in enumerate(urls)]
    copy = mirror(path)
    if copy is not None and (not isinstance(copy.where, Path) or copy.where.is_file()):
        places.insert(0, copy if copy.sha256 else replace(copy, sha256=sha256))
    return Wanted(path, tuple(places), urls)
