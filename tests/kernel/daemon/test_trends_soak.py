"""Load of all kinds on a gated volume whose storage is well: no leg is said to get worse.

Windows are a second long instead of ten minutes, so that a soak has as many as a month of work.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.detection import trends
from holdfast.detection.trends import Trends
from holdfast.gate.outside.client import read_counters
from holdfast.policy import trends as rules
from holdfast.service import Holdfast, NewVolume
from tests.kernel.daemon.test_false_alarms import WRITES, at_work
from tests.kernel.volume.stack import SIZE
from tests.soak import rounds

SECONDS = rounds(2, 3600)
WINDOW_SECONDS = rounds(1, 5) / 5
LEARNED_WINDOWS = rounds(5, rules.LEAST_WINDOWS)
STOPPED_SECONDS = 0.2


@pytest.mark.timeout(SECONDS + 300)
def test_no_leg_is_worse_under_load(
    settings: Settings, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trends, "LEAST_REQUESTS", 20)
    monkeypatch.setattr(rules, "LEAST_WINDOWS", LEARNED_WINDOWS)
    chance, judged = random.Random(1), 0
    with Holdfast(settings) as holdfast:
        mount, legs = ram_directory / "mnt", [f"file:{ram_directory}/{name}.img" for name in "ab"]
        holdfast.create_volume(NewVolume("shop", SIZE, str(mount), leg_urls=tuple(legs)))
        try:
            watched = Trends(settings.state_directory, lambda name: (), WINDOW_SECONDS)
            with ExitStack() as stack:
                stack.enter_context(at_work(WRITES, mount / "flushed", "flush"))
                end = time.monotonic() + SECONDS
                while time.monotonic() < end:
                    with ExitStack() as load:
                        if chance.random() < 0.5:
                            load.enter_context(at_work(WRITES, mount / "dirty"))
                        if chance.random() < 0.5:
                            load.enter_context(at_work("while True: pass"))
                        for _ in range(5):
                            time.sleep(WINDOW_SECONDS / 2)
                            assert watched.look(holdfast.list_volumes()) == ()
                        counters = read_counters(settings.gate_run_directory("shop"))
                        assert counters is not None
                        os.kill(counters.worker_pid, signal.SIGSTOP)
                        time.sleep(STOPPED_SECONDS)
                        os.kill(counters.worker_pid, signal.SIGCONT)
                judged = sum(count for _, count in watched._courses.popitem()[1].own)
        finally:
            holdfast.delete_volume("shop")
    assert judged > 0, "nothing was judged: there was too little work"
