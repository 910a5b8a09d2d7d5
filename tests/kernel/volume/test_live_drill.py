"""Failures are rehearsed on a volume in use: nobody sees an error, no leg is lost that matters."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked
from holdfast.model.drill import phases_of
from holdfast.model.volume import LegState, VolumeState
from holdfast.service import Holdfast, LiveDrillRequest, NewVolume, perform
from holdfast.service.last_drills import last_drill
from holdfast.service.live_drills import END_THE_WORKER, FAIL_A_LEG, MOUNT_ANEW, plan_live
from holdfast.system.mounts.mount_table import mount_at
from tests.kernel.gate.kept_volume import Writer
from tests.kernel.restoration.unattended_bench import losing
from tests.kernel.volume.stack import SIZE


def test_an_adopted_one_is_mounted_anew(settings: Settings, ram_directory: Path) -> None:
    with losing(settings, ram_directory) as used, Holdfast(settings) as holdfast:
        before = mount_at(used.path)
        assert "may stand still" in plan_live(holdfast, LiveDrillRequest("data"))[0]
        receipt = perform(holdfast, LiveDrillRequest("data"))
        assert receipt.outcome.startswith("done"), receipt.outcome
        used.goes_on()
        assert used.running.progress()[1] == 0, "no error was seen"
        (anew,) = [each for each in holdfast.receipts("data") if each.strategy == "remount"]
        (part,) = phases_of(receipt)
        assert part.name == MOUNT_ANEW and part.longest_wait_ms == anew.longest_wait_ms > 0
        assert part.predicted_wait_ms == pytest.approx(
            anew.details["predicted_pause_seconds"] * 1000, rel=0.9
        )
        after = mount_at(used.path)
        assert before is not None and after is not None
        assert after.identifier != before.identifier, "it was really dismounted"
        used.lose(read_only=True)
        with pytest.raises(Blocked):
            perform(holdfast, LiveDrillRequest("data"))


def test_worker_and_leg(settings: Settings, ram_directory: Path) -> None:
    mount, legs = ram_directory / "mnt", [f"file:{ram_directory}/{name}.img" for name in "ab"]
    with Holdfast(settings) as holdfast:
        holdfast.create_volume(NewVolume("shop", SIZE, str(mount), leg_urls=tuple(legs)))
        try:
            with Writer(mount):
                first = perform(holdfast, LiveDrillRequest("shop"))
                assert first.outcome.startswith("done"), first.outcome
                assert [each.name for each in first.steps] == [END_THE_WORKER]
                assert "--down-to-one-leg" in first.details["remarks"][0]
                assert [each.state for each in holdfast.show_volume("shop").legs] == [
                    LegState.IN_SYNC
                ] * 2
                second = perform(holdfast, LiveDrillRequest("shop", down_to_one_leg=True))
            assert second.outcome.startswith("done"), second.outcome
            assert [each.name for each in second.steps] == [END_THE_WORKER, FAIL_A_LEG]
            known, *_ = phases_of(first)
            worker, leg = phases_of(second)
            assert worker.predicted_wait_ms == known.longest_wait_ms and known.longest_wait_ms
            assert second.longest_wait_ms == max(
                worker.longest_wait_ms or 0, leg.longest_wait_ms or 0
            )
            report = holdfast.show_volume("shop")
            assert report.state is VolumeState.HEALTHY
            assert report.gate is not None and report.gate.takeovers >= 2
            assert report.gate.errors_returned == 0
            done = {each.strategy for each in holdfast.receipts("shop")}
            assert {"takeover", "failover", "resync", "drill-live"} <= done
            assert last_drill(holdfast.catalog, "shop") is None, "it says nothing of a restoration"
            holdfast.hold("shop", 60.0, "by a test")
            with pytest.raises(Blocked):
                perform(holdfast, LiveDrillRequest("shop"))
            holdfast.release("shop")
        finally:
            holdfast.delete_volume("shop")
