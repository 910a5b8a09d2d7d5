"""Which reports count for a while, and what ends that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.daemon.recent import RecentReports
from holdfast.model.volume import VolumeReport, VolumeState

SHOP = VolumeReport(
    "shop", "adopted", VolumeState.HEALTHY, "/srv/shop", "ext4", 1 << 30, "/dev/loop0",
    "i", "", "", "", "unflushed", 3, wanted=True,
)  # fmt: skip


def test_a_well_volume_counts_until_there_is_news_or_trouble() -> None:
    recent = RecentReports()
    assert recent.usable((), is_news=False) == {}
    recent.note([SHOP])
    assert recent.usable((), is_news=False) == {"i": SHOP}
    assert recent.usable(["shop"], is_news=False) == {}
    assert recent.usable((), is_news=True) == {}
    assert recent.usable((), is_news=False) == {}


def test_one_that_is_gone_does_not_come_back() -> None:
    recent = RecentReports()
    recent.note([SHOP])
    recent.note([])
    assert recent.usable((), is_news=False) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "gated"}, {"state": VolumeState.FAILED}, {"state": VolumeState.DETACHED},
        {"frozen_until": 1e9}, {"device": "server:/export", "filesystem": "nfs4"},
        {"device": "/dev/x", "filesystem": "fuse.x"},
    ],
)  # fmt: skip
def test_others_are_asked_each_time(changes: dict[str, object]) -> None:
    recent = RecentReports()
    recent.note([replace(SHOP, **changes)])  # type: ignore[arg-type]
    assert recent.usable((), is_news=False) == {}
