"""Table 3 of Sun et al. (2023): `make linearisations`.

    python benchmarks/linearisations.py photoworld --seeds 0 1 2

Trains dialog2image once for each seed and each way in which a dialogue becomes one text, draws
where the test split shares a photo, scores all of them with paired intervals, and writes a report.
Every step is one command of `pscli`, printed before it runs. Given again, it goes on where it
stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from arguments import positive
from paper_table import carry_out, comparing, once, option, training

from pscli import console
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
    groups: dict[str, list[Path]] = {way: [] for way in WAYS}
    for seed in seeds:
        for way in WAYS:
            run, preds = folder / f"{way}-{seed}", folder / "preds" / f"{way}-{seed}"
            sets = [f"model.linearisation={way}", *(settings or [])]
            how = [*option("preset", preset), "--seed", str(seed)]
            how += [word for pair in sets for word in ("--set", pair)]
            where = ["--agent", str(run), "--out", str(preds), *option("count", count)]
            found += [
                training("dialog2image", dataset, run, how),
                ["generate", "--dataset", dataset, "--split", "test", *where],
            ]
            groups[way].append(preds)
    return [*found, *comparing(groups, folder / "report", option("extractor", extractor))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--out", type=Path, help="default: runs/linearisations/DATASET")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--preset")
    parser.add_argument("--count", type=positive, help="dialogues of the test split; default: all")
    parser.add_argument("--extractor")
    parser.add_argument("--set", action="append", metavar="a.b=v", help="of the runs; repeatable")
    args = parser.parse_args()
    folder = args.out or Path("runs/linearisations") / args.dataset
    how = args.preset, args.count, args.extractor, args.set
    carry_out(commands(args.dataset, folder, once(args.seeds), *how))


if __name__ == "__main__":
    console.script(main)
