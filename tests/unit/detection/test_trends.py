"""Histograms of gates become courses of legs, which outlive the daemon."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from holdfast.detection.trends import Trends
from holdfast.model.leg_times import STEPS
from holdfast.model.receipt import Receipt, ReceiptStep
from holdfast.model.volume import GATED, GateReport, LegReport, LegState, VolumeReport, VolumeState
from holdfast.policy.memory import folder_of
from holdfast.policy.trends import LEAST_WINDOWS, LegTrend, after_window

QUICK, SLOW = 11, 19  # 2 ms, 0.5 s
GATE = GateReport(1, 2, False, "", None, 0, 0, 0, 0.0)


class Legs:
    """What a gate says of two legs that get the same."""

    def __init__(self) -> None:
        self.counts = [[0] * STEPS, [0] * STEPS]

    def report(self, *steps: int, state: VolumeState = VolumeState.HEALTHY) -> VolumeReport:
        """After 200 flushes more, each of which took about so long."""
        for counts, step in zip(self.counts, steps, strict=True):
            counts[step] += 200
        idle = (0,) * STEPS
        legs = tuple(
            LegReport(number, f"id-{number}", f"file:/{number}.img", LegState.IN_SYNC, times=times)
            for number, times in enumerate(
                (
                    {"short-write": idle, "long-write": idle, "flush": tuple(each), "read": idle}
                    for each in self.counts
                ),
                1,
            )
        )
        return VolumeReport(
            *("shop", GATED, state, "/shop", "ext4", 1, "/dev/loop9", "id", "", "", "", ""),
            *(1, legs, GATE),
        )


def test_a_leg_is_told_that_gets_slow_also_by_the_next_daemon(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    course = LegTrend()
    for _ in range(LEAST_WINDOWS - 2):
        course = after_window(course, 0.002, 0.002)
    known = [{"leg": leg, "kind": "flush", "course": asdict(course)} for leg in ("id-1", "id-2")]
    path = folder_of(tmp_path) / "trends.json"
    path.parent.mkdir(mode=0o700)
    path.write_text(json.dumps({"courses": known}))
    legs, trends = Legs(), Trends(tmp_path, lambda volume: (), window_seconds=0.0)
    for _ in range(3):
        assert not trends.look([legs.report(QUICK, QUICK)])
    trends.look([legs.report(QUICK, SLOW, state=VolumeState.DEGRADED)])  # a window that is none
    trends.look([legs.report(QUICK, QUICK)])
    for _ in range(2):
        assert not trends.look([legs.report(QUICK, SLOW)])
    trends = Trends(tmp_path, lambda volume: (), window_seconds=0.0)
    assert not trends.look([legs.report(QUICK, SLOW)])  # begins a window
    (found,) = trends.look([legs.report(QUICK, SLOW)])
    assert (found.volume, found.about, found.grave) == ("shop", "leg 2", False)
    assert "nine of ten flushes" in found.words
    assert {each["leg"] for each in json.loads(path.read_text())["courses"]} == {"id-1", "id-2"}
    path.write_text("damaged")
    assert not Trends(tmp_path, lambda volume: ()).look([legs.report(QUICK, SLOW)])


def test_a_leg_that_failed_again_and_again_and_not_in_a_rehearsal(tmp_path: Path) -> None:
    def told(receipts: list[Receipt]) -> Mapping[str, str]:
        found = Trends(tmp_path, lambda volume: receipts).look([Legs().report(QUICK, QUICK)])
        return {each.about: each.words for each in found}

    now = time.time()
    step = ReceiptStep("leg 1 failed", now - 5, 0.0, "write: Input/output error")
    failed = Receipt("r", "shop", "failover", "leg 1 write: …", now - 5, now, "done", (step,))
    assert "3 times within a day" in told([failed] * 3)["leg 1"]
    assert told([failed] * 2) == {}
    rehearsed = replace(step, outcome="write: drill leg-eio")
    assert told([replace(failed, steps=(rehearsed,))] * 3) == {}
