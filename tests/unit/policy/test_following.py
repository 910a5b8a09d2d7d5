"""When a copy is brought on by itself, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model.copy import VolumeCopy
from holdfast.model.following import Following, FollowState
from holdfast.model.history import HistoryStretch
from holdfast.policy.following import (
    BEHIND_TIMES,
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    CopySeen,
    age_seconds,
    history_trouble,
    in_words,
    is_due,
    is_told,
    retry_seconds,
    standing,
    unled,
)

COPY = VolumeCopy("a1b2c3d4e5", "shop", "i", "file:/c.img", 1 << 30, 500, 1000.0, good_from=500)
ASKED = Following(COPY.id, "shop", 300.0, 1.0)
KEPT = HistoryStretch(100, None, 1.0, None)


@given(
    st.integers(0, 1 << 40),
    st.floats(0, 1e9),
    st.integers(0, 100),
    st.floats(0, 1e9),
    st.sampled_from(["", "a gap"]),
)
def test_it_is_brought_on_when_it_lacks_something_for_long(
    lacks: int, behind: float, failures: int, since_tried: float, trouble: str
) -> None:
    seen = CopySeen(lacks, behind, trouble)
    due = is_due(ASKED, seen, failures, since_tried)
    assert not due or (lacks and behind >= ASKED.lag_seconds and not trouble)
    assert not due or not failures or since_tried >= FIRST_RETRY_SECONDS
    if lacks and behind >= ASKED.lag_seconds and not trouble:  # and never given up
        assert is_due(ASKED, seen, failures, LONGEST_RETRY_SECONDS)
    assert retry_seconds(failures) <= retry_seconds(failures + 1) <= LONGEST_RETRY_SECONDS


@pytest.mark.parametrize(
    ("seen", "changes", "state", "told"),
    [
        (CopySeen(0, 0.0), {}, FollowState.FOLLOWING, False),
        (CopySeen(10, 300.0 * BEHIND_TIMES), {}, FollowState.FOLLOWING, False),
        (CopySeen(10, 300.0 * BEHIND_TIMES + 1), {}, FollowState.BEHIND, True),
        (CopySeen(10, 5.0), {"failures": 1, "words": "it hangs"}, FollowState.CANNOT, False),
        (CopySeen(10, 5.0), {"failures": 2, "words": "it hangs"}, FollowState.CANNOT, True),
        (CopySeen(10, 9e9, "a gap", "mend"), {"failures": 9}, FollowState.CANNOT, False),
    ],
)
def test_what_is_said(
    seen: CopySeen, changes: dict[str, object], state: FollowState, told: bool
) -> None:
    asked = replace(ASKED, **changes)  # type: ignore[arg-type]
    report = standing(asked, COPY, seen)
    assert report.state is state
    assert is_told(asked, report, seen) is told
    assert bool(report.reason) is (state is not FollowState.FOLLOWING)
    assert report.reason in in_words(report)


def test_what_leads_on() -> None:
    gap = HistoryStretch(100, 900, 1.0, 2.0, "no room")
    after = HistoryStretch(1000, None, 3.0, None)
    assert unled(COPY, "i", (KEPT,), ASKED) == unled(COPY, "i", (), ASKED) == ("", "")
    for told, words in (
        (unled(COPY, "other", (KEPT,), ASKED), "earlier volume"),
        (unled(COPY, "i", (gap, after), ASKED), "a gap"),
        (unled(COPY, "i", (after,), ASKED), "does not reach back"),
    ):
        assert words in told[0]
        assert told[1].endswith("--lag 300s")
    well = {"mode": "continuous", "history_state": "written"}
    assert history_trouble(well, "shop") == ("", "")
    assert "no history" in history_trouble({"mode": "unflushed"}, "shop")[0]
    failing = {**well, "history_state": "fails", "history_reason": "no room"}
    assert "no room" in history_trouble(failing, "shop")[0]


def test_the_clock() -> None:
    """Set back, it is young, and is aged by the daemon's own; nobody wrote for long: as young."""
    assert age_seconds(ASKED, COPY, 1100.0) == 100.0
    assert age_seconds(ASKED, COPY, 900.0) == 0.0
    assert age_seconds(replace(ASKED, current=1090.0), COPY, 1100.0) == 10.0
