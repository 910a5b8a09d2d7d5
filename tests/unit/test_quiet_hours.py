"""Quiet hours are those of a clock on the wall, also when it is put forward and back."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from holdfast.errors import InvalidOption
from holdfast.model.quiet_hours import QuietHours


def at(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp()


def quiet_minutes(hours: QuietHours, day: str) -> int:
    """Of the 48 hours from noon on."""
    begin = at(f"{day} 12:00")
    return sum(hours.is_quiet(begin + 60 * minute) for minute in range(48 * 60))


def test_a_night_and_its_days() -> None:
    night = QuietHours("22:00-06:00", "UTC")
    assert [night.is_quiet(at(f"2026-11-29 {each}")) for each in ("21:59", "22:00", "05:59")] == [
        *(False, True, True)
    ]
    assert not night.is_quiet(at("2026-11-29 06:00"))
    week = QuietHours("Fri 20:00-07:00, sat-sun 00:00-24:00", "UTC")
    assert [week.is_quiet(at(f"2026-{each}")) for each in ("11-27 19:59", "11-27 20:00")] == [
        *(False, True)
    ]
    assert week.is_quiet(at("2026-11-28 06:59")) and week.is_quiet(at("2026-11-29 23:59"))
    assert not week.is_quiet(at("2026-11-30 00:00"))
    over_sunday = QuietHours("sat-mon 23:00-01:00", "UTC")
    found = [over_sunday.is_quiet(at(f"2026-{day} 00:30")) for day in ("11-29", "11-30", "12-01")]
    assert found == [True, True, True]
    assert not over_sunday.is_quiet(at("2026-12-02 00:30"))


def test_daylight_saving() -> None:
    """In Berlin clocks go from 02:00 to 03:00 on 2026-03-29, and from 03:00 to 02:00 on 10-25."""
    night = QuietHours("22:00-06:00", "Europe/Berlin")
    assert quiet_minutes(night, "2026-03-28") == (7 + 8) * 60
    assert quiet_minutes(night, "2026-10-24") == (9 + 8) * 60
    assert quiet_minutes(night, "2026-11-24") == (8 + 8) * 60
    left_out = QuietHours("02:00-03:00", "Europe/Berlin")
    assert quiet_minutes(left_out, "2026-03-28") == 60, "only in the second night"
    assert quiet_minutes(left_out, "2026-10-24") == 3 * 60
    assert night.is_quiet(at("2026-07-01 20:00")) and not night.is_quiet(at("2026-12-01 20:00"))
    assert QuietHours("22:00-06:00", "Asia/Kathmandu").is_quiet(at("2026-11-29 16:15"))


def test_the_zone_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    hours = QuietHours("22:00-06:00")
    monkeypatch.setenv("TZ", "America/New_York")
    assert hours.is_quiet(at("2026-11-29 03:00")) and not hours.is_quiet(at("2026-11-29 22:00"))
    monkeypatch.setenv("TZ", "UTC")
    assert hours.is_quiet(at("2026-11-29 22:00")), "the host moved"
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "text",
    [
        *("22-06", "22:00-22:00", "24:00-06:00", "22:60-06:00", "25:00-06:00", "mon", "-06:00"),
        *("22:00-06:00,", "xyz 22:00-06:00", "\u0662\u0662:00-06:00"),
        *("00:00-24:00", "mon-sun 12:00-24:00, 00:00-12:00", ", ".join(["22:00-06:00"] * 21)),
    ],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        QuietHours(text)
    assert refused.value.mend


@pytest.mark.parametrize("zone", ["Nowhere/Town", "../../etc/passwd", "/etc/localtime", "\0", "."])
def test_a_zone_that_is_none(zone: str) -> None:
    with pytest.raises(InvalidOption, match="time zone"):
        QuietHours("22:00-06:00", zone).check_zone()
    assert not QuietHours("00:00-23:59", zone).is_quiet(at("2026-11-29 12:00"))
    assert not QuietHours().is_quiet(0.0)
