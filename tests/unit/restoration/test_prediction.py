"""A predicted pause grows with everything that makes one longer, and with nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.model.handle import Application, Handle, HandleKind, User
from holdfast.restoration.assessing.prediction import pause_seconds, who_has_most

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


def test_whoever_has_most_handles_is_named() -> None:
    """Also where they are spread over many processes."""
    handle = Handle(HandleKind.FILE, 1, "/data/x", 1, "x")

    def user(pid: int, owner: int, count: int) -> User:
        return User(pid, 1, "cat", "cat", owner, Application("x"), (pid,), 1, (handle,) * count)

    users = [user(1, 0, 5), user(2, 4321, 3), user(3, 4321, 4)]
    assert who_has_most(users) == "user 4321 has 7 of 12 handles, 4 of them in cat (process 3)"
    assert who_has_most([user(1, 0, 0)]) == who_has_most([]) == ""
