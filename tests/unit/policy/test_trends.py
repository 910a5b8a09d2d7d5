"""A leg that gets worse is told after half an hour; one that is slow, or loaded, never."""

from __future__ import annotations

import random
from collections.abc import Iterable

from holdfast.model.leg_times import STEPS, grown, share_within
from holdfast.policy.trends import (
    LEAST_WINDOWS,
    LegTrend,
    after_window,
    failing_in_words,
    in_words,
)

DAY = LEAST_WINDOWS
FAST, SLOW = 0.002, 0.2


def over(windows: Iterable[tuple[float, float]], course: LegTrend | None = None) -> list[LegTrend]:
    """What is known after each: times of the leg, and of the others."""
    courses = [course or LegTrend()]
    for own, other in windows:
        courses.append(after_window(courses[-1], own, other))
    return courses[1:]


def noise(chance: random.Random) -> float:
    return chance.lognormvariate(0.0, 0.3)


def test_a_leg_that_gets_slow_is_told_after_three_windows_and_until_it_is_well() -> None:
    chance = random.Random(1)
    usual = over((FAST * noise(chance), FAST * noise(chance)) for _ in range(DAY))[-1]
    assert not usual.is_slow
    slow = over([(SLOW, FAST)] * 500, usual)
    assert [each.is_slow for each in slow[:4]] == [False, False, True, True]
    assert slow[-1].is_slow, "what is slow for long is not taken for normal"
    assert "about 190 ms" in in_words("flush", slow[-1])
    assert "other legs 2 ms" in in_words("flush", slow[-1])
    again = over([(FAST, FAST)] * 3, slow[-1])
    assert [each.is_slow for each in again] == [True, True, False]


def test_a_month_in_which_all_is_well() -> None:
    """Load on all legs, a disk beside flash with sequential and random work, single windows in
    which one leg stood still, a nightly job, a leg that gets as slow as the others."""
    chance = random.Random(2)
    course = LegTrend()
    for window in range(30 * DAY):
        load = 50.0 if window % 7 == 0 else 1.0
        other = FAST * noise(chance) * load
        own = (0.1 if window % DAY < 20 else 0.004) * noise(chance) * load
        own = 8.0 if window % 50 == 3 and window > DAY else own
        course = after_window(course, own, other)
        assert not course.is_slow, window
    both = over([(5.0, 2.0)] * 10, course)
    assert not any(each.is_slow for each in both)


def test_what_began_after_the_first_day_and_ends_by_itself_is_told_once() -> None:
    course = over([(FAST, FAST)] * DAY)[-1]
    nights = []
    for _ in range(10):
        night = over([(SLOW, FAST)] * 6, course)
        nights.append(any(each.is_slow for each in night))
        course = over([(FAST, FAST)] * 138, night[-1])[-1]
    assert nights == [True] + 9 * [False]


def test_nobody_judges_by_less_than_a_day_or_below_what_one_feels() -> None:
    short = over([(FAST, FAST)] * (DAY - 1))[-1]
    assert not any(each.is_slow for each in over([(SLOW, FAST)] * 3, short))
    flash = over([(0.0001, 0.0001)] * DAY)[-1]
    assert not any(each.is_slow for each in over([(0.019, 0.0001)] * 9, flash))
    assert over([(0.021, 0.0001)] * 3, flash)[-1].is_slow


def test_legs_that_fail_again_and_again() -> None:
    now = 1e9
    assert not failing_in_words([now - 1, now - 80000], [now - 10] * 19, now)
    assert "3 times within a day" in failing_in_words([now - 1, now - 2, now - 80000], [], now)
    assert not failing_in_words([now - 1, now - 2, now - 86401], [], now)
    assert not failing_in_words([now + 1] * 5, [], now), "the clock was set back"
    assert "20 places" in failing_in_words([], [now - 3000] * 20, now)


def test_histograms() -> None:
    empty = (0,) * STEPS
    assert share_within(empty, 0.9) == 0.0
    counts = list(empty)
    counts[10], counts[20] = 90, 10
    assert share_within(counts, 0.9) == 1.024e-6 * 1024
    assert share_within(counts, 0.95) > 0.5
    assert grown(empty, counts) == tuple(counts)
    assert grown(counts, [2 * each for each in counts]) == tuple(counts)
    assert grown(counts, empty) == empty, "another worker began anew"
