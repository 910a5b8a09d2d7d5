"""Which moments the slider offers: after a copy, in the same stretch."""

from __future__ import annotations

import json

from holdfast.dashboard.reach import Moments, line_of
from holdfast.model.copy import CopyReport, VolumeCopy
from holdfast.model.history import HistoryReport, HistoryStretch
from holdfast.model.point import PointReport, RestorePoint

NOW = 1000.0


def copy(position: int, made: float, state: str = "usable") -> CopyReport:
    return CopyReport(VolumeCopy("c", "shop", "v", "file:/c", 1, position, made, position), state)


def history(*stretches: HistoryStretch) -> HistoryReport:
    return HistoryReport("shop", "written", "/h", stretches=stretches)


FIRST = HistoryStretch(0, 100, 100.0, 400.0, "the disk was full")
SECOND = HistoryStretch(200, None, 500.0, None)


def test_nothing_is_kept() -> None:
    assert line_of(history(), (), (), NOW) is None


def test_from_the_copy_on_to_the_end_of_its_stretch() -> None:
    line = line_of(history(FIRST, SECOND), (copy(50, 200.0),), (), NOW)
    assert line is not None
    assert line.moments == (Moments(200.0, 400.0),)
    assert line.latest == 400.0
    assert json.loads(line.moments_json) == [[200.0, 400.0]]
    assert (line.begin, line.end, len(line.kept)) == (100.0, NOW, 2)


def test_a_stretch_that_goes_on_reaches_to_now() -> None:
    line = line_of(history(FIRST, SECOND), (copy(250, 600.0), copy(220, 550.0)), (), NOW)
    assert line is not None
    assert line.moments == (Moments(550.0, NOW),)


def test_what_is_not_usable_or_lies_in_a_gap_reaches_nothing() -> None:
    copies = (copy(50, 200.0, "gone"), copy(150, 450.0))
    line = line_of(history(FIRST, SECOND), copies, (), NOW)
    assert line is not None
    assert (line.moments, line.reachable, line.latest) == ((), (), None)
    assert [mark.kind for mark in line.marks] == ["copy", "copy"]


def test_points_are_marked_and_everything_stays_on_the_line() -> None:
    point = PointReport(RestorePoint("p", "shop", "v", "before", 10, 5000.0), "reachable")
    line = line_of(history(HistoryStretch(0, None, NOW, None)), (), (point,), NOW)
    assert line is not None
    (mark,) = line.marks
    assert (mark.name, mark.percent) == ("before", 100.0)
    assert all(begin >= 0 and begin + length <= 100.4 for begin, length in line.kept)
