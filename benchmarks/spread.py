"""What several rounds say together: the middle, and how far they lie apart."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Of one figure over its rounds, in its own unit."""

    least: float
    lower_quartile: float
    median: float
    upper_quartile: float
    most: float

    @property
    def between_quartiles(self) -> float:
        """Half of the rounds lie within so much of each other, as a part of the median."""
        return (self.upper_quartile - self.lower_quartile) / self.median if self.median else 0.0

    @property
    def between_extremes(self) -> float:
        """All of them do, as a part of the median."""
        return (self.most - self.least) / self.median if self.median else 0.0


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    lower, middle, upper = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    )
    return Spread(min(values), lower, middle, upper, max(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that so many percent of them do not exceed (nearest rank)."""
    return sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]
