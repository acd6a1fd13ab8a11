"""What a report is of: folders of predictions, one column a system, and the runs behind them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pscli.errors import ConfigError, DataError
from pscli.predictions.folder import Prediction
from pscli.predictions.names import FILE_NAME
from pscli.predictions.settings import read_settings
from pscli.runs import Run, agent_in, is_run, run_behind


@dataclass(frozen=True)
class Column:
    """A system.

    Args:
        folders: Its predictions; of several seeds, one folder each.
    """

    name: str
    folders: tuple[Path, ...]


@dataclass(frozen=True)
class Contents:
    """Systems with predictions, and training runs.

    Args:
        runs: Name of a system, and its runs in order.
        notes: What the reader should know about either.
    """

    columns: list[Column] = field(default_factory=list)
    runs: dict[str, list[Path]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def contents(folders: Sequence[Path], groups: Mapping[str, Sequence[Path]]) -> Contents:
    """Sorts what was named: predictions, runs, and groups of either.

    A run that is named brings its predictions, unless some that its agent made are named as well:
    those of `preds/NAME`, else, if only runs are named, the newest of its dev split. Predictions
    that are named bring the run of their agent, if its folder is still there.

    Raises:
        DataError: if a folder or a system is named twice.
    """
    every = [*folders, *(folder for some in groups.values() for folder in some)]
    places = [folder.resolve() for folder in every]
    for number, folder in enumerate(every):
        if places[number] in places[:number]:
            raise DataError(f"{folder} is named twice.", "Name every folder once.")
    notes: list[str] = []
    made = [folder for folder in every if not _alone(folder)]
    origins = {run.resolve() for folder in made if (run := run_of(folder, notes))}

    def predictions(folder: Path) -> list[Path]:
        if not _alone(folder):
            return [folder]
        return (
            [] if folder.resolve() in origins else _of_run(folder, all(map(_alone, every)), notes)
        )

    single = {folder: preds for folder in folders if (preds := predictions(folder))}
    columns = [
        Column(name, tuple(preds))
        for name, preds in zip(names(list(single)), single.values(), strict=True)
    ]
    for name, some in groups.items():
        if name in (column.name for column in columns):
            raise DataError(f"Two systems are called {name!r}.", "Give the group another name.")
        if preds := [p for folder in some for p in predictions(folder)]:
            columns.append(Column(name, tuple(preds)))
    return Contents(columns, _runs(columns, folders, groups), notes)


def _runs(
    columns: Sequence[Column], folders: Sequence[Path], groups: Mapping[str, Sequence[Path]]
) -> dict[str, list[Path]]:
    """Runs by the name of their system: those behind predictions and those of groups, then those
    named alone."""
    found: dict[str, list[Path]] = {}
    taken: set[Path] = set()
    owners: list[tuple[str, Path | None]] = [
        (column.name, run_of(folder)) for column in columns for folder in column.folders
    ]
    owners += [(name, folder) for name, some in groups.items() for folder in some]
    systems = {*groups, *(column.name for column in columns)}
    alone = [folder for folder in folders if is_run(folder)]
    lone = [(_named(n, run, systems), run) for n, run in zip(names(alone), alone, strict=True)]
    for name, run in [*owners, *lone]:
        if run and is_run(run) and run.resolve() not in taken:
            taken.add(run.resolve())
            found.setdefault(name, []).append(run)
    return found


def _named(name: str, run: Path, systems: Collection[str]) -> str:
    """Name of a run that is of none of the systems: its path, where one has its name."""
    return next((n for n in (name, str(run)) if n not in systems), str(run.resolve()))


def _of_run(folder: Path, samples: bool, notes: list[str]) -> list[Path]:
    """Predictions of a run of which none were named; those of dev if `samples`."""
    usual = Path("preds") / folder.resolve().name
    origin = run_of(usual, notes) if (usual / FILE_NAME).is_file() else None
    if origin and origin.resolve() == folder.resolve():
        return [usual]
    found = sorted(path.parent for path in (folder / "samples").glob(f"*/{FILE_NAME}"))
    if samples and found:
        notes.append(f"{folder}: no predictions were named; these are {found[-1].name}, of dev.")
        return found[-1:]
    notes.append(f"{folder}: its predictions were not named; only its curves are shown.")
    return []


def run_of(preds: Path, notes: list[str] | None = None) -> Path | None:
    """The run in which predictions lie, or whose agent made them, if it can be found.

    Args:
        notes: Told of a run that holds another agent by now.
    """
    if preds.parent.name == "samples" and is_run(preds.parent.parent):
        return preds.parent.parent
    settings = read_settings(preds)
    run = run_behind(Path(settings.agent)) if settings else None
    if run and settings and _other(settings.weights, run):
        told = f"{preds}: {run} holds another agent than the one that made them."
        if notes is not None and told not in notes:
            notes.append(told)
        return None
    return run


def _other(weights: str, run: Path) -> bool:
    """Whether a run has an agent, and it is not the one of this fingerprint."""
    from pscli.predictions.generate import fingerprint

    agent = agent_in(run)
    return agent != run and not weights.startswith("step ") and weights != fingerprint(agent)


def _alone(folder: Path) -> bool:
    """Whether a folder is a run, and holds no predictions of its own."""
    return is_run(folder) and not (folder / FILE_NAME).is_file()


def provenance(systems: Mapping[str, Sequence[Path]]) -> list[str]:
    """How predictions were made, a line for each system, of those that were not made as usual.

    Args:
        systems: Folders of each.
    """
    found = []
    for name, folders in systems.items():
        hows = dict.fromkeys(s.how for folder in folders if (s := read_settings(folder)))
        if any(hows):
            found.append(f"predictions of {name} |{' or '.join(h or 'as usual' for h in hows)}")
    return found


def refuse_unknown(kinds: Sequence[str], predictions: Iterable[Prediction]) -> None:
    """Raises ConfigError at an instance type that no prediction has."""
    known = sorted({p.kind for p in predictions if p.kind}) if kinds else []
    for kind in kinds:
        if kind not in known:
            raise ConfigError(
                f"No prediction is of the type '{kind}'.",
                f"Known: {', '.join(known)}." if known else "None has a type: leave out --kind.",
            )


def names(folders: Sequence[Path]) -> list[str]:
    """Names of the folders, or their whole paths if two names are equal."""
    short = [folder.resolve().name for folder in folders]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def logged(run: Path) -> list[dict[str, float]]:
    """Lines of a run's metrics, each with its step.

    Raises:
        DataError: if it has no lines yet, or a broken one.
    """
    lines = Run(run).metrics
    if not lines:
        raise DataError(f"{run} has logged nothing yet.", "Wait for its first steps.")
    for number, line in enumerate(lines, start=1):
        if not isinstance(line.get("step"), int | float):
            raise DataError(f"{run / 'metrics.jsonl'}:{number} has no step.", "Delete the line.")
    return lines
