"""The whole protocol of the paper's table: `make paper-table DATASET=photochat`.

    python benchmarks/paper_table.py photoworld --preset tiny --seeds 0 1 2 --count 500

Trains every system for every seed, answers the test split, scores all of them, and writes a report.
Every step is one command of `pscli`, printed before it runs. Given again, it goes on where it
stopped: runs are resumed, and predictions that are there already are kept.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arguments import positive

SYSTEMS = ("e2e", "pipeline")


def commands(
    dataset: str,
    folder: Path,
    seeds: list[int],
    systems: list[str],
    preset: str | None = None,
    count: int | None = None,
    extractor: str | None = None,
) -> list[list[str]]:
    """What is left to be done, as arguments of `pscli`, in order.

    Args:
        preset: Of the runs; None leaves it to the dataset.
        count: Dialogues of the test split; None takes all.
        extractor: What sees the photos for IS and FID; None leaves it to `score`.
    """
    found = []
    for seed in seeds:
        for system in systems:
            run, preds = folder / f"{system}-{seed}", folder / "preds" / f"{system}-{seed}"
            how = [*option("preset", preset), "--seed", str(seed)]
            where = ["--agent", str(run), "--out", str(preds), *option("count", count)]
            found += [
                training(system, dataset, run, how),
                ["generate", "--dataset", dataset, "--split", "test", *where],
            ]
    preds = folder / "preds"
    groups = {system: [preds / f"{system}-{seed}" for seed in seeds] for system in systems}
    return [*found, *comparing(groups, folder / "report", option("extractor", extractor))]


def training(system: str, dataset: str, run: Path, how: list[str]) -> list[str]:
    """Trains a system, or goes on with a run that has begun; one that began otherwise is refused.

    Args:
        how: Options of a run.
    """
    begun = ["--resume"] if (run / "config.json").is_file() else []
    return ["train", system, "--dataset", dataset, "--run", str(run), *how, *begun]


def comparing(groups: dict[str, list[Path]], report: Path, how: list[str]) -> list[list[str]]:
    """Scores groups of predictions by name, and writes a report of them."""
    named = [f"{name}={','.join(map(str, folders))}" for name, folders in groups.items()]
    rest = [*(part for group in named for part in ("--group", group)), *how]
    return [["score", *rest], ["report", *rest, "--out", str(report), "--overwrite"]]


def once(some: Sequence[Any]) -> list[Any]:
    """Each value but once: a seed that is named twice is one."""
    return list(dict.fromkeys(some))


def option(name: str, value: object) -> list[str]:
    return [] if value is None else [f"--{name}", str(value)]


def carry_out(commands: list[list[str]]) -> None:
    """One after the other; the first that fails ends it, and so does Ctrl-C, which tells itself."""
    for command in commands:
        print("pscli", shlex.join(command), file=sys.stderr, flush=True)
        try:
            done = subprocess.run([sys.executable, "-m", "pscli", *command])
        except KeyboardInterrupt:
            sys.exit(130)
        if done.returncode:
            sys.exit(done.returncode)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--out", type=Path, help="default: runs/paper-table/DATASET")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), metavar="NAME")
    parser.add_argument("--preset")
    parser.add_argument("--count", type=positive, help="dialogues of the test split; default: all")
    parser.add_argument("--extractor")
    args = parser.parse_args()
    folder = args.out or Path("runs/paper-table") / args.dataset
    how = args.preset, args.count, args.extractor
    carry_out(commands(args.dataset, folder, once(args.seeds), once(args.systems), *how))


if __name__ == "__main__":
    main()
