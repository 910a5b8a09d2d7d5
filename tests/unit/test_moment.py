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
        ("10 minutes ago", "2026-11-28 13:20"),
        ("1.5h ago", "2026-11-28 12:00"),
        ("2:02", "2026-11-28 01:02"),
        ("yesterday 9:02:07", "2026-11-27 08:02:07"),
        ("13:02:07 UTC", "2026-11-28 13:02:07"),
        ("2026-11-20 14:02:07.250 UTC", "2026-11-20 14:02:07.250"),
        ("2026-11-20 14:02:07 +0100", "2026-11-20 13:02:07"),
    ],
)
def test_what_people_type(text: str, utc: str) -> None:
    found = datetime.fromtimestamp(parse_moment(text, NOW), UTC).replace(tzinfo=None)
    assert found == datetime.fromisoformat(utc)


@pytest.mark.parametrize("text", ["", "soon", "25:00", "yesterday noon", "2026-13-01", "999999w"])
def test_what_is_no_point_in_time(text: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        parse_moment(text, NOW)
    assert "10m ago" in caught.value.mend


BACK = datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp()
FORWARD = datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("changed", [BACK, FORWARD])
@pytest.mark.parametrize("after", [60.0, 1800.0, 3600.0, 7200.0])
@pytest.mark.parametrize(("text", "seconds"), [("10m ago", 600.0), ("1h", 3600.0), ("2d", 172800)])
def test_ago_is_so_long_also_where_clocks_are_set(
    changed: float, after: float, text: str, seconds: float
) -> None:
    assert parse_moment(text, changed + after) == changed + after - seconds


@pytest.mark.parametrize(
    ("text", "now", "mend"),
    [
        ("2:30", BACK + 7200, "2026-10-25 02:30:00+02:00, or 2026-10-25 02:30:00+01:00"),
        ("2026-10-25 02:00:07", NOW, "2026-10-25 02:00:07+01:00"),
        ("yesterday 02:30", FORWARD + 86400, "2026-03-29 01:30:00+01:00, or 2026-03-29 03:30"),
    ],
)
def test_what_clocks_showed_twice_or_never_is_asked_again(text: str, now: float, mend: str) -> None:
    """What it says to type is taken; a day alone has a beginning all the same."""
    with pytest.raises(InvalidOption) as caught:
        parse_moment(text, now)
    assert mend in caught.value.mend
    _, said = caught.value.mend.removesuffix(".").split(": ", 1)
    first, second = (parse_moment(each, now) for each in said.split(", or "))
    assert second - first == 3600


@given(st.text(max_size=40))
def test_nothing_else_comes_of_any_text(text: str) -> None:
    with suppress(InvalidOption):
        assert isinstance(parse_moment(text, NOW), float)
