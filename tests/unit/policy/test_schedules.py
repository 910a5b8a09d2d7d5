"""Points on a schedule: one in each hour, day and week, whatever the clock does and whoever deletes
what; no more than is asked for; nothing of anybody else's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InvalidOption
from holdfast.model.point import RestorePoint
from holdfast.model.schedule import PointKind, PointSchedule
from holdfast.policy.schedules import after, decide, is_due, scheduled

HOUR, DAY = 3600.0, 86400.0
BEGIN = datetime(2026, 11, 29, 12, 30).timestamp()
STEPS = st.one_of(
    st.floats(1.0, 2 * HOUR),
    st.sampled_from([0.0, -HOUR, HOUR, DAY, 9 * DAY, -365 * DAY, 365 * DAY]),
)


@pytest.fixture(name="berlin")
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Host:
    """The points of one volume, and who makes and deletes them."""

    def __init__(self, **kept: int) -> None:
        self.schedule = PointSchedule("shop", "shop", BEGIN, **kept)
        self.points: list[RestorePoint] = []
        self.position = 0

    def by_hand(self, name: str) -> None:
        self.position += 1
        found = RestorePoint(f"{self.position:032x}", "shop", "i", name, self.position, 0.0)
        self.points.append(found)

    def look(self, now: float) -> list[str]:
        """As a job does it; the names that it made."""
        todo = decide(self.schedule, self.points, now)
        self.position += bool(todo.make)
        assert not set(todo.delete) - set(self.points)
        assert all(scheduled(each) for each in todo.delete)
        for new in todo.make:
            point = RestorePoint(new.id, "shop", "i", new.name, self.position, now)
            assert scheduled(point) == new
            self.points.append(point)
        self.schedule = after(self.schedule, todo.make, now)
        self.points = [each for each in self.points if each not in todo.delete]
        return [each.name for each in todo.make]

    def of(self, kind: PointKind) -> list[RestorePoint]:
        found = [each for each in self.points if (mine := scheduled(each)) and mine.kind is kind]
        return sorted(found, key=lambda each: each.id)


@given(
    st.integers(0, 4),
    st.integers(0, 3),
    st.integers(0, 2),
    st.lists(st.tuples(STEPS, st.integers(0, 9)), max_size=60),
)
def test_whatever_the_clock_does(
    hourly: int, daily: int, weekly: int, steps: list[tuple[float, int]]
) -> None:
    host, now = Host(hourly=hourly, daily=daily, weekly=weekly), BEGIN
    host.by_hand("hourly-20261129T1200Z")  # the name of the first one
    ours, all_made, deleted = set(host.points), list[str](), set[str]()
    for step, victim in steps:
        now += step
        before = set(host.points)
        made = host.look(now)
        all_made += sorted(each.id for each in set(host.points) - before)
        assert len(made) == len(set(made)) <= 3
        assert not host.look(now) and not is_due(host.schedule, now)  # it is done, whoever looks
        names = [each.name for each in host.points]
        assert len(names) == len(set(names)), "two of the same hour, day or week"
        for kind in PointKind:
            mine = host.of(kind)
            assert len(mine) <= host.schedule.kept(kind)
            new = [each for each in made if each.startswith(kind)]
            assert not new or mine[-1].name == new[0]
            last = [each for each in all_made if kind in each and each not in deleted]
            assert [each.id for each in mine] == last[len(last) - len(mine) :], "the last made stay"
        assert ours <= set(host.points), "somebody else's"
        if victim < 3 and len(host.points) > 1 and host.points[-1] not in ours:
            gone = host.points.pop()
            deleted.add(gone.id)
            assert gone.name not in host.look(now), "one that was deleted is not made again"


def test_a_clock_that_only_goes_on(berlin: None) -> None:
    """Every hour, and every local day and week, has its own, also over both ends of summer time;
    of what passed while nobody looked there is none."""
    host = Host(hourly=24, daily=3, weekly=2)
    begin = datetime(2026, 10, 24, 20, 10).timestamp()
    made = [host.look(begin + number * 600) for number in range(6 * 30)]
    hours = [each for names in made for each in names if each.startswith("hourly")]
    days = [each for names in made for each in names if each.startswith("daily")]
    assert len(hours) == len(set(hours)) == 31  # from 20:10 on for 30 hours less ten minutes
    assert days == ["daily-2026-10-24", "daily-2026-10-25", "daily-2026-10-26"]
    assert [each.name for each in host.of(PointKind.HOURLY)] == hours[-24:]
    away = host.look(begin + 12 * DAY)
    assert len(away) == 3 and len(host.of(PointKind.DAILY)) == 3
    weeks = [each.name for each in host.of(PointKind.WEEKLY)]
    assert weeks == ["weekly-2026-W44", "weekly-2026-W45"]


def test_fewer_and_none() -> None:
    host = Host(hourly=5)
    for number in range(5):
        host.look(BEGIN + number * HOUR)
    host.schedule = host.schedule.changed({"hourly": 2})
    host.look(BEGIN + 4 * HOUR)
    assert len(host.of(PointKind.HOURLY)) == 2
    host.schedule = host.schedule.changed({"hourly": 0, "daily": 1})
    host.look(BEGIN + 9 * HOUR)
    assert len(host.of(PointKind.HOURLY)) == 2  # what is not made any more is nobody's business
    for wrong in (-1, 1001):
        with pytest.raises(InvalidOption):
            host.schedule.changed({"weekly": wrong})
    assert host.schedule.changed({"daily": 0}).is_off
