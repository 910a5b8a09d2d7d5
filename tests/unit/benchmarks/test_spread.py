"""The middle of several rounds, and how far they lie apart."""

from __future__ import annotations

import pytest

from benchmarks.spread import percentile, spread


def test_quartiles_are_told_with_the_median() -> None:
    over = spread([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (over.least, over.lower_quartile, over.median) == (1.0, 2.0, 3.0)
    assert (over.upper_quartile, over.most) == (4.0, 5.0)
    assert over.between_quartiles == pytest.approx(2 / 3)
    assert over.between_extremes == pytest.approx(4 / 3)


def test_one_round_has_no_spread() -> None:
    over = spread([7.0])
    assert (over.median, over.between_quartiles, over.between_extremes) == (7.0, 0.0, 0.0)


def test_nothing_at_all_has_none_either() -> None:
    assert spread([0.0, 0.0]).between_extremes == 0.0


@pytest.mark.parametrize(("percent", "value"), [(50, 150), (99, 297), (99.9, 300), (0, 1)])
def test_a_percentile_is_one_of_the_values(percent: float, value: int) -> None:
    assert percentile(range(1, 301), percent) == value
