"""Every system beside every other, and what each of them took: `make systems`.

    python benchmarks/systems.py photoworld --preset tiny --table docs/systems-table.md
    python benchmarks/systems.py photoworld --plan        # what is left, and how long it takes

Makes what the package does not ship; plans, trains and asks each system of the registry for every
seed, on the test split and on `unseen` where the dataset has one; scores them, and writes a table,
a figure and a report. Every step is one command of `pscli`, printed before it runs and noted when
it is done. Given again, it goes on where it stopped: a run that was cut off is resumed, and what is
noted is not done again, unless with other settings, or where what it made is gone.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from arguments import positive
from paper_table import once, option, training
from systems_figure import figure

from pscli import console
from pscli.config import preset_of
from pscli.errors import DataError
from pscli.files import append_line, read_json, read_lines, write_text
from pscli.photoworld.members import MADE
from pscli.registry import PARTS, TABLES, check, find, plain
from pscli.runs import Run

UNTRAINED = ("zero-shot",)  # answers as it was published
DONE = "done.jsonl"
NOTED = {"step", "kind", "seconds"}  # of each step
COMPARES = ("score", "report")


@dataclass(frozen=True)
class Step:
    """One command.

    Args:
        kind: Steps of a kind take about as long as each other.
        words: Arguments of `pscli`.
        made: What is there once it is done.
        prints: Whether that is what it prints.
    """

    kind: str
    name: str
    words: list[str]
    made: Path
    prints: bool = False


@dataclass(frozen=True)
class Table:
    """Which systems, how often, on what."""

    dataset: str
    folder: Path
    seeds: Sequence[int]
    systems: Sequence[str]
    splits: Sequence[str] = ("test",)
    preset: str | None = None
    count: int | None = None
    settings: Sequence[str] = ()

    def run(self, system: str, seed: int) -> Path:
        return self.folder / f"{plain(system)}-{seed}"

    def preds(self, system: str, seed: int, split: str) -> Path:
        return self.folder / "preds" / split / f"{plain(system)}-{seed}"

    def plan(self, system: str) -> Path:
        return self.folder / "plan" / f"{plain(system)}.json"

    @property
    def command(self) -> str:
        """What makes this table."""
        words = [self.dataset, *self.how, *option("count", self.count)]
        return shlex.join(["python", "benchmarks/systems.py", *words])

    @property
    def how(self) -> list[str]:
        """Preset and settings, of what trains and of what is asked untrained."""
        return [
            *option("preset", self.preset),
            *(w for pair in self.settings for w in ("--set", pair)),
        ]


def steps(t: Table) -> list[Step]:
    """All of it, in order; members that the package does not ship are made first."""
    found = []
    for family in families(t):
        made, words = MADE / family / "scores.json", ["foundations", family]
        found.append(Step("foundations", f"foundations {family}", words, made))
    for system in t.systems:
        words = ["plan", system, "--dataset", t.dataset, *t.how, "--json"]
        found.append(Step("plan", f"plan {system}", words, t.plan(system), prints=True))
    for seed in t.seeds:
        for system in t.systems:
            run = t.run(system, seed)
            who = ["--agent", str(run)]
            if system in UNTRAINED:
                who = ["--system", system, *t.how]
            else:
                words = training(system, t.dataset, run, [*t.how, "--seed", str(seed)])
                name = f"train {system}-{seed}"
                found.append(Step(f"train {system}", name, words, run / "agent"))
            for split in t.splits:
                preds, name = t.preds(system, seed, split), f"answer {system}-{seed} {split}"
                where = ["--split", split, "--out", str(preds)]
                where += ["--seed", str(seed), *option("count", t.count)]
                words = ["generate", "--dataset", t.dataset, *who, *where]
                found.append(Step(f"answer {system}", name, words, preds))
    return [*found, *comparisons(t)]


def families(t: Table) -> list[str]:
    """Whose members the systems name, as their preset has them, and are not shipped."""
    preset = find("preset", t.preset or preset_of(t.dataset))
    models = [preset(system).model for system in t.systems]
    named = dict.fromkeys(getattr(model, part).weights for model in models for part in PARTS)
    return [f for f in TABLES["foundations"] if f"photoworld-{f}" in named]


def comparisons(t: Table) -> list[Step]:
    """Scores and reports; those that speak are also compared alone, over all that they said."""
    speaking = [s for s in t.systems if find("system", s).speaks]
    found = []
    for split in t.splits:
        sides = {"all": t.systems} | ({"speaking": speaking} if len(speaking) > 1 else {})
        for name, some in sides.items():
            if len(some) == len(t.systems) and name != "all":
                continue
            groups = [w for system in some for w in ("--group", group(t, system, split))]
            kept = t.folder / f"{name}-{split}.md"
            score = ["score", *groups, "--by-type", "--format", "markdown"]
            found.append(Step("score", f"score {name} {split}", score, kept, prints=True))
            out = t.folder / f"report-{name}-{split}"
            words = ["report", *groups, "--out", str(out), "--overwrite"]
            found.append(Step("report", f"report {name} {split}", words, out))
    return found


def group(t: Table, system: str, split: str) -> str:
    return f"{system}={','.join(str(t.preds(system, seed, split)) for seed in t.seeds)}"


# -- one after the other -----------------------------------------------------------------------


def carry_out(t: Table) -> None:
    """What is not noted as done; the first that fails ends it."""
    for step in steps(t):
        if is_done(step, done(t)):
            continue
        print("pscli", shlex.join(step.words), file=sys.stderr, flush=True)
        began = time.monotonic()
        ran = subprocess.run(
            [sys.executable, "-m", "pscli", *step.words],
            stdout=subprocess.PIPE if step.prints else None,
        )
        if ran.returncode:
            sys.exit(ran.returncode)
        if step.prints:
            write_text(step.made, ran.stdout.decode("utf-8"))
        seconds = time.monotonic() - began
        line = {"step": step.name, "kind": step.kind, "seconds": seconds, "words": step.words}
        append_line(t.folder / DONE, line)


def done(t: Table) -> dict[str, dict[str, Any]]:
    """What is noted, by step; comparisons only since the last answers."""
    known: dict[str, dict[str, Any]] = {}
    for line in read_lines(t.folder / DONE):
        if not line.keys() >= NOTED:
            raise DataError(f"{t.folder / DONE} has a line without {', '.join(sorted(NOTED))}.",
                            "Delete the line: that step is done again.")  # fmt: skip
        if line["kind"].startswith("answer"):
            known = {n: then for n, then in known.items() if then["kind"] not in COMPARES}
        known[line["step"]] = line
    return known


def is_done(step: Step, known: dict[str, dict[str, Any]]) -> bool:
    """Whether a step is noted, was the same (with more systems all are compared again), and what it
    made is still there."""
    if step.name not in known or not step.made.exists():
        return False
    then = known[step.name].get("words", step.words)
    return [w for w in then if w != "--resume"] == [w for w in step.words if w != "--resume"]


def left(t: Table) -> list[tuple[str, float | None]]:
    """Steps that are left, and the seconds that each will take: the mean of those of its kind that
    are done, else of those that begin alike; None where there are none yet."""
    noted = done(t)
    known = list(noted.values())

    def expected(step: Step) -> float | None:
        alike = [line["seconds"] for line in known if line["kind"] == step.kind]
        first = step.kind.split()[0]
        alike = alike or [n["seconds"] for n in known if n["kind"].split()[0] == first]
        return statistics.mean(alike) if alike else None

    return [(step.name, expected(step)) for step in steps(t) if not is_done(step, noted)]


def told(t: Table) -> str:
    """The plan in words."""
    some = left(t)
    lines = [f"{name:40} {'?' if s is None else f'{s / 3600:.2f} h'}" for name, s in some]
    unknown = sum(s is None for _, s in some)
    hours = sum(s or 0 for _, s in some) / 3600
    more = f", and {unknown} of which none has been done yet" if unknown else ""
    return "\n".join([*lines, f"{len(some)} steps are left: {hours:.2f} h{more}."])


# -- the table ---------------------------------------------------------------------------------


def page(t: Table) -> str:
    """Budgets, and all scores over everything and by instance type, as Markdown."""
    many = "all" if t.count is None else f"up to {t.count:,}"
    introduction = INTRODUCTION.format(
        command=t.command, seeds=len(t.seeds), many=many, day=date.today()
    )
    parts = [f"# Every system on {t.dataset}", introduction, budgets(t)]
    for split in t.splits:
        read = scored(t, split)
        kinds = dict.fromkeys(
            kind for some in read.values() for one in some for kind in one["kinds"]
        )
        for kind in ["", *kinds]:
            parts += [f"## {split}: {kind or 'all'}", scores(read, kind)]
    return "\n\n".join(parts) + "\n"


INTRODUCTION = (
    "`{command}` wrote this page ({day}): {many} dialogues of each split. Mean over {seeds} seeds "
    "± standard deviation, in brackets the means of the ends of each seed’s 95 % interval, and n. "
    "Systems that only draw are asked where a photo is due, and have no figures of words. Whether "
    "two systems differ beyond chance is told in the reports beside the runs. Operations: those of "
    "a step, forward and backward, as `pscli plan` counts them one by one, times the updates; "
    "seconds without evaluations."
)


def scored(t: Table, split: str) -> dict[str, list[Any]]:
    """What `score` wrote of each system, seed by seed."""
    return {
        system: [read_json(t.preds(system, seed, split) / "scores.json") for seed in t.seeds]
        for system in t.systems
    }


def budgets(t: Table) -> str:
    """What each system has and took."""
    rows = [["system", "trained", "frozen", "updates", "seconds", "TFLOP of training"]]
    for system in t.systems:
        plan = read_json(t.plan(system))
        counts = [sum(c[k] for c in plan["components"]) for k in ("trained", "frozen")]
        rows.append([system, *(f"{n:,}" for n in counts), *spent(t, system, plan["flops"])])
    return markdown(rows)


def spent(t: Table, system: str, flops: float) -> list[str]:
    """Updates, seconds and TFLOP of a seed's training on average; dashes if a run cannot tell."""
    if system in UNTRAINED:
        return ["0"] * 3
    runs = [Run(t.run(system, seed)).spent for seed in t.seeds]
    known = [run for run in runs if run]
    if len(known) < len(runs):
        return ["–"] * 3
    updates, seconds = (statistics.mean(column) for column in zip(*known, strict=True))
    return [f"{updates:,.0f}", f"{seconds:,.0f}", f"{flops * updates / 1e12:,.1f}"]


def scores(read: dict[str, list[Any]], kind: str) -> str:
    """Rows of figures, a column a system."""
    found = {
        system: [figures(one["kinds"].get(kind, {}) if kind else one["overall"]) for one in some]
        for system, some in read.items()
    }
    names = dict.fromkeys(name for some in found.values() for one in some for name in one)
    rows = [["", *found]]
    for name in names:
        rows.append([name, *(cell([one.get(name) for one in some]) for some in found.values())])
    return markdown(rows)


def figures(section: dict[str, Any]) -> dict[str, Any]:
    return {score["name"]: score for score in section.get("scores", [])}


def cell(seeds: Sequence[Any]) -> str:
    """`64.7 ± 1.2 [56.0, 73.1] (n = 119)` of a figure that every seed has; n from the least to the
    most, where seeds differ."""
    if not all(seeds):
        return "–"
    values = [score["value"] for score in seeds]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    ends = [score.get("interval") for score in seeds]
    within = ""
    if all(ends):
        low, high = (statistics.mean(pair[side] for pair in ends) for side in (0, 1))
        within = f" [{low:.2f}, {high:.2f}]"
    counts = sorted({score["n"] for score in seeds})
    n = "–".join(f"{count}" for count in dict.fromkeys((counts[0], counts[-1])))
    return f"{statistics.mean(values):.2f}{spread}{within} (n = {n})"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", nargs="?", default="photoworld")
    parser.add_argument("--out", type=Path, help="default: runs/systems/DATASET")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--systems", nargs="+", default=list(TABLES["system"]), metavar="NAME")
    parser.add_argument("--splits", nargs="+", help="default: test, and unseen where there is one")
    parser.add_argument("--preset")
    parser.add_argument("--count", type=positive, help="dialogues of each split; default: all")
    parser.add_argument("--set", action="append", metavar="a.b=v", help="of the runs; repeatable")
    parser.add_argument("--table", type=Path, help="Markdown file; default: table.md in --out")
    parser.add_argument("--plot", type=Path, help="PNG file; default: table.png in --out")
    parser.add_argument("--plan", action="store_true", help="only say what is left, in hours")
    args = parser.parse_args()
    t = Table(
        args.dataset, args.out or Path("runs/systems") / args.dataset, once(args.seeds),
        [check("system", system) for system in once(args.systems)],
        once(args.splits or splits(args.dataset)), args.preset, args.count, args.set or (),
    )  # fmt: skip
    if args.plan:
        print(told(t))
        return
    carry_out(t)
    write_text(args.table or t.folder / "table.md", page(t))
    figure({split: scored(t, split) for split in t.splits}, args.plot or t.folder / "table.png")


def splits(dataset: str) -> list[str]:
    """Those that are for testing."""
    from pscli.datasets.base import named

    return [split for split in ("test", "unseen") if split in named(dataset).splits]


if __name__ == "__main__":
    console.script(main)
