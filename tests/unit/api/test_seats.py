"""Places: one user leaves some for the others, and root's are its own."""

from __future__ import annotations

from holdfast.api.connections import Seats


def test_root_has_its_own_and_users_share() -> None:
    seats = Seats(3, 2)
    assert [seats.take(7) for _ in range(3)] == [True, True, False]
    assert [seats.take(8) for _ in range(2)] == [True, False]
    assert [seats.take(0) for _ in range(4)] == [True, True, True, False]
    seats.leave(7)
    assert [seats.take(8), seats.take(7)] == [True, False]
    assert len(seats) == 6


def test_they_are_free_after_the_block() -> None:
    seats = Seats(1, 1)
    with seats.taken(5) as first, seats.taken(5) as second:
        assert (first, second) == (True, False)
    assert len(seats) == 0
