"""Curves of a training run, for the page and for a picture of their own: pale for every step that
was logged, strong for the mean of its neighbours, and a dot for every dev score."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pscli.files import replacing
from pscli.report.pictures import FADED, INK, REPLIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What a run's metrics.jsonl holds, and how it is shown.
CURVES = {
    "loss": "loss  $L$ (Eq. 13)",
    "text": "text loss  $L^t$ (Eq. 2)",
    "image": "image loss  $L^v$ (Eq. 12)",
    "tau": r"temperature  $\tau$",
    "grad_llm_from_image": r"gradient norm of the LLM from $L^v$",
}
CALM = {"tau"}  # without noise
FEW = 16  # points of a curve that are drawn as points
TOLD = 8  # points whose figures are printed beside them
DECADES = 1e3  # from largest to smallest value, beyond which the scale is logarithmic

Points = list[tuple[float, float]]


def titled(dev: Iterable[str]) -> dict[str, str]:
    """Titles of the curves and of dev scores, by name."""
    return CURVES | {name: f"{name} on dev".replace("$", r"\$") for name in dev}


def points(log: Sequence[Mapping[str, Any]], key: str) -> Points:
    """The steps at which a run has logged a finite number, and these."""
    pairs = ((line["step"], line.get(key)) for line in log)
    return [(s, float(v)) for s, v in pairs if isinstance(v, int | float) and math.isfinite(v)]


def window(count: int) -> int:
    """How many of so many points are averaged: a twentieth of them; of few, up to nine. It is odd,
    so that the mean is centred."""
    return 1 if count < FEW else 2 * max(count // 40, min(4, count // 8)) + 1


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """Means over `window` values around each; towards the ends over as many as lie on both sides.

    Args:
        window: Odd, >= 1.
    """
    half = window // 2
    found = []
    for i in range(len(values)):
        reach = min(half, i, len(values) - 1 - i)
        part = values[i - reach : i + reach + 1]
        found.append(math.fsum(part) / len(part))
    return found


def draw(
    axes: Axes,
    curve: Points,
    colour: str,
    stroke: Any = "-",
    dots: bool = False,
    calm: bool = False,
) -> None:
    """One run's curve.

    Args:
        dots: Each point is shown; so are those of a short curve.
        calm: It has no noise, and so no mean.
    """
    steps, values = zip(*curve, strict=True)
    if calm or dots or len(curve) < FEW:
        marker = "o" if dots or len(curve) < FEW else ""
        axes.plot(steps, values, marker=marker, markersize=4, color=colour, linestyle=stroke,
                  linewidth=1.2, alpha=0.9)  # fmt: skip
        return
    axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.25)
    wide = window(len(curve))
    # The last means are of fewer and fewer values, and would end in a flourish.
    end = len(curve) - wide // 4
    means = smoothed(values, wide)[:end]
    axes.plot(steps[:end], means, color=colour, linewidth=1.6, linestyle=stroke)


def dress(
    axes: Axes, curves: Sequence[Points], title: str, ink: str, faded: str, told: bool = False
) -> None:
    """Scales, ticks and title. Args: told: The figures of a few points stand beside these."""
    from matplotlib.ticker import MaxNLocator

    values = [v for curve in curves for _, v in curve]
    if min(values) > 0 and max(values) / min(values) > DECADES:
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if told and len(values) <= TOLD:
        axes.margins(y=0.25)
        for step, value in (point for curve in curves for point in curve):
            axes.annotate(f"{value:.3g}", (step, value), (0, 5), textcoords="offset points",
                          ha="center", fontsize=7, color=faded)  # fmt: skip
        if len(set(values)) == 1:  # a scale around a single value says nothing
            axes.set_yticks([])
    axes.set_title(title, fontsize=10, color=ink, loc="left")
    axes.set_xlabel("step", fontsize=8, color=faded)
    axes.tick_params(labelsize=8, colors=faded, which="both", length=2)
    axes.grid(alpha=0.25, color=faded, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(faded)


def loss_figure(metrics: Sequence[dict[str, Any]], dev: Sequence[str] = ()) -> Figure:
    """Curves of a training run, all on one scale of steps; those that it did not log, and a
    gradient that is always 0, are left out. A score that was taken once is no curve: it stands
    below them.

    Args:
        metrics: Lines of metrics.jsonl; each has a `step`.
        dev: Names of scores to draw beside `CURVES`.
    """
    from matplotlib.figure import Figure

    titles = titled(dev)
    found = {key: points(metrics, key) for key in titles}
    drawn = {k: p for k, p in found.items() if any(v for _, v in p) or (p and k in dev)}
    once = {key: drawn.pop(key)[0] for key in dev if len(drawn.get(key, ())) == 1}
    columns = min(3 if len(drawn) <= 6 else 4, max(1, len(drawn)))
    count = max(1, math.ceil(len(drawn) / columns))
    figure = Figure(figsize=(3.4 * columns, 2.5 * count + 0.3), layout="constrained")
    steps = [step for curve in drawn.values() for step, _ in curve]
    for number, (key, curve) in enumerate(drawn.items(), start=1):
        axes = figure.add_subplot(count, columns, number)
        draw(axes, curve, REPLIES[1], dots=key in dev, calm=key in CALM)
        dress(axes, [curve], titles[key], INK, FADED, told=key in dev)
        room = (max(steps) - min(steps) or 1) / 20
        axes.set_xlim(min(steps) - room, max(steps) + room)
    wide = max((window(len(curve)) for key, curve in drawn.items() if key not in dev), default=1)
    notes = [f"pale: what was logged; strong: the mean of {wide} such values"] if wide > 1 else []
    notes += [f"{titles[k]}: {value:.3g} at step {step}" for k, (step, value) in once.items()]
    figure.supxlabel(" · ".join(notes), fontsize=9, color=INK)
    return figure


def loss_plot(metrics: Sequence[dict[str, Any]], path: Path, dev: Sequence[str] = ()) -> None:
    """Saves `loss_figure` as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = loss_figure(metrics, dev)
    FigureCanvasAgg(figure)  # no window system is asked for
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=150, facecolor="white")
