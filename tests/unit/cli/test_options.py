"""Durations as people type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.options import LONGEST_SECONDS, parse_duration, positive_duration
from holdfast.errors import InvalidOption


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("30s", 30.0), ("10m", 600.0), ("1h", 3600.0), ("1.5s", 1.5), ("500ms", 0.5),
     ("2d", 172800.0), ("7", 7.0), (" 3 s ", 3.0)],
)  # fmt: skip
def test_a_duration_has_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "soon", "-1s", "1w", "1e3s", "nan", "inf", "367d", "1 2s", "٣s", "s", "."]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        parse_duration(text)
    assert refused.value.mend


@given(st.text())
def test_any_text_is_a_bounded_duration_or_refused(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except InvalidOption:
        return
    assert 0 <= seconds <= LONGEST_SECONDS


@pytest.mark.parametrize("text", ["0", "0s", "0.0h"])
def test_a_time_that_must_pass_is_not_zero(text: str) -> None:
    with pytest.raises(InvalidOption):
        positive_duration(text)
