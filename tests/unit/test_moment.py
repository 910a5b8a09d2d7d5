"""Points in time as people type them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InvalidOption
from holdfast.model.moment import parse_moment

NOW = datetime(2026, 11, 28, 13, 30, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def vienna(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An hour before UTC in winter, two in summer; by rule, so that no data base is needed."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("now", "2026-11-28 13:30"),
        ("10m ago", "2026-11-28 13:20"),
        ("2 h", "2026-11-28 11:30"),
        ("1w ago", "2026-11-21 13:30"),
        ("14:02", "2026-11-28 13:02"),
        ("14:02:07", "2026-11-28 13:02:07"),
        ("today", "2026-11-27 23:00"),
        ("Yesterday  14:02:06", "2026-11-27 13:02:06"),
        ("2026-11-20", "2026-11-19 23:00"),
        ("2026-07-20 14:02", "2026-07-20 12:02"),
        ("2026-11-20T14:02:07Z", "2026-11-20 14:02:07"),
        ("2026-11-20 14:02:07.250+02:00", "2026-11-20 12:02:07.250"),
    ],
)
def test_what_people_type(text: str, utc: str) -> None:
    found = datetime.fromtimestamp(parse_moment(text, NOW), UTC).replace(tzinfo=None)
    assert found == datetime.fromisoformat(utc)


def test_where_summer_time_ends() -> None:
    """Clocks show that hour twice: it is not guessed which, and who counts back counts seconds."""
    now = datetime(2026, 10, 25, 1, 10, tzinfo=UTC).timestamp()  # 02:10, for the second time
    assert parse_moment("20m ago", now) == now - 1200
    for text in ("02:05", "2026-10-25 02:59:59", "2026-03-29 02:30"):
        with pytest.raises(InvalidOption, match="twice"):
            parse_moment(text, now)
    assert parse_moment("2026-10-25T02:05:00+01:00", now) == now - 300
    assert parse_moment("03:00", now) == now + 3000


@pytest.mark.parametrize("text", ["", "soon", "25:00", "yesterday noon", "2026-13-01", "999999w"])
def test_what_is_no_point_in_time(text: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        parse_moment(text, NOW)
    assert "10m ago" in caught.value.mend


@given(st.text(max_size=40))
def test_nothing_else_comes_of_any_text(text: str) -> None:
    with suppress(InvalidOption):
        assert isinstance(parse_moment(text, NOW), float)
