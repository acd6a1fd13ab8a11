"""A score, and how it was computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Score:
    """One figure and how it was computed.

    Args:
        name: For example `BLEU-2`. Names are unique within one set of scores.
        value: Rates, BLEU and ROUGE are percentages, 0 to 100; IS and FID have their own scale.
        n: Instances (or drawn photos, for an image score) behind the figure.
        signature: Parts joined by `|`, one of them `n:…`; an image score's is `n:drawn/gold`.
        deviation: Standard deviation over the splits (IS), in the unit of `value`.
        interval: 95 % confidence interval, in the unit of `value`.
    """

    name: str
    value: float
    n: int
    signature: str
    deviation: float | None = None
    interval: tuple[float, float] | None = None

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        if self.interval is not None:
            spread += f" [{self.interval[0]:.1f}, {self.interval[1]:.1f}]"
        return f"{self.name} {self.value:.2f}{spread} |{self.signature}"

    def to_json(self) -> dict[str, Any]:
        pairs = {"name": self.name, "value": self.value, "n": self.n, "signature": self.signature}
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

    def __contains__(self, name: str) -> bool:
        return any(score.name == name for score in self.scores)

    def to_json(self) -> dict[str, Any]:
        return {"scores": [score.to_json() for score in self.scores], "reasons": self.reasons}
