"""Table 3 of Sun et al. (2023): `make linearisations`.

    python benchmarks/linearisations.py photoworld --seeds 0 1 2

Trains dialog2image once for each seed and each way in which a dialogue becomes one text, draws
where the test split shares a photo, and scores all of them with paired intervals. Every step is one
command of `pscli`, printed before it runs. Given again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from pscli.registry import TABLES

WAYS = tuple(TABLES["linearisation"])


def commands(
    dataset: str,
    folder: Path,
    seeds: list[int],
    preset: str | None = None,
    count: int | None = None,
    extractor: str | None = None,
    settings: list[str] | None = None,
) -> list[list[str]]:
    """What is left to be done, as arguments of `pscli`, in order.

    Args:
        preset: Of the runs; None leaves it to the dataset.
        count: Dialogues of the test split; None takes all.
        extractor: What sees the photos for IS and FID; None leaves it to `score`.
        settings: More of the runs, `a.b=v` each.
    """
    found = []
    for seed in seeds:
        for way in WAYS:
            run, preds = folder / f"{way}-{seed}", folder / "preds" / f"{way}-{seed}"
            sets = [f"model.linearisation={way}", *(settings or [])]
            new = [*_option("preset", preset), "--seed", str(seed)]
            new += [word for pair in sets for word in ("--set", pair)]
            how = ["--resume"] if (run / "config.json").is_file() else new
            where = ["--agent", str(run), "--out", str(preds), *_option("count", count)]
            found += [
                ["train", "dialog2image", "--dataset", dataset, "--run", str(run), *how],
                ["generate", "--dataset", dataset, "--split", "test", *where],
            ]
    groups = []
    for way in WAYS:
        folders = ",".join(str(folder / "preds" / f"{way}-{seed}") for seed in seeds)
        groups += ["--group", f"{way}={folders}"]
    found.append(["score", *groups, *_option("extractor", extractor)])
    return found


def _option(name: str, value: object) -> list[str]:
    return [] if value is None else [f"--{name}", str(value)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--out", type=Path, help="default: runs/linearisations/DATASET")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--preset")
    parser.add_argument("--count", type=int, help="dialogues of the test split; default: all")
    parser.add_argument("--extractor")
    parser.add_argument("--set", action="append", metavar="a.b=v", help="of the runs; repeatable")
    args = parser.parse_args()
    folder = args.out or Path("runs/linearisations") / args.dataset
    for command in commands(
        args.dataset, folder, args.seeds, args.preset, args.count, args.extractor, args.set
    ):
        print("pscli", shlex.join(command), file=sys.stderr, flush=True)
        done = subprocess.run([sys.executable, "-m", "pscli", *command])
        if done.returncode:
            sys.exit(done.returncode)


if __name__ == "__main__":
    main()
