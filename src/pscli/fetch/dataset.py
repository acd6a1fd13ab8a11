"""The one door: a dataset to disk, dialogues first, then photos; resumable anywhere.

A dataset that is published lies on disk as it was published; one that is drawn, or one's own, as
`pscli.datasets.folder` writes it. Beside both are a manifest of all photos and `dataset.json`.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from pscli import console
from pscli.console import Progress
from pscli.datasets.base import MARKER, Dataset, Published, check_split, is_ours, load
from pscli.datasets.folder import write_split
from pscli.datasets.manifest import HERE, MANIFEST, Entry, write_manifest
from pscli.datasets.records import Dropped
from pscli.dialogue.schema import Photo
from pscli.errors import ConfigError, DataError
from pscli.fetch.dialogues import fetch_dialogues, sha256_of
from pscli.fetch.fill import Draw, fill
from pscli.fetch.names import clashes
from pscli.fetch.photos import fetch_photos
from pscli.fetch.places import Mirror, mirror_of, wanted
from pscli.fetch.web import Limits, Web, is_address
from pscli.files import claim, locked, new_folder, read_json, refuse_fixed, write_json

WORKERS = 2  # processes that draw
FEW = 100  # dialogues; for fewer, starting processes takes longer than drawing
MISSING = ("skip", "placeholder", "synthesise")


@dataclass(frozen=True)
class Options:
    """How to fetch a dataset.

    Args:
        origin: Folder or http(s) address to fetch it from; where it is published by default.
        photos: Whether to fetch photos, too.
        missing: What to do about photos that nobody has: `skip`, `placeholder` or `synthesise`.
        count: Only the photos of the first dialogues of each split; of a dataset that is drawn,
            only these dialogues.
        retry: Ask again for photos that did not come before.
        draw: Draws a missing photo, for `synthesise`.
        model: Its name, for the manifest.
    """

    origin: str | None = None
    photos: bool = True
    missing: str = "skip"
    count: int | None = None
    retry: bool = False
    overwrite: bool = False
    allow_private: bool = False
    limits: Limits = field(default_factory=Limits)
    draw: Draw | None = None
    model: str = ""


@dataclass(frozen=True)
class Fetched:
    """What is on disk now.

    Args:
        dialogues: How many, by split.
        statuses: Photos of each status.
        reasons: Photos that are not there, by reason.
        first: Whether the folder is new.
    """

    folder: Path
    dialogues: dict[str, int]
    statuses: dict[str, int]
    reasons: dict[str, int]
    first: bool


def fetch(
    dataset: Dataset,
    folder: Path,
    splits: Sequence[str] | None,
    progress: Progress,
    options: Options = Options(),
) -> Fetched:
    """Fetches splits of a dataset into a folder, or whatever of them is not there yet.

    Args:
        splits: All that there are, by default.
        progress: Opens a bar with a title and a total.

    Raises:
        ConfigError: if there is no such split, or nothing to fetch it from.
        DataError: if the folder holds something else, another process fetches it, or dialogues
            cannot be had, from that address or at all.
    """
    folder = folder.resolve()
    for split in splits or ():
        check_split(dataset, split)
    if not isinstance(dataset, Published):
        if options.origin is not None:
            raise ConfigError(f"{dataset.name} is drawn, not downloaded.", "Leave --from out.")
        with locked(folder, f"fetching {dataset.name}", DataError):
            return _drawn(dataset, folder, splits or dataset.splits, progress, options)
    copy = _local(options.origin)
    if copy is not None and copy.resolve() == folder:
        raise DataError(f"{copy} is what is to be written.", "Name another folder: --out.")
    published = list(dict.fromkeys(file.split for file in dataset.upstream))
    splits = list(dict.fromkeys(splits or (dataset.splits_in(copy) if copy else published)))
    if copy is None and not set(splits) & set(published):
        hint = "Name the folder that you have: --from FOLDER."
        if options.origin is not None:
            raise DataError(f"No file of {dataset.name} is known at {options.origin}.", hint)
        raise ConfigError(
            f"{dataset.name} cannot be downloaded: its licence is {dataset.licence}.", hint
        )
    with locked(folder, f"fetching {dataset.name}", DataError):
        return _published(dataset, folder, splits, progress, options)


def _local(origin: str | None) -> Path | None:
    if origin is None or is_address(origin):
        return None
    if not Path(origin).is_dir():
        raise DataError(f"{origin} does not exist.", "Name a folder or an http(s) address.")
    return Path(origin)


def _drawn(
    dataset: Dataset, folder: Path, splits: Sequence[str], progress: Progress, options: Options
) -> Fetched:
    """The folder appears only when everything is in it."""
    claim(folder, MARKER, options.overwrite, DataError, is_ours)
    refuse_fixed(folder, DataError)
    dialogues: dict[str, int] = {}
    entries: dict[str, Entry] = {}
    with new_folder(folder) as new:
        for split in splits:
            loaded = load(dataset, split, options.count)
            with progress(f"{dataset.name} {split}", len(loaded)) as advance:
                workers = WORKERS if len(loaded) > FEW else 1
                photos = write_split(new, split, loaded, advance, workers)
            dialogues[split] = len(loaded)
            entries |= {entry.path: entry for entry in photos}
        write_manifest(new, entries)
        names = [f"{split}.jsonl" for split in splits]
        _mark(new, dataset, {name: sha256_of(new / name) for name in names})
    return _fetched(folder, dialogues, entries, first=True)


def _published(
    dataset: Published, folder: Path, splits: Sequence[str], progress: Progress, options: Options
) -> Fetched:
    first = not (folder / MANIFEST).is_file()
    web = Web(options.limits, options.allow_private)
    if options.overwrite:
        claim(folder, MARKER, True, DataError, is_ours)
        refuse_fixed(folder, DataError)
        with new_folder(folder) as new:
            _dialogues(dataset, new, splits, web, progress, options)
    else:
        _claim(dataset, folder)
        _dialogues(dataset, folder, splits, web, progress, options)
    # Photos lie as in a local copy, whose folders they are not in here yet.
    dialogues, known = _read(dataset, _local(options.origin) or folder, splits, options.count)
    entries: dict[str, Entry] = {}
    if options.photos:
        mirror = mirror_of(options.origin, web)
        entries = _photos(dataset.name, folder, known, mirror, web, progress, options)
    return _fetched(folder, dialogues, entries, first or options.overwrite)


def _claim(dataset: Published, folder: Path) -> None:
    """Returns if a folder is new, or holds this dataset. Raises DataError if not."""
    if not (folder / MARKER).is_file():
        claim(folder, MARKER, False, DataError)
        return
    about = read_json(folder / MARKER)
    if not isinstance(about, dict) or about.get("name") != dataset.name or "captioner" in about:
        raise DataError(
            f"{folder} holds another dataset than {dataset.name}, or captions by a captioner.",
            "Name another folder, --out, or replace it: --overwrite.",
        )


def _dialogues(
    dataset: Published,
    folder: Path,
    splits: Sequence[str],
    web: Web,
    progress: Progress,
    options: Options,
) -> None:
    """The marker comes first, and says which files are there: a fetch that is killed goes on."""
    first = not (folder / MARKER).is_file()
    if first:
        _mark(folder, dataset, {})
    try:
        fetch_dialogues(
            dataset, folder, splits, options.origin, web, progress, partial(_mark, folder, dataset)
        )
    except BaseException:
        if first and not any(p.is_file() and p.name != MARKER for p in folder.rglob("*")):
            shutil.rmtree(folder)  # what never began leaves nothing
        raise


def _read(
    dataset: Published, folder: Path, splits: Sequence[str], count: int | None
) -> tuple[dict[str, int], dict[str, Photo]]:
    """How many dialogues each split has, and the photos of the first ones by their names."""
    dialogues: dict[str, int] = {}
    photos: dict[str, Photo] = {}
    dropped = Dropped()
    for split in splits:
        dialogues[split] = 0
        for dialogue in islice(dataset.read(split, folder, dropped), count):
            dialogues[split] += 1
            for photo in dialogue.photos:
                if isinstance(photo.source, Path):
                    photos.setdefault(photo.source.relative_to(folder).as_posix(), photo)
    for line in dropped.lines():
        console.note(f"Left out: {line}.")
    return dialogues, photos


def _photos(
    name: str,
    folder: Path,
    known: dict[str, Photo],
    mirror: Mirror,
    web: Web,
    progress: Progress,
    options: Options,
) -> dict[str, Entry]:
    """What the manifest says of the photos that are known."""
    photos = [wanted(path, photo, mirror) for path, photo in known.items()]
    with progress(f"{name} photos", len(photos)) as advance:
        entries = fetch_photos(photos, folder, web, advance, retry=options.retry)
    if options.missing != "skip":
        draw, model = options.draw, options.model
        if options.missing == "placeholder":
            draw, model = None, ""
        here = [path for path, entry in entries.items() if entry.status in HERE]
        gone = [path for path in known if entries[path].status not in HERE]
        refused = clashes([*here, *gone], folder)
        gaps = {path: known[path] for path in gone if path not in refused}
        with progress(f"Filling in ({options.missing})", len(gaps)) as advance:
            fill(gaps, entries, folder, advance, draw, model)
    return {path: entries[path] for path in known}


def _mark(folder: Path, dataset: Dataset, files: dict[str, str]) -> None:
    """Args: files: sha256 of each file of dialogues."""
    about = {"name": dataset.name, "licence": dataset.licence, "citation": dataset.citation}
    write_json(folder / MARKER, about | {"files": files})


def _fetched(
    folder: Path, dialogues: dict[str, int], entries: dict[str, Entry], first: bool
) -> Fetched:
    statuses = Counter(entry.status for entry in entries.values())
    reasons = Counter(e.reason for e in entries.values() if e.status not in HERE)
    return Fetched(folder, dialogues, dict(statuses), dict(reasons.most_common()), first)
