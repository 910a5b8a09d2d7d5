"""A job that is killed, or told to end, after any of its events: never is anybody left standing."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from holdfast import Holdfast, Job, MigrateRequest, Settings
from holdfast.jobs import Died, Finished, Interrupted
from tests.kernel.restoration.bench import application, is_settled, make_image, mounted

SEED = 20
MOST_EVENTS = 30
"""Before the last step that is told, of a small volume."""


@pytest.mark.timeout(1200)
def test_nobody_is_left_standing(
    settings: Settings, ram_directory: Path, soak_rounds: Callable[[int, int], int]
) -> None:
    random_ = random.Random(SEED)
    image = make_image(ram_directory / "0.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as running:
            for number in range(1, soak_rounds(3, 60) + 1):
                request = MigrateRequest("data", (f"file:{ram_directory}/{number}.img",))
                how = random_.choice((signal.SIGKILL, signal.SIGTERM))
                events = random_.randrange(MOST_EVENTS)
                about = f"seed {SEED}, round {number}: {how.name} after {events} events"
                job = Job(request, settings)
                for _ in islice(job, events):
                    pass
                if job.end is None:
                    os.kill(job.pid, how)
                expected = Died if how is signal.SIGKILL else Interrupted
                assert isinstance(job.wait(), (Finished, expected)), f"{about}: {job.end}"
                with Holdfast(settings) as holdfast:
                    holdfast.recover()
                    assert holdfast.restorations.in_progress("data") is None, about
                assert is_settled(running.pid), about
                running.wait_for_more()
            assert running.verify() > 0
