"""Tables and figure of the study of wrong captions, from the JSON of its cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from noise_cell import FIGURES, RECAPTIONED, UNTRAINED
from scipy.stats import t as student

Arm = tuple[str, bool]  # bridge, control
Seeds = dict[int, Mapping[str, Any]]  # cells by seed
COLOURS = ("0.45", "C1", "C0", "C3")


class Estimate(NamedTuple):
    """Percentage points, ends of a 95 % interval, and how many seeds and answers they are of."""

    value: float
    low: float
    high: float
    seeds: int
    n: int

    @property
    def clear(self) -> bool:
        """Whether the interval is clear of zero."""
        return self.low > 0 or self.high < 0


def estimate(sides: Sequence[Seeds], name: str) -> Estimate:
    """A share in percent; or of two sides the difference, first minus second, paired by seed and
    dialogue.

    Seeds and dialogues are both drawn at random, so that the interval speaks of other seeds and of
    other dialogues. Of what each answer adds to the share (the delta method), the means of S seeds
    and those of D dialogues vary by V_s and V_d; the ends are value ± t · √(V_s/S + V_d/D), with
    Student's t of as many degrees of freedom as both together have (Satterthwaite 1946). With one
    seed V_s is unknown, and the interval is of that seed.
    """
    seeds = sorted(set.intersection(*({*side} for side in sides)))
    ids = sorted(sides[0][seeds[0]][name])
    hits = np.array([[[side[s][name][d] for d in ids] for s in seeds] for side in sides], float)
    right, of = hits[..., 0], hits[..., 1]  # [sides, S, D]
    share = right.sum((1, 2)) / of.sum((1, 2))
    adds = 100 * (right - share[:, None, None] * of) / of.mean((1, 2))[:, None, None]
    value, apart = 100 * share[0], adds[0]
    if len(sides) == 2:
        value, apart = 100 * (share[0] - share[1]), adds[0] - adds[1]
    parts = [(apart.mean(1 - axis), count) for axis, count in enumerate(apart.shape) if count > 1]
    varies = [(means.var(ddof=1) / count, count - 1) for means, count in parts]
    spread = sum(v for v, _ in varies)
    freedom = spread**2 / sum(v**2 / degrees for v, degrees in varies) if spread else 1.0
    half = float(student.ppf(0.975, freedom)) * math.sqrt(spread)
    least, most = (0.0, 100.0) if len(sides) == 1 else (-100.0, 100.0)
    low, high = max(least, value - half), min(most, value + half)
    return Estimate(float(value), float(low), float(high), len(seeds), int(of[0].sum()))


def arms(
    results: Sequence[Mapping[str, Any]],
) -> dict[tuple[str, bool], dict[Arm, Seeds]]:
    """Cells by noise and by whether the generator trains, then by bridge and control, then by seed;
    those that were not tested, because they choose, are left out."""
    found: dict[tuple[str, bool], dict[Arm, Seeds]] = {}
    for result in results:
        cell = result["cell"]
        if FIGURES[1] in result:
            place = found.setdefault((cell["noise"], cell["trains"]), {})
            place.setdefault((cell["bridge"], cell["control"]), {})[cell["seed"]] = result
    return found


def tables(results: Sequence[Mapping[str, Any]], best: str) -> str:
    """Markdown: each figure, what the best bridge has over others, and the loss of the talk."""
    found = arms(results)
    columns = dict.fromkeys(arm for some in found.values() for arm in some)
    lines = []
    for name in FIGURES:
        lines += [f"### {name}, %", "", row("captions, generator", map(title, columns))]
        lines.append("|---|" + "--:|" * len(columns))
        for place, some in found.items():
            cells = [shown(estimate([some[arm]], name)) if arm in some else "–" for arm in columns]
            lines.append(row(where(place), cells))
        lines += ["", row(f"{best} minus", ["none", "dvtm", "its control", "rewritten captions"])]
        lines.append("|---|" + "--:|" * 4)
        for (noise, trains), some in found.items():
            if (best, False) not in some or noise in (RECAPTIONED,):
                continue
            rewritten = found.get((RECAPTIONED, trains), {}).get(("none", False))
            others = [some.get(("none", False)), some.get(("dvtm", False)),
                      some.get((best, True)), rewritten]  # fmt: skip
            ours = some[best, False]
            cells = [shown(estimate([ours, o], name), "+") if o else "–" for o in others]
            lines.append(row(where((noise, trains)), cells))
        lines.append("")
    lines += ["### talk, mean -log P of a token (dev)", ""]
    lines += [row("captions, generator", map(title, columns)), "|---|" + "--:|" * len(columns)]
    for place, some in found.items():
        means = [
            np.mean([r["talk"] for r in some[a].values()]) if a in some else None for a in columns
        ]
        lines.append(row(where(place), ["–" if m is None else f"{m:.3f}" for m in means]))
    return "\n".join(lines)


def side_by_side(results: Sequence[Mapping[str, Any]], best: str) -> str:
    """Markdown: captions and photos of every arm with a frozen generator, by noise and of all kinds
    together, each with its difference from the best bridge with the seeds that both have."""
    frozen = {
        noise: some
        for (noise, trains), some in arms(results).items()
        if noise not in ("", RECAPTIONED) and not trains
    }
    everywhere = dict.fromkeys(arm for some in frozen.values() for arm in some)
    lines = []
    for name in FIGURES[1:]:
        whole = [arm for arm in everywhere if all(arm in some for some in frozen.values())]
        together = {arm: _pooled([some[arm] for some in frozen.values()], name) for arm in whole}
        columns = {**frozen, "all": together}
        lines += [f"### {name}, %, generator frozen, and minus {best}", ""]
        lines += [row("bridge", columns), "|---|" + "--:|" * len(columns)]
        for arm in everywhere:
            cells = [_beside(some, arm, (best, False), name) for some in columns.values()]
            lines.append(row(title(arm), cells))
        lines.append("")
    return "\n".join(lines)


def _beside(some: Mapping[Arm, Seeds], arm: Arm, best: Arm, name: str) -> str:
    """An arm's share, and its difference from the best one's with the seeds that both have."""
    ours, others = some.get(arm, {}), some.get(best, {})
    if not ours:
        return "–"
    alone, both = shown(estimate([ours], name)), {*ours} & {*others}
    if arm == best or not both:
        return alone
    apart = [{seed: side[seed] for seed in both} for side in (ours, others)]
    return f"{alone}; {shown(estimate(apart, name), '+')}"


def _pooled(kinds: Sequence[Seeds], name: str) -> Seeds:
    """Hits of all kinds of noise together, with the seeds that all of them have."""
    pooled: dict[int, Any] = {}
    for seed in set.intersection(*({*kind} for kind in kinds)):
        hits: dict[str, list[int]] = {}
        for kind in kinds:
            for dialogue, (right, of) in kind[seed][name].items():
                so_far = hits.get(dialogue, [0, 0])
                hits[dialogue] = [so_far[0] + right, so_far[1] + of]
        pooled[seed] = {name: hits}
    return pooled


def shown(one: Estimate, sign: str = "") -> str:
    mark = "" if not sign or one.clear else ", not clear of 0"
    few = ", 1 seed" if one.seeds == 1 else ""
    return (
        f"{one.value:{sign}.0f} [{one.low:{sign}.0f}, {one.high:{sign}.0f}] (n={one.n}{few}{mark})"
    )


def row(first: str, cells: Any) -> str:
    return f"| {first} | " + " | ".join(cells) + " |"


def title(arm: Arm) -> str:
    return f"{arm[0]}, photos shuffled" if arm[1] else arm[0]


def where(place: tuple[str, bool]) -> str:
    return f"{place[0] or 'true'}, {'trains' if place[1] else 'frozen'}"


def figure(results: Sequence[Mapping[str, Any]], best: str, path: Path) -> None:
    """Points with 95 % intervals, side by side: a panel for each figure and kind of generator."""
    found = arms(results)
    noises = [n for n in dict.fromkeys(noise for noise, _ in found) if n != RECAPTIONED]
    drawn: list[Arm] = [("none", False), ("dvtm", False), (best, False), (best, True)]
    drawing = Figure(figsize=(13, 6.5), layout="constrained")
    panels = drawing.subplots(2, len(FIGURES), sharex=True, sharey=True)
    for (line, trains), (column, name) in (
        (a, b) for a in enumerate((False, True)) for b in enumerate(FIGURES)
    ):
        axes = panels[line][column]
        n = 0
        for number, (arm, colour) in enumerate(zip(drawn, COLOURS, strict=True)):
            places = [x for x, noise in enumerate(noises) if arm in found.get((noise, trains), {})]
            some = [estimate([found[noises[x], trains][arm]], name) for x in places]
            n = max([n, *(one.n for one in some)])
            xs = [x + (number - 1.5) * 0.18 for x in places]
            low, high = ([abs(getattr(o, end) - o.value) for o in some] for end in ("low", "high"))
            axes.errorbar(
                xs, [o.value for o in some], yerr=[low, high], fmt="o", markersize=4, capsize=2,
                linewidth=1.2, color=colour, label=title(arm),
            )  # fmt: skip
        level = found.get((RECAPTIONED, trains), {}).get(("none", False))
        if level:
            axes.axhline(estimate([level], name).value, color="0.6", linewidth=1, linestyle="--",
                         label="none, captions rewritten")  # fmt: skip
        start = found.get(("", False), {}).get((UNTRAINED, False))
        if start:
            axes.axhline(estimate([start], name).value, color="0.6", linewidth=1, linestyle=":",
                         label="before training")  # fmt: skip
        way = "generator trains" if trains else "generator frozen"
        axes.set_title(f"{name}, {way}, n ≤ {n:,}", fontsize=9)
        axes.set_xticks(range(len(noises)), [noise or "true" for noise in noises], rotation=30,
                        ha="right", fontsize=8)  # fmt: skip
        axes.set_ylim(-5, 105)
        axes.grid(axis="y", alpha=0.25)
    for axes in panels[:, 0]:
        axes.set_ylabel("%, 95 % interval")
    handles, names = panels[0][0].get_legend_handles_labels()
    drawing.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=130)
