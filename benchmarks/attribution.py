"""What of an agent's figures comes from where: `make attribution`.

    python benchmarks/attribution.py photoworld --out runs/results --preset tiny --count 500

Rows: the foundations, which no joint training has touched; the end-to-end system; the pipeline; and
the pipeline whose captioner describes photos in full. Each draws every caption once, and then four
times, of which its own eyes choose (`generate --best-of`). Seeds are those of training and of
drawing; the foundations are the same for each, so that their spread is that of drawing alone.

Every step is one command of `pscli`, printed before it runs. Given again, it goes on where it
stopped, and runs of `benchmarks/paper_table.py` in the same folder are not trained again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from arguments import positive
from paper_table import carry_out, comparing, once, option, training

from pscli import console
from pscli.config import MAX_DRAWINGS

UNTRAINED = "foundations"
ROWS = {  # name → system, and what its runs are told
    UNTRAINED: ("e2e", []),
    "e2e": ("e2e", []),
    "pipeline": ("pipeline", []),
    "described": ("pipeline", ["--set", "model.captions=describe"]),
}


def commands(
    dataset: str,
    folder: Path,
    seeds: list[int],
    rows: list[str],
    preset: str | None = None,
    count: int | None = None,
    best_of: int = 4,
) -> list[list[str]]:
    """What is left to be done, as arguments of `pscli`, in order.

    Args:
        preset: Of the runs; None leaves it to the dataset.
        count: Dialogues of the test split; None takes all.
        best_of: Drawings of a caption, of each row a second time.
    """
    found: list[list[str]] = []
    groups: dict[str, list[Path]] = {}
    for seed in seeds:
        for row in rows:
            (system, settings), run = ROWS[row], folder / f"{row}-{seed}"
            who = ["--agent", str(run)]
            if row == UNTRAINED:
                who = ["--system", system, *option("preset", preset)]
            else:
                how = [*option("preset", preset), "--seed", str(seed), *settings]
                found.append(training(system, dataset, run, how))
            for drawings in dict.fromkeys((1, best_of)):
                name = row if drawings == 1 else f"{row}-best-of-{drawings}"
                out = folder / "attribution" / f"{name}-{seed}"
                groups.setdefault(name, []).append(out)
                where = ["--out", str(out), "--seed", str(seed), *option("count", count)]
                where += ["--best-of", str(drawings)]
                found.append(["generate", "--dataset", dataset, "--split", "test", *who, *where])
    # Other drawings beside other systems: what is compared is just that.
    return [*found, *comparing(groups, folder / "attribution" / "report", ["--force"])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", nargs="?", default="photoworld")
    parser.add_argument("--out", type=Path, default=Path("runs/results"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--preset")
    parser.add_argument("--count", type=positive, help="dialogues of the test split; default: all")
    parser.add_argument("--best-of", type=int, default=4)
    args = parser.parse_args()
    if not 1 <= args.best_of <= MAX_DRAWINGS:  # before hours of training
        parser.error(f"--best-of is from 1 to {MAX_DRAWINGS:,}.")
    how = args.preset, args.count, args.best_of
    carry_out(commands(args.dataset, args.out, once(args.seeds), once(args.rows), *how))


if __name__ == "__main__":
    console.script(main)
