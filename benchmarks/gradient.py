"""Bias, variance and cosine of every bridge's gradient, beside the exact one.

    python benchmarks/gradient.py --plot docs/images/bridge-gradient.png

Prints the tables of docs/bridge.md: means over random worlds with 95 % intervals.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from exact import Quality, measure, world
from matplotlib.figure import Figure

from pscli.components.bridge import Bridge
from pscli.registry import find
from pscli.training.schedules import temperature

BRIDGES = ("dvtm", "dvtm-word", "dvtm-word-position", "vtm", "soft")
EPOCHS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)  # τ falls from 1 to 0.01 over three epochs (§3.1.2)


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval (normal, over worlds)."""
    x = torch.tensor(values, dtype=torch.float64)
    return float(x.mean()), 1.96 * float(x.std()) / math.sqrt(len(x))


def table(found: dict[tuple[str, float], list[Quality]], what: str) -> str:
    """Markdown table of one measure, bridges by τ."""
    taus = list(dict.fromkeys(tau for _, tau in found))
    lines = ["| τ | " + " | ".join(BRIDGES) + " |", "|---" * (len(BRIDGES) + 1) + "|"]
    for tau in taus:
        cells = [interval([getattr(q, what) for q in found[name, tau]]) for name in BRIDGES]
        shown = [f"{mean:.3g} ± {half:.2g}" for mean, half in cells]
        lines.append(f"| {tau:.3g} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def plot(found: dict[tuple[str, float], list[Quality]], path: Path) -> None:
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    titles = {
        "cosine": "cosine of E[g] with the exact gradient",
        "single": "mean cosine of one sample's g",
        "variance": "variance / ‖exact‖²",
    }
    for axes, (what, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        for name in BRIDGES:
            taus = [tau for bridge, tau in found if bridge == name]
            cells = [interval([getattr(q, what) for q in found[name, tau]]) for tau in taus]
            axes.errorbar(
                taus, [c[0] for c in cells], [c[1] for c in cells], label=name, marker="o",
                markersize=4, capsize=2, linewidth=1.4,
            )  # fmt: skip
        axes.set(xscale="log", xlabel="τ (training goes left)", title=title)
        axes.title.set_fontsize(10)
        axes.grid(alpha=0.25)
    figure.axes[2].set_yscale("log")
    figure.axes[0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=24)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--soft-samples", type=int, default=1_000, help="`soft` runs the encoder")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    taus = [temperature(epoch) for epoch in EPOCHS]
    bridges: dict[str, Bridge] = {name: find("bridge", name) for name in BRIDGES}
    found: dict[tuple[str, float], list[Quality]] = {
        (name, tau): [] for name in BRIDGES for tau in taus
    }
    for seed in range(options.worlds):
        here = world(seed)
        for name, tau in found:
            samples = options.soft_samples if name == "soft" else options.samples
            found[name, tau].append(measure(here, bridges[name], tau, samples, seed))
    for what in ("cosine", "single", "bias", "variance", "size"):
        print(f"\n{what}\n\n{table(found, what)}")
    print("\ncosine of dvtm-word minus that of dvtm, pairwise\n")
    for tau in taus:
        pairs = zip(found["dvtm-word", tau], found["dvtm", tau], strict=True)
        mean, half = interval([ours.cosine - theirs.cosine for ours, theirs in pairs])
        print(f"τ {tau:.3g}: {mean:+.3f} ± {half:.3f}")
    if options.plot:
        plot(found, options.plot)


if __name__ == "__main__":
    main()
