"""What is drilled with the daemon: the way to whoever is told, and volumes by their schedule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import InvalidOption, NotDelivered
from holdfast.policy.drill_schedules import read_schedules, set_schedule
from holdfast.service import AlertDrillRequest, DrillRequest, Holdfast, perform
from holdfast.service.alert_drills import SEEN, SETTLED, TAKEN
from holdfast.service.drills import schedule_drill
from holdfast.service.last_drills import last_drill
from holdfast.service.seen import shown_volumes
from tests.kernel.daemon.pager import daemon, pager_in, told
from tests.kernel.restoration.unattended_bench import losing
from tests.waiting import wait_until

ALERT = AlertDrillRequest("data")


def test_alert_and_schedule(settings: Settings, ram_directory: Path, disk_directory: Path) -> None:
    log, refusing = disk_directory / "log", disk_directory / "refusing"
    with losing(settings, ram_directory) as lost, Holdfast(settings) as holdfast:
        with pytest.raises(InvalidOption):
            perform(holdfast, ALERT)
        pager = f"command:{pager_in(disk_directory, log)}"
        holdfast.alerts.add(pager)
        refusing.write_text("#!/bin/sh\necho full; exit 1\n")
        refusing.chmod(0o755)
        holdfast.alerts.add(f"command:{refusing}")
        with pytest.raises(NotDelivered):
            perform(holdfast, ALERT)
        request = DrillRequest("data", contents=lost.copy)
        with pytest.raises(InvalidOption):
            schedule_drill(holdfast, request, 60.0)
        schedule_drill(holdfast, request, 7 * 86400.0)
        # One that is late is begun whether or not the host is quiet.
        (kept,) = read_schedules(settings.state_directory)
        late = replace(kept, set_at=kept.set_at - kept.every_seconds)
        set_schedule(settings.state_directory, "data", late)
        ((_, wrong),) = shown_volumes(holdfast, "data")
        assert [each.about for each in wrong] == ["drill schedule"], "no daemon runs"
        with daemon():
            wait_until(lambda: last_drill(holdfast.catalog, "data") is not None)
            found = last_drill(holdfast.catalog, "data")
            assert found is not None and found.worked, found
            lost.goes_on()
            failed = perform(holdfast, ALERT)
            assert failed.outcome.startswith("failed: ") and "full" in failed.outcome
            assert f"{pager} took it after" in failed.verification
            holdfast.alerts.remove(f"command:{refusing}")
            receipt = perform(holdfast, ALERT)
            assert receipt.outcome == "done: everybody was told"
            assert [each.name for each in receipt.steps] == [SEEN, SETTLED, TAKEN]
            wait_until(lambda: "ended" in {each["kind"] for each in told(log)})
            assert all("nothing is wrong" in each["subject"] for each in told(log))
        schedule_drill(holdfast, request, None)
        assert not [each.name for each in ram_directory.glob(".drill-*")]
