"""What is wrong with a volume, and what mends it, as `status` says it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from holdfast.model.trouble import troubles_of
from holdfast.model.volume import GateReport, LegReport, LegState, VolumeReport, VolumeState

GATE = GateReport(1, 2, False, "", None, 0, 0, 0, 0.0)
LEG = LegReport(1, "a" * 36, "file:/a", LegState.IN_SYNC)
AWAY = LegReport(2, "b" * 36, "file:/b", LegState.FAILED, reason="read: Input/output error")
FILLED = LegReport(2, "b" * 36, "file:/b", LegState.RESYNCING, resync_percent=12.0)
WELL = VolumeReport(
    "shop", "gated", VolumeState.HEALTHY, "/srv/shop", "ext4", 1 << 30, "/dev/loop0",
    "i", "", "", "", "unflushed", 3, (LEG, LegReport(0, "", "file:/c", LegState.SPARE)), GATE,
    wanted=True,
)  # fmt: skip


def told(**changes: Any) -> list[tuple[str, str]]:
    """What is wrong with the volume when it is changed so."""
    return [(each.words, each.mend) for each in troubles_of(replace(WELL, **changes))]


def test_nothing_is_wrong_with_what_is_well_or_was_detached_on_purpose() -> None:
    assert told() == []
    assert told(state=VolumeState.DETACHED, gate=None, wanted=False) == []
    assert told(gate=replace(GATE, hold_reason="one that has ended")) == []


@pytest.mark.parametrize(
    ("changes", "words", "mend"),
    [
        ({"state": VolumeState.DETACHED, "gate": None}, "nobody detached it", "volume attach shop"),
        ({"state": VolumeState.DEGRADED, "legs": (LEG, AWAY)}, "leg 2 (file:/b) is failed: read",
         "leg replace shop 2"),
        ({"state": VolumeState.DEGRADED, "legs": (LEG, FILLED)}, "up to date: 12.0 %", ""),
        ({"state": VolumeState.FAILED, "reason": "it is not mounted", "mend": "holdfast X"},
         "it is not mounted", "holdfast X"),
        ({"frozen_until": 1e9}, "its processes are frozen", "holdfast thaw shop"),
        ({"state": VolumeState.HELD,
          "gate": replace(GATE, held=True, hold_reason="a test", held_on_purpose=True)},
         "wait, on purpose: a test", "volume release shop"),
        ({"state": VolumeState.HELD, "gate": replace(GATE, held=True, hold_reason="no leg")},
         "its requests wait: no leg", "Bring the storage of a leg back"),
        ({"state": VolumeState.FAILED, "gate": replace(GATE, held=True, hold_reason="no leg")},
         "its requests fail: no leg", "Bring the storage of a leg back"),
    ],
)  # fmt: skip
def test_each_kind(changes: dict[str, Any], words: str, mend: str) -> None:
    [(found, way)] = told(**changes)
    assert words in found
    assert mend in way
    assert bool(mend) == bool(way)


def test_gravest_first() -> None:
    both = told(state=VolumeState.DEGRADED, legs=(LEG, AWAY), frozen_until=1e9)
    assert [words.split()[0] for words, _ in both] == ["its", "leg"]
