"""Every bridge's gradient beside the exact one: bias, variance, cosine, what it says of words.

    python benchmarks/gradient.py --plot docs/images/bridge-gradient.png
    python benchmarks/gradient.py --bridges vtm mine:own     # yours, too

Prints the tables of docs/bridge.md: means over random worlds with 95 % intervals.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from arguments import positive
from exact import Quality, Words, exact_words, measure, words, world
from matplotlib.figure import Figure

from pscli import console
from pscli.components.bridge import Bridge
from pscli.registry import find
from pscli.training.schedules import temperature

FIRST = ("dvtm", "dvtm-word", "dvtm-word-position", "vtm", "soft")
SECOND = ("vtm-all", "gumbel-rao", "reinmax", "soft-decoupled", "score-function")
EPOCHS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)  # τ falls from 1 to 0.01 over three epochs (§3.1.2)

Found = dict[tuple[str, float], list[Quality | Words]]  # bridge and τ: one for each world


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval (normal, over worlds)."""
    x = torch.tensor(values, dtype=torch.float64)
    return float(x.mean()), 1.96 * float(x.std()) / math.sqrt(len(x))


def table(found: Found, what: str, bridges: Sequence[str]) -> str:
    """Markdown table of one measure, bridges by τ."""
    taus = list(dict.fromkeys(tau for _, tau in found))
    lines = ["| τ | " + " | ".join(bridges) + " |", "|---" * (len(bridges) + 1) + "|"]
    for tau in taus:
        cells = [interval([getattr(q, what) for q in found[name, tau]]) for name in bridges]
        shown = [f"{mean:.3g} ± {half:.2g}" for mean, half in cells]
        lines.append(f"| {tau:.3g} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def plot(found: Found, families: Sequence[Sequence[str]], path: Path) -> None:
    """A row for each family; points of one τ stand side by side, so that no bar hides another."""
    figure = Figure(figsize=(13, 6.6), layout="constrained")
    titles = {
        "cosine": "cosine of E[g] with the exact gradient",
        "single": "mean cosine of one sample's g",
        "variance": "variance / ‖exact‖²",
    }
    rows = figure.subplots(len(families), 3, sharex=True, sharey="col", squeeze=False)
    for row, bridges in zip(rows, families, strict=True):
        for axes, what in zip(row, titles, strict=True):
            for place, name in enumerate(bridges):
                taus = [tau for bridge, tau in found if bridge == name]
                cells = [interval([getattr(q, what) for q in found[name, tau]]) for tau in taus]
                beside = [tau * 1.13 ** (place - 2) for tau in taus]
                axes.errorbar(
                    beside, [c[0] for c in cells], [c[1] for c in cells], label=name, marker="o",
                    markersize=4, capsize=2, linewidth=0.6, elinewidth=1.2,
                )  # fmt: skip
            axes.set(xscale="log")
            axes.grid(alpha=0.25)
        row[2].set_yscale("log")
        row[2].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    for axes, title in zip(rows[0], titles.values(), strict=True):
        axes.set_title(title, fontsize=11)
    for axes in rows[-1]:
        axes.set_xlabel("τ (training goes left)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bridges", nargs="+", default=[*FIRST, *SECOND], metavar="NAME")
    parser.add_argument("--worlds", type=positive, default=24)
    parser.add_argument("--samples", type=positive, default=10_000)
    parser.add_argument(
        "--soft-samples", type=positive, default=1_000, help="`soft` runs the encoder"
    )
    parser.add_argument("--word-samples", type=positive, default=200, help="at each caption")
    parser.add_argument("--draws", type=positive, default=4, help="as model.bridge_samples")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    taus = [temperature(epoch) for epoch in EPOCHS]
    bridges: dict[str, Bridge] = {name: find("bridge", name) for name in options.bridges}
    families = [[name for name in bridges if (name in FIRST) is first] for first in (True, False)]
    families = [family for family in families if family]
    found: Found = {(name, tau): [] for name in bridges for tau in taus}
    said: Found = {place: [] for place in found}
    exact = []
    for seed in range(options.worlds):
        here = world(seed)
        exact.append(exact_words(here))
        for name, tau in found:
            samples = options.soft_samples if "soft" in name else options.samples
            found[name, tau].append(measure(here, bridges[name], tau, samples, seed, options.draws))
            said[name, tau].append(
                words(here, bridges[name], tau, options.word_samples, seed, options.draws)
            )
    for what in ("cosine", "single", "bias", "variance", "size"):
        for family in families:
            print(f"\n{what}\n\n{table(found, what, family)}")
    for what in ("wrong", "place", "right"):
        mean, half = interval([getattr(x, what) for x in exact])
        print(f"\n{what} word (exact gradient: {mean:.3g} ± {half:.2g})")
        for family in families:
            print(f"\n{table(said, what, family)}")
    print("\ncosine of dvtm-word minus that of dvtm, pairwise\n")
    for tau in taus if {"dvtm", "dvtm-word"} <= {*bridges} else ():
        pairs = zip(found["dvtm-word", tau], found["dvtm", tau], strict=True)
        mean, half = interval([ours.cosine - theirs.cosine for ours, theirs in pairs])
        print(f"τ {tau:.3g}: {mean:+.3f} ± {half:.3f}")
    if options.plot:
        plot(found, families, options.plot)


if __name__ == "__main__":
    console.script(main)
