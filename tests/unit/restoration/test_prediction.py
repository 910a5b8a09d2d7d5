"""A predicted pause grows with everything that makes one longer, and with nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.restoration.assessing.prediction import pause_seconds

counts = st.integers(0, 10_000)
seconds = st.floats(0, 100)


@given(counts, counts, counts, seconds, seconds, counts)
def test_it_grows(
    processes: int, handles: int, points: int, look: float, final_pass: float, entries: int
) -> None:
    base = pause_seconds(processes, handles, points, look)
    assert base >= look
    assert pause_seconds(processes + 1, handles, points, look) > base
    assert pause_seconds(processes, handles + 1, points, look) > base
    assert pause_seconds(processes, handles, points, look, gate=True) > base
    longer = pause_seconds(
        processes, handles, points, look, final_pass_seconds=final_pass, entries=entries
    )
    assert longer >= base + final_pass - 1e-6
