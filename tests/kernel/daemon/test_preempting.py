"""A leg gets slow under a writer: it is told, and where a policy says so a spare takes its place
before it fails. The writer sees no error."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.daemon.preempting import Preempting
from holdfast.detection import trends
from holdfast.detection.trends import Trends
from holdfast.model.evidence import Evidence
from holdfast.model.policy import OnWorse
from holdfast.model.volume import LegState, VolumeReport
from holdfast.policy.memory import folder_of
from holdfast.policy.trends import LEAST_WINDOWS, LegTrend, after_window
from holdfast.service import Holdfast, NewVolume
from tests.faults.fuse_leg import FuseLeg
from tests.kernel.gate.kept_volume import Writer
from tests.kernel.volume.stack import SIZE
from tests.waiting import wait_until


def remember_a_day(settings: Settings, report: VolumeReport) -> None:
    """As if all its legs had been fast for so long."""
    course = LegTrend()
    for _ in range(LEAST_WINDOWS):
        course = after_window(course, 0.0005, 0.0005)
    known = [
        {"leg": leg.id, "kind": "flush", "course": asdict(course)}
        for leg in report.legs
        if leg.state is LegState.IN_SYNC
    ]
    path = folder_of(settings.state_directory) / "trends.json"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(json.dumps({"courses": known}))


def test_a_spare_takes_the_place_of_a_leg_that_gets_slow(
    settings: Settings, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trends, "LEAST_REQUESTS", 5)
    image = ram_directory / "b.img"
    with FuseLeg(image, ram_directory / "served", 2 * SIZE) as slow, Holdfast(settings) as holdfast:
        mount, first, spare = (ram_directory / name for name in ("mnt", "a.img", "c.img"))
        legs = (f"file:{first}", slow.url)
        holdfast.create_volume(NewVolume("shop", SIZE, str(mount), leg_urls=legs))
        try:
            holdfast.legs.add("shop", f"file:{spare}", spare=True)
            remember_a_day(settings, holdfast.show_volume("shop"))
            preempting = Preempting(holdfast)
            preempting._trends = Trends(settings.state_directory, lambda name: (), 0.3)

            def look() -> tuple[Evidence, ...]:
                return preempting.look(holdfast.list_volumes())

            def urls() -> list[str]:
                return [each.url for each in holdfast.show_volume("shop").legs]

            with Writer(mount):
                assert not look()
                slow.delay(0.04, on=("write", "flush"))
                wait_until(lambda: bool(look()), "it was not seen")
                (told,) = look()
                assert (told.volume, told.about) == ("shop", "leg 2")
                assert "nine of ten flushes" in told.words and "leg replace shop 2" in told.mend
                assert urls() == [*legs, f"file:{spare}"], "nothing is replaced by default"
                holdfast.policies.set("shop", on_worse=OnWorse.REPLACE)
                wait_until(lambda: not look() and len(urls()) == 2, "it was not replaced")
                assert urls() == [f"file:{first}", f"file:{spare}"]
            strategies = [each.strategy for each in holdfast.receipts("shop")]
            assert "failover" not in strategies, "it left before it failed"
        finally:
            holdfast.delete_volume("shop")
