"""What hangs is found, and what is only slow, stopped or short of time is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.policy.patience import HUNG_SECONDS, MOST_SECONDS, Waited, waited

LOOKS = st.lists(
    st.tuples(st.floats(0.1, 1000), st.sampled_from("DSRTtZ"), st.booleans()), max_size=40
)


def is_hung(looks: list[tuple[float, str, int | None]]) -> bool:
    found = Waited()
    for gap, state, finished in looks:
        found = waited(found, gap, state, finished)
    return found.seconds >= HUNG_SECONDS


def test_nothing_happens_for_long() -> None:
    assert is_hung([(5, "D", 7)] * 8)
    assert is_hung([(5, "S", None)] * 7)
    assert not is_hung([(5, "D", 7)] * 6)


def test_slow_storage_finishes_something() -> None:
    assert not is_hung([(5, "D", number // 5) for number in range(1000)])


def test_a_busy_host_and_a_stopped_child() -> None:
    assert not is_hung([(5, state, None) for state in "RTt" * 100])


def test_we_were_suspended_ourselves() -> None:
    assert not is_hung([(86400, "D", None)] * 2)


@given(LOOKS)
def test_time_counts_only_while_it_waits_and_nothing_happens(
    looks: list[tuple[float, str, bool]],
) -> None:
    found, finished, silent = Waited(), 0, 0.0
    for gap, state, happens in looks:
        finished += happens
        found = waited(found, gap, state, finished)
        silent = 0.0 if happens else silent + (min(gap, MOST_SECONDS) if state in "DS" else 0.0)
        assert found.seconds <= silent
