"""Which bridge corrects wrong captions? The study of docs/bridge-noise.md: `make bridge-noise`.

    python benchmarks/bridge_noise.py --bridges none dvtm dvtm-word vtm soft
    python benchmarks/bridge_noise.py --brief --seeds 0 --bridges none vtm soft  # generator frozen
    python benchmarks/bridge_noise.py --plan             # how many cells are left, and how long
    python benchmarks/bridge_noise.py --plot docs/images/bridge-noise.png

Two cells (`noise_cell.py`) run side by side, one thread each. The JSON of a cell is kept, and it is
never run again: the command goes on where it stopped, and other bridges or seeds add cells.

The rule by which α, τ and the best bridge are chosen was written down before the grid was run (the
values of α, and τ = 1, are those of earlier trials on next-colour):

    Whoever has wrong captions has no true ones, so the true colour and faithfulness choose nothing.
    What such a user has are photos and talk of dev, and the generator as it was pre-trained: it
    tells how well the captions that the trained agent writes by itself explain the photos that are
    due, by their L^v, under noise that all cells have in common. The dataset's own captions of dev
    take no part. L^v is averaged over the three kinds of noise at 60 %, with the generator frozen
    and a seed that no result uses. First α of 30 and 100 at τ = 1; then τ = 0.5 beside 1 at that α.
    The first one stays unless the other is lower by more than a standard error of their paired
    differences, photo by photo. The best bridge is the one whose L^v is then lowest. These settings
    serve all kinds of noise, both shares, true captions, and the generator frozen or not.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from traceback import format_exception
from typing import Any

import noise_cell
from arguments import above_zero, positive
from noise_cell import RECAPTIONED, UNTRAINED, Cell, Scale
from noise_table import figure, side_by_side, tables
from paper_table import once

from pscli import console
from pscli.errors import DataError
from pscli.files import locked, read_json, write_text
from pscli.registry import check

KINDS, SHARES = ("next-colour", "shuffled-captions", "no-colour"), (60, 100)
NOISES = tuple(f"{kind}-{share}" for kind, share in product(KINDS, SHARES))
ALPHAS, TAUS = (30.0, 100.0), (1.0, 0.5)
CHOICE = 1000  # seed of the cells that choose
SECONDS = {True: 67.0, False: 50.0}  # of a cell with and without a test, until some are done


class Study:
    """The grid in its folder: `cells/*.json`, one a cell.

    Args:
        work: Runs a cell and keeps its JSON, in a process of its own that then runs others.
        alphas: Of which the rule chooses; training without a bridge has the first one.
    """

    def __init__(
        self, out: Path, scale: Scale, jobs: int = 2, work: Callable[..., None] = noise_cell.keep,
        alphas: Sequence[float] = ALPHAS,
    ) -> None:  # fmt: skip
        self.out, self.scale, self.jobs, self.work, self.alphas = out, scale, jobs, work, alphas
        self.untested = dataclasses.replace(scale, test=0)  # for cells that choose

    def found(self, cell: Cell) -> dict[str, Any] | None:
        """A finished cell of this scale; a file that holds something else is none."""
        told: Any = None
        with contextlib.suppress(DataError):
            told = read_json(self.path(cell))
        wanted = {"cell": cell, "scale": self.scale_of(cell)}
        same = isinstance(told, dict) and all(
            told.get(name) == dataclasses.asdict(value) for name, value in wanted.items()
        )
        return told if same else None

    def path(self, cell: Cell) -> Path:
        return self.out / "cells" / f"{cell.name}.json"

    def scale_of(self, cell: Cell) -> Scale:
        return self.untested if cell.seed == CHOICE else self.scale

    def run(self, cells: Iterable[Cell]) -> None:
        """Runs the cells that are not finished; one that fails does not keep others from running.

        Raises:
            SystemExit: in the end, if some have failed; it names them.
        """
        left = [cell for cell in dict.fromkeys(cells) if self.found(cell) is None]
        if any(cell.noise == RECAPTIONED for cell in left):
            self.recaption()
        failed = []
        with ProcessPoolExecutor(self.jobs, get_context("spawn"), noise_cell.alone) as pool:
            doing = {
                pool.submit(
                    self.work, cell, self.scale_of(cell), self.path(cell), self.captions
                ): cell
                for cell in left
            }
            for done in as_completed(doing):
                name, error = doing[done].name, done.exception()
                failed += [name] if error else []
                told = "".join(format_exception(error)) if error else "done"
                print(f"{name}: {told}", file=sys.stderr, flush=True)
        if failed:
            sys.exit(f"{len(failed)} cells failed: {', '.join(failed)}. Run the command again.")

    @property
    def captions(self) -> Path:
        return self.out / "captioned" / "jsonl"

    def recaption(self) -> None:
        """photoworld's first training dialogues with the captions of the bundled captioner."""
        count = str(noise_cell.BATCH * self.scale.steps)
        command = ["caption", "photoworld", "--split", "train", "--count", count]
        command += ["--out", str(self.captions)]
        done = subprocess.run([sys.executable, "-m", "pscli", *command])
        if done.returncode:
            sys.exit(done.returncode)

    # -- the rule ------------------------------------------------------------------------------

    def image_loss(self, bridge: str, alpha: float, tau: float) -> list[float] | None:
        """L^v photo by photo, of all three kinds of noise; None if a cell is not finished."""
        cells = [self.found(cell) for cell in choosing(bridge, alpha, tau)]
        if any(cell is None for cell in cells):
            return None
        return [loss for cell in cells if cell for loss in cell["image loss"]]

    def chosen(self, bridge: str) -> tuple[float, float]:
        """α and τ by the rule, as far as the cells are finished."""
        alpha = self._better(bridge, [(a, TAUS[0]) for a in self.alphas])[0]
        return self._better(bridge, [(alpha, tau) for tau in TAUS])

    def _better(self, bridge: str, options: Sequence[tuple[float, float]]) -> tuple[float, float]:
        best = options[0]
        for other in options[1:]:
            one, two = self.image_loss(bridge, *best), self.image_loss(bridge, *other)
            if one and two and lower(two, one):
                best = other
        return best

    def best(self, bridges: Sequence[str]) -> str:
        """The bridge with the lowest L^v, each with what was chosen for it."""

        def loss(bridge: str) -> float:
            found = self.image_loss(bridge, *self.chosen(bridge))
            return statistics.mean(found) if found else float("inf")

        return min(bridges, key=loss)


def lower(losses: Sequence[float], than: Sequence[float]) -> bool:
    """Whether losses are lower by more than a standard error of the paired differences."""
    apart = [b - a for a, b in zip(losses, than, strict=True)]
    return statistics.mean(apart) > statistics.stdev(apart) / len(apart) ** 0.5


# -- the grid ----------------------------------------------------------------------------------


def choosing(bridge: str, alpha: float, tau: float) -> list[Cell]:
    return [Cell(f"{kind}-60", bridge, CHOICE, alpha, tau) for kind in KINDS]


def stages(
    study: Study, bridges: Sequence[str], seeds: Sequence[int], brief: bool = False
) -> Iterable[list[Cell]]:
    """What is to be run, stage by stage, as what was run before it says.

    Args:
        brief: Only what chooses α and τ, and, with a frozen generator, every bridge and the control
            of the best one.
    """
    others = [bridge for bridge in bridges if bridge != "none"]
    yield [c for b, a in product(others, study.alphas) for c in choosing(b, a, TAUS[0])]
    alphas = {b: study.chosen(b)[0] for b in others}
    yield [c for b, tau in product(others, TAUS) for c in choosing(b, alphas[b], tau)]
    setting = {b: study.chosen(b) for b in others} | {"none": (study.alphas[0], TAUS[0])}
    best = study.best(others)
    if brief:
        yield [
            Cell(noise, bridge, seed, *setting[bridge], control=control)
            for seed, noise, (bridge, control) in product(
                seeds, NOISES, [*product(bridges, [False]), (best, True)]
            )
        ]
        return
    arms = dict.fromkeys((("none", False), ("dvtm", False), (best, False), (best, True)))
    yield [
        Cell(noise, bridge, seed, *setting[bridge], trains, control)
        for seed, noise, trains, (bridge, control) in product(seeds, NOISES, (False, True), arms)
        if bridge in setting
    ]
    yield [
        *(
            Cell("", bridge, seed, *setting[bridge], trains)
            for seed, trains, bridge in product(seeds, (False, True), dict.fromkeys(("none", best)))
        ),
        *(
            Cell(RECAPTIONED, "none", seed, *setting["none"], trains)
            for seed, trains in product(seeds, (False, True))
        ),
        Cell("", UNTRAINED, 0),
    ]
    rest = [b for b in others if b not in ("dvtm", best)]
    yield [Cell(noise, b, seeds[0], *setting[b]) for noise, b in product(NOISES, rest)]


def plan(study: Study, bridges: Sequence[str], seeds: Sequence[int], brief: bool = False) -> str:
    """Cells of each stage, those that are left, and how long they take. Later stages are those of
    the bridge that is best so far."""
    lines = ["| stage | cells | left | hours |", "|---|--:|--:|--:|"]
    names = ("α", "τ", "headline", "true and rewritten captions", "other bridges")
    if brief:
        names = ("α", "τ", "generator frozen")
    total = 0.0
    known: set[Cell] = set()
    for name, cells in zip(names, stages(study, bridges, seeds, brief), strict=True):
        new = [cell for cell in dict.fromkeys(cells) if cell not in known]
        known |= set(new)
        left = [cell for cell in new if study.found(cell) is None]
        took = [told["seconds"] for cell in new if (told := study.found(cell))]
        each = [statistics.median(took) if took else SECONDS[c.seed != CHOICE] for c in left]
        hours = sum(each) / study.jobs / 3600
        total += hours
        lines.append(f"| {name} | {len(new)} | {len(left)} | {hours:.2f} |")
    return "\n".join([*lines, f"| together | {len(known)} | | {total:.2f} |"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    defaults = ["none", "dvtm", "dvtm-word", "vtm", "soft"]
    parser.add_argument("--bridges", nargs="+", default=defaults, metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--alphas", type=above_zero, nargs="+", default=[*ALPHAS], metavar="A")
    parser.add_argument("--out", type=Path, default=Path("runs/bridge-noise"))
    parser.add_argument("--steps", type=positive, default=Scale.steps, help="of 8 dialogues")
    parser.add_argument("--dev", type=positive, default=Scale.dev, help="dialogues")
    parser.add_argument("--test", type=positive, default=Scale.test, help="dialogues")
    parser.add_argument("--jobs", type=positive, default=2, help="cells side by side")
    parser.add_argument(
        "--brief",
        action="store_true",
        help="generator frozen: every bridge, and the control of the best",
    )
    parser.add_argument("--plan", action="store_true", help="run nothing")
    parser.add_argument("--plot", type=Path, help="PNG to draw as well")
    options = parser.parse_args()
    options.bridges, options.seeds = once(options.bridges), once(options.seeds)
    if options.brief and options.plot:
        parser.error("--plot draws the whole study; --brief is a part of it.")
    if CHOICE in options.seeds:
        parser.error(f"seed {CHOICE} is that of the cells that choose; no result uses it.")
    if not {check("bridge", bridge) for bridge in options.bridges} - {"none"}:
        parser.error("--bridges has none that could be chosen.")
    scale = Scale(options.steps, options.dev, options.test)
    study = Study(options.out, scale, options.jobs, alphas=options.alphas)
    print(plan(study, options.bridges, options.seeds, options.brief), flush=True)
    if not options.plan:
        with locked(options.out, "running the study"):
            report(study, options)


def report(study: Study, options: argparse.Namespace) -> None:
    """Runs what is left, and writes tables and figure of all."""
    cells: list[Cell] = []
    for stage in stages(study, options.bridges, options.seeds, options.brief):
        study.run(stage)
        cells += stage
    best = study.best([b for b in options.bridges if b != "none"])
    rule = [f"- {b}: α = {a:g}, τ = {t:g}" for b in options.bridges if b != "none"
            for a, t in [study.chosen(b)]]  # fmt: skip
    results = [told for cell in dict.fromkeys(cells) if (told := study.found(cell))]
    lines = [f"Chosen on dev, best: {best}", "", *rule, "", side_by_side(results, best)]
    text = "\n".join(lines if options.brief else [*lines, tables(results, best)])
    write_text(options.out / ("tables-brief.md" if options.brief else "tables.md"), text + "\n")
    print("\n" + text)
    if options.plot:
        figure(results, best, options.plot)


if __name__ == "__main__":
    console.script(main)
