"""Several metrics as one, such as the image scores of several extractors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pscli.metrics.base import Scored

if TYPE_CHECKING:
    from pscli.metrics.resample import Array
    from pscli.predictions.folder import Prediction


class Several:
    """All that some metrics say, in their order.

    Args:
        metrics: Those that can be resampled, with names of scores of their own.
    """

    def __init__(self, metrics: Sequence[Any]) -> None:
        self.metrics: Sequence[Any] = metrics

    def values(self, predictions: Sequence[Prediction]) -> list[tuple[Any, ...] | None]:
        columns = [metric.values(predictions) for metric in self.metrics]
        rows = zip(*columns, strict=True)
        return [None if all(value is None for value in row) else row for row in rows]

    def scores(self, values: Sequence[tuple[Any, ...]]) -> Scored:
        return sum((m.scores(self._of(n, values)) for n, m in enumerate(self.metrics)), Scored())

    def resampled(self, values: Sequence[tuple[Any, ...]], counts: Array) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for number, metric in enumerate(self.metrics):
            here = [row for row, value in enumerate(values) if value[number] is not None]
            found |= metric.resampled(self._of(number, values), counts[:, here])
        return found

    def _of(self, number: int, values: Sequence[tuple[Any, ...]]) -> list[Any]:
        return [value[number] for value in values if value[number] is not None]
