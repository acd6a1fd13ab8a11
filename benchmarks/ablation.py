"""The bridges side by side: tables and plot of docs/bridge.md, after `make ablation`.

    python benchmarks/ablation.py runs/ablation --plot docs/images/bridge-ablation.png

Reads the runs `BRIDGE-SEED` and their scored predictions `preds/BRIDGE-SEED`. Everything but the
bridge is the same: foundations, data and their order, steps, every draw of noise.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path

from matplotlib.figure import Figure

from pscli import console
from pscli.errors import DataError
from pscli.files import read_json
from pscli.runs import Run

BRIDGES = ("none", "dvtm", "dvtm-word", "vtm", "soft")
SHOWN = (
    "BLEU-1", "BLEU-2", "ROUGE-L", "IS-photoworld", "FID-photoworld", "sharing F1",
    "answer accuracy", "photo faithfulness", "setting faithfulness",
)  # fmt: skip
Values = dict[str, dict[str, list[float]]]  # metric → bridge → one value a seed


def read(folder: Path, seeds: list[int]) -> Values:
    """Overall scores of every run."""
    found: Values = {name: {bridge: [] for bridge in BRIDGES} for name in SHOWN}
    for bridge in BRIDGES:
        for seed in seeds:
            path = folder / "preds" / f"{bridge}-{seed}" / "scores.json"
            scores = read_json(path)["overall"]["scores"]
            values = {score["name"]: score["value"] for score in scores}
            for name in SHOWN:
                found[name][bridge].append(values[name])
    return found


def gradients(folder: Path, seeds: list[int]) -> dict[str, dict[int, float]]:
    """Bridge → step → median over seeds of the norm that L^v alone brings to the LLM."""
    curves: dict[str, dict[int, float]] = {}
    for bridge in BRIDGES:
        seen: dict[int, list[float]] = {}
        for seed in seeds:
            run = folder / f"{bridge}-{seed}"
            curve = Run(run).metrics
            if not curve:
                raise DataError(f"{run} has no curve.", "Train it: `make ablation`.")
            for line in curve:
                if "grad_llm_from_image" in line:
                    seen.setdefault(line["step"], []).append(line["grad_llm_from_image"])
        curves[bridge] = {step: statistics.median(norms) for step, norms in seen.items()}
    return curves


def row(name: str, cells: list[list[float]], sign: str = "") -> str:
    shown = [f"{statistics.mean(c):{sign}.2f}{spread(c)}" for c in cells]
    return f"| {name} | " + " | ".join(shown) + " |"


def spread(seeds: list[float]) -> str:
    return f" ± {statistics.stdev(seeds):.2f}" if len(seeds) > 1 else ""


def tables(found: Values) -> str:
    """Means ± standard deviations, then differences from `none`, seed by seed."""
    head = "| | " + " | ".join(BRIDGES) + " |\n" + "|---" * (len(BRIDGES) + 1) + "|"
    lines = [head] + [row(name, list(found[name].values())) for name in SHOWN]
    others = BRIDGES[1:]
    lines += ["", "| minus `none` | " + " | ".join(others) + " |", "|---" * len(BRIDGES) + "|"]
    for name in SHOWN:
        base = found[name]["none"]
        pairs = [[a - b for a, b in zip(found[name][x], base, strict=True)] for x in others]
        lines.append(row(name, pairs, "+"))
    return "\n".join(lines)


def plot(found: Values, norms: dict[str, dict[int, float]], path: Path) -> None:
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    panels = figure.subplots(2, math.ceil((len(SHOWN) + 1) / 2)).flatten()
    for axes, name in zip(panels, SHOWN, strict=False):
        for x, (bridge, values) in enumerate(found[name].items()):
            axes.scatter([x] * len(values), values, s=14, alpha=0.7)
            axes.hlines(statistics.mean(values), x - 0.3, x + 0.3, linewidth=1.6, label=bridge)
        axes.set_title(name, fontsize=9)
        axes.set_xticks(range(len(BRIDGES)), BRIDGES, rotation=30, fontsize=7, ha="right")
        axes.tick_params(axis="y", labelsize=7)
        axes.grid(axis="y", alpha=0.25)
    axes = panels[-1]
    for number, bridge in enumerate(BRIDGES):
        curve = {step: norm for step, norm in norms[bridge].items() if norm > 0}
        axes.plot(curve.keys(), curve.values(), color=f"C{number}", label=bridge, linewidth=1.4)
    axes.set_yscale("log")
    axes.set_title("‖∇L^v‖ at the LLM against steps", fontsize=9)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=6)
    axes.grid(alpha=0.25)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    found, norms = read(options.folder, options.seeds), gradients(options.folder, options.seeds)
    print(tables(found))
    print("\nmedian norm of the gradient that L^v brings to the LLM, by step\n")
    print("| step | " + " | ".join(BRIDGES) + " |\n" + "|---" * (len(BRIDGES) + 1) + "|")
    for step in norms[BRIDGES[0]]:
        print(f"| {step} | " + " | ".join(f"{norms[b][step]:.1e}" for b in BRIDGES) + " |")
    if options.plot:
        plot(found, norms, options.plot)


if __name__ == "__main__":
    console.script(main)
