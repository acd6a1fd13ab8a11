"""Differences between systems on the instances that all of them have answered: intervals, and
whether there is one.

Figures of sums are compared by approximate randomisation (Riezler and Maxwell 2005): were the
systems alike, a dialogue's replies might as well have come from the other. Others, such as FID, by
the bootstrap: the difference over its standard deviation on resamples that draw the same dialogues
for both. Of several seeds, figures are averaged, and the seeds of two systems are paired in their
order: all replies to a dialogue change sides together, since they hang together. That asks whether
these runs differ on other dialogues; whether other seeds would, the deviation over seeds tells.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from pscli.metrics.base import Better, Metric, Score
from pscli.metrics.resample import (
    FEWEST,
    NORMAL,
    Array,
    Sampled,
    Sums,
    blocks,
    interval,
    joined,
    sampled,
    units,
)
from pscli.metrics.score import Valued

ROUNDS = 10  # randomisations for each bootstrap draw: they are cheap, and a p-value needs many
LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """What a system's figure has over another's.

    Args:
        name: Of the score.
        first, second: Numbers of the systems: the figure is that of `second` - that of `first`.
        n: Instances that both have answered.
        by: How interval and p-value were computed.
        p: Two-sided; None where it cannot be told.
        holm: p, corrected for all comparisons of a table (Holm 1979).
        kind: Instance type; empty for all.
    """

    name: str
    first: int
    second: int
    value: float
    better: Better
    n: int
    by: str
    interval: tuple[float, float] | None = None
    p: float | None = None
    holm: float | None = None
    kind: str = ""

    @property
    def significant(self) -> bool:
        """Whether there is a difference, at 5 % over the whole table."""
        return self.holm is not None and self.holm < LEVEL

    def to_json(self) -> dict[str, Any]:
        pairs = {"name": self.name, "kind": self.kind, "value": float(self.value), "n": self.n}
        found = {"interval": self.interval, "p": self.p, "holm": self.holm}
        return pairs | {k: v for k, v in found.items() if v is not None} | {"by": self.by}


class _Run(NamedTuple):
    """A metric's figures of one folder, and its resamples."""

    figures: dict[str, Score]
    told: Sampled


def shared(systems: Sequence[Sequence[Valued]]) -> list[str]:
    """Ids that all folders of all systems have, in order."""
    folders = [{p.id for p in run.predictions} for runs in systems for run in runs]
    return sorted(set.intersection(*folders)) if folders else []


def differences(
    systems: Sequence[Sequence[Valued]],
    metrics: dict[str, Metric],
    draws: int,
    kinds: Iterable[str] = (),
) -> list[Difference]:
    """Every pair of systems by every figure that has a better way, without Holm's correction.

    Args:
        systems: The folders of each system: one, or one for each seed.
        metrics: Those that the values are of.
        draws: Bootstrap draws, >= 1.
        kinds: Instance types to compare by as well.
    """
    ids = shared(systems)
    groups = systems[0][0].groups
    of = {id: row for row, id in enumerate(p.id for p in systems[0][0].predictions)}
    found = []
    for kind in ["", *kinds]:
        rows = set(groups.get(kind, ()))
        some = [id for id in ids if not kind or of[id] in rows]
        if some:
            found += _section(systems, metrics, draws, some, kind)
    return found


def _section(
    systems: Sequence[Sequence[Valued]],
    metrics: dict[str, Metric],
    draws: int,
    ids: Sequence[str],
    kind: str,
) -> list[Difference]:
    numbers = units(ids)
    unit = dict(zip(ids, numbers.tolist(), strict=True))
    size = int(numbers.max()) + 1
    found = []
    for name, metric in metrics.items():
        runs = [[_run(name, metric, v, unit, size, draws) for v in folders] for folders in systems]
        for first, second in itertools.combinations(range(len(systems)), 2):
            paired = list(zip(runs[first], runs[second], strict=False))
            found += [
                replace(one, first=first, second=second, n=len(ids), kind=kind)
                for one in _pair(paired, metric, size, draws)
            ]
    return found


def _run(
    name: str, metric: Metric, values: Valued, unit: dict[str, int], size: int, draws: int
) -> _Run:
    rows = [row for row, p in enumerate(values.predictions) if p.id in unit]
    kept, some = values.of(name, rows)
    if not some:
        return _Run({}, Sampled({}, {}, None))
    numbers = np.array([unit[values.predictions[row].id] for row in kept], dtype=np.intp)
    figures = {score.name: score for score in metric.scores(some).scores if score.finite}
    return _Run(figures, sampled(metric, some, numbers, size, draws))


def _pair(
    paired: Sequence[tuple[_Run, _Run]], metric: Metric, size: int, draws: int
) -> Iterator[Difference]:
    """Differences of two systems, whose seeds are paired."""
    figures = [(one.figures, other.figures) for one, other in paired]
    told = [(one.told.draws, other.told.draws) for one, other in paired]
    left = [(one.told.jackknife, other.told.jackknife) for one, other in paired]
    ways = {score.name: score.better for score in paired[0][0].figures.values()}
    swapped = _swapped(paired, metric, ROUNDS * draws)
    for name, better in ways.items():
        if better is None or not _all_have(name, figures):
            continue
        value = float(_apart([(a[name].value, b[name].value) for a, b in figures]))
        found = Difference(name, 0, 0, value, better, 0, f"seeds:{len(paired)}")
        if size < FEWEST or not _all_have(name, told):
            yield found
            continue
        change = _apart([(a[name], b[name]) for a, b in told])
        whole = _all_have(name, left)
        ends = interval(
            value, change, size, _apart([(a[name], b[name]) for a, b in left]) if whole else None
        )
        p, test = _normal(value, change), f"bootstrap-{len(change)}"
        if name in swapped:
            p, test = _rank(value, swapped[name]), f"randomisation-{len(swapped[name])}"
        if abs(value) < place_shown(max(abs(s[name].value) for pair in figures for s in pair)) / 2:
            p, test = 1.0, "below-rounding"  # of figures that look alike nothing is told
        by = "|".join([*([ends.by] if ends else []), f"p:{test}", found.by])
        yield replace(found, interval=ends[:2] if ends else None, p=p, by=by)


def place_shown(size: float) -> float:
    """What a step of the last digit of a figure of this size, >= 0, is worth: two decimals are
    shown, or two digits of what is less than a tenth."""
    return 0.01 if size >= 0.1 or size == 0 else 10.0 ** (math.floor(math.log10(size)) - 1)


def _all_have(name: str, pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> bool:
    return all(name in one and name in other for one, other in pairs)


def _apart(pairs: Sequence[tuple[Any, Any]]) -> Any:
    """Mean over the seeds of what the second has over the first."""
    return sum(other - one for one, other in pairs) / len(pairs)


def _swapped(paired: Sequence[tuple[_Run, _Run]], metric: Metric, rounds: int) -> dict[str, Array]:
    """[rounds] differences by name where each unit's values may have changed sides."""
    told = [(one.told.sums, other.told.sums) for one, other in paired]
    sums = [(one, other) for one, other in told if one is not None and other is not None]
    if not isinstance(metric, Sums) or len(sums) < len(told):
        return {}
    generator = np.random.default_rng(1)  # other numbers than the bootstrap's
    found: list[dict[str, Array]] = []
    for rows in blocks(rounds, len(sums[0][0])):
        flips = generator.integers(2, size=(rows, len(sums[0][0]))).astype(float)
        sides = []
        for a, b in sums:
            moved = flips @ (b - a)
            sides.append((metric.figures(a.sum(0) + moved), metric.figures(b.sum(0) - moved)))
        found.append({name: _apart([(a[name], b[name]) for a, b in sides]) for name in sides[0][0]})
    return joined(found)


def _rank(value: float, swapped: Array) -> float:
    """Share of the differences that are no smaller, itself among them. Where a figure is undefined
    nothing speaks against that."""
    smaller = np.abs(swapped) < abs(value) * (1 - 1e-9)
    return float((1 + (~smaller).sum()) / (1 + len(swapped)))


def _normal(value: float, change: Array) -> float:
    finite = change[np.isfinite(change)]
    deviation = float(finite.std(ddof=1)) if len(finite) > 1 else 0.0
    if deviation <= 1e-12 * max(1.0, abs(value)):
        return 1.0 if abs(value) <= 1e-12 else 1 / (1 + len(change))  # they all say the same
    return 2 * NORMAL.cdf(-abs(value) / deviation)


def holm(found: Sequence[Difference]) -> list[Difference]:
    """The same comparisons, their p-values corrected for how many there are: the smallest of m
    times m, the next times m - 1 …, and none below that of a smaller one."""
    order = sorted((d.p, row) for row, d in enumerate(found) if d.p is not None)
    result, least = list(found), 0.0
    for rank, (p, row) in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * p))
        result[row] = replace(found[row], holm=least)
    return result
