"""Who is failed for a lost name: never the last data, never for what nobody could see."""

from __future__ import annotations

import pytest

from holdfast.gate.repair.names import to_be_failed


@pytest.mark.parametrize(
    ("in_sync", "filling", "seen", "failed"),
    [
        ({1, 2}, (), {1: "", 2: ""}, set()),
        ({1, 2}, (), {1: "deleted", 2: ""}, {1}),
        ({1, 2}, (), {1: "deleted", 2: "deleted"}, set()),
        ({1, 2}, (), {1: "deleted"}, set()),  # the other one hangs: it may be as lost
        ({1}, (), {1: "deleted"}, set()),
        ({1}, {2}, {1: "deleted", 2: ""}, set()),  # what is being filled is no other source yet
        ({1}, {2}, {1: "", 2: "deleted"}, {2}),
        ({1}, {2}, {1: "deleted", 2: "deleted"}, {2}),
        ((), {2}, {2: ""}, set()),
    ],
)
def test_who_is_failed(
    in_sync: set[int], filling: set[int], seen: dict[int, str], failed: set[int]
) -> None:
    assert to_be_failed(in_sync, filling, seen) == failed
