"""A message names who is in the way, however much he has open."""

from __future__ import annotations

from holdfast.system.mounts.users import MountUser


def test_a_process_with_very_many_descriptors_fills_no_screen() -> None:
    user = MountUser(7, "cat", tuple(f"descriptor {number}" for number in range(20_000)))
    assert str(user) == (
        "cat (process 7: descriptor 0, descriptor 1, descriptor 2, descriptor 3, descriptor 4"
        " and 19995 more)"
    )
