"""How legs are named, and what plans say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.errors import ContainerFailed, InvalidSize, NoSuchLeg
from holdfast.model.volume import (
    GateReport,
    LegReport,
    LegState,
    MountProperties,
    Volume,
    VolumeReport,
    VolumeState,
)
from holdfast.service.plans import creation, deletion, enlargement, find_leg
from holdfast.service.resynchronisation import wait_until_in_sync

LEGS = (
    LegReport(1, "1aa1bb", "file:/1.img", LegState.IN_SYNC),
    LegReport(2, "1aa2bb", "block:/dev/sdb", LegState.RESYNCING, 12.5),
    LegReport(0, "", "file:/spare.img", LegState.SPARE),
)
GATE = GateReport(1, 2, False, "", None, 0, 0, 0, 0.0)
REPORT = VolumeReport(
    "bank", "gated", VolumeState.DEGRADED, "/mnt/bank", "ext4", 1 << 30, "/dev/loop0", "id", "",
    "bank", "u", "unflushed", 3, LEGS, GATE,
)  # fmt: skip
VOLUME = Volume(
    "bank", "id", "gated", 1 << 30, MountProperties("/mnt/bank", "ext4"),
    ("file:/1.img", "block:/dev/sdb"), ("file:/spare.img",),
)  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "position"),
    [("1", 0), ("1aa1bb", 0), ("1aa1", 0), ("file:/1.img", 0), ("2", 1), ("block:/dev/sdb", 1),
     ("file:/spare.img", 2)],
)  # fmt: skip
def test_a_leg_is_named_by_number_id_or_url(wanted: str, position: int) -> None:
    assert find_leg(REPORT, wanted) is LEGS[position]


@pytest.mark.parametrize("wanted", ["", "0", "3", "1aa", "1a", "zz", "file:/2.img", "-1"])
def test_a_leg_that_is_not_there_or_not_unique_is_refused(wanted: str) -> None:
    with pytest.raises(NoSuchLeg) as refused:
        find_leg(REPORT, wanted)
    assert "file:/1.img" in refused.value.mend


def test_plans_name_every_container() -> None:
    for plan in (creation(VOLUME), deletion(VOLUME, False), enlargement(VOLUME, 2 << 30)):
        for url in VOLUME.leg_urls:
            assert any(url in step for step in plan), plan
    assert any("delete file:/1.img" in step for step in deletion(VOLUME, False))
    assert not any("delete" in step for step in deletion(VOLUME, True))
    assert not any("delete block:" in step for step in deletion(VOLUME, False))


def test_a_volume_does_not_shrink() -> None:
    with pytest.raises(InvalidSize):
        enlargement(VOLUME, (1 << 30) - 4096)


def look_through(*states: tuple[LegState, float | None]) -> object:
    """A volume whose second leg is seen in these states, one after the other."""
    left = list(states)

    def look() -> VolumeReport:
        state, percent = left.pop(0)
        changed = replace(LEGS[1], state=state, resync_percent=percent)
        return replace(REPORT, legs=(LEGS[0], changed))

    return look


def test_waiting_ends_when_the_leg_is_in_sync() -> None:
    seen: list[float] = []
    look = look_through(
        (LegState.RESYNCING, 1.0), (LegState.RESYNCING, 50.0), (LegState.IN_SYNC, None)
    )
    wait_until_in_sync(look, "block:/dev/sdb", seen.append)
    assert seen == [1.0, 50.0, 100.0]


@pytest.mark.parametrize("state", [LegState.FAILED, LegState.STALE])
def test_waiting_ends_when_the_leg_fails(state: LegState) -> None:
    with pytest.raises(ContainerFailed):
        wait_until_in_sync(look_through((LegState.RESYNCING, 1.0), (state, None)), "1aa2bb")
