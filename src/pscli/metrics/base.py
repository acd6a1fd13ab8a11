"""What a metric is: values of single instances, and scores of any of them together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

from pscli.errors import ConfigError
from pscli.predictions.folder import Prediction
from pscli.registry import find

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Score:
    """One figure and how it was computed.

    Args:
        name: For example `BLEU-2`. Names are unique within one set of scores.
        value: Rates, BLEU and ROUGE are percentages, 0 to 100; IS and FID have their own scale.
        n: Instances (or drawn photos, for an image score) behind the figure.
        how: What the figure depends on besides n, as parts joined by `|`.
        better: Which way a system gets better; None for a figure that only sets others in scale.
        deviation: Standard deviation over the splits (IS) or runs, in the unit of `value`.
        interval: 95 % confidence interval, in the unit of `value`.
        interval_by: How that was computed, such as `wilson95`.
        count: What is printed for n where that is more than one number, such as `968/1000`.
        warning: What must be known before it is believed; empty where nothing must.

    Raises:
        ConfigError: if it gets better in no way that is known.
    """

    name: str
    value: float
    n: int
    how: str
    better: Better | None
    deviation: float | None = None
    interval: tuple[float, float] | None = None
    count: str = ""
    interval_by: str = ""
    warning: str = ""

    def __post_init__(self) -> None:
        if self.better not in (None, *get_args(Better)):
            raise ConfigError(
                f"The score '{self.name}' has {self.better!r} as the way to get better.",
                "Expected 'higher', 'lower', or None.",
            )
        if not self.count:
            object.__setattr__(self, "count", str(self.n))

    @property
    def method(self) -> str:
        """Everything that the figure and its interval depend on, but for n."""
        return self.how + (f"|interval:{self.interval_by}" if self.interval_by else "")

    @property
    def signature(self) -> str:
        """Everything that they depend on."""
        return f"{self.method}|n:{self.count}"

    @property
    def finite(self) -> bool:
        """Whether all its numbers are: JSON has no others."""
        numbers = (self.value, self.deviation or 0.0, *(self.interval or ()))
        return all(map(math.isfinite, numbers))

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        if self.interval is not None:
            spread += f" [{self.interval[0]:.1f}, {self.interval[1]:.1f}]"
        return f"{self.name} {self.value:.2f}{spread} |{self.signature}"

    def to_json(self) -> dict[str, Any]:
        pairs = {"name": self.name, "value": float(self.value), "n": self.n, "count": self.count}
        pairs |= {"better": self.better, "signature": self.signature}
        spread = {"deviation": self.deviation, "interval": self.interval}
        return pairs | {key: value for key, value in spread.items() if value is not None}


@dataclass(frozen=True)
class Scored:
    """Scores in the order in which they are shown, and why others are left out.

    Args:
        scores: The figures.
        reasons: Name of each score left out, and why.
    """

    scores: tuple[Score, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)

    def __add__(self, other: Scored) -> Scored:
        return Scored(self.scores + other.scores, self.reasons | other.reasons)

    def __getitem__(self, name: str) -> Score:
        """The score of that name. Raises KeyError if it was left out."""
        return {score.name: score for score in self.scores}[name]

    def get(self, name: str) -> Score | None:
        """The score of that name; None if it was left out."""
        return next((score for score in self.scores if score.name == name), None)

    def __contains__(self, name: str) -> bool:
        return any(score.name == name for score in self.scores)

    def to_json(self) -> dict[str, Any]:
        return {"scores": [score.to_json() for score in self.scores], "reasons": self.reasons}


class Metric(Protocol):
    """Anything with these two methods; docs/extending.md shows one.

    Values are computed once, over all predictions. Instance types, resamples and paired tests
    pick among them and ask for scores again.
    """

    def values(self, predictions: Sequence[Prediction]) -> Sequence[Any]:
        """What each instance contributes, in order: all that its share of the scores depends on.

        None where the metric says nothing about an instance. A section of the table shows the
        metric if one of its instances has a value.
        """
        ...

    def scores(self, values: Sequence[Any]) -> Scored:
        """Scores of some instances, from their values alone.

        Args:
            values: Without those that are None. If none are left, the metric gives reasons, or
                says nothing.
        """
        ...


def made(kind: str, name: str, needs: Sequence[str], *args: Any) -> Any:
    """What a metric or an extractor gives when it is called.

    Args:
        name: Of the registry, or `module:object`.
        needs: Attributes without which it is none.

    Raises:
        ConfigError: if it cannot be found or called, or lacks one.
    """
    maker = find(kind, name)
    try:
        result = maker(*args)
    except TypeError as error:
        raise ConfigError(
            f"The {kind} '{name}' cannot be made: {error}.",
            "Expected a class or function without arguments.",
        ) from error
    missing = [need for need in needs if not hasattr(result, need)]
    if missing:
        raise ConfigError(
            f"The {kind} '{name}' gives a {type(result).__name__} without {', '.join(missing)}.",
            "docs/extending.md shows one.",
        )
    return result
