"""Without a journal compiled code serves writes and flushes, or Python does: the same faults."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.data.compiled import VARIABLE
from holdfast.model.volume import JournalMode
from holdfast.service.doctor.processes import fast_path
from tests.faults import FuseLeg
from tests.kernel.fault.bench import CALM_SECONDS, HANG_SECONDS, Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import FLUSHING, ONE, READING, WRITING, Cell, cells
from tests.waiting import wait_until

KILLS = 5
BUSY = (READING, WRITING, FLUSHING)
both = pytest.mark.parametrize("served_by", ["compiled", "python"])


@pytest.fixture(autouse=True)
def choice(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gates inherit it."""
    if request.node.callspec.params["served_by"] == "python":
        monkeypatch.setenv(VARIABLE, "0")


@contextmanager
def bench(
    settings: Settings, folder: Path, urls: list[str], served_by: str, hang: float = CALM_SECONDS
) -> Iterator[Bench]:
    with Bench(settings, folder, urls, journal=JournalMode.NONE, hang_timeout_seconds=hang) as made:
        assert made.gate.show()["compiled"] is (served_by == "compiled")
        yield made


@both
@cells(activities=BUSY)
def test_the_worker_is_killed(
    settings: Settings, ram_directory: Path, cell: Cell, served_by: str
) -> None:
    with bench(settings, ram_directory, plain_legs(ram_directory, 1, cell.legs), served_by) as made:
        with made.during(cell) as goes_on:
            for _ in range(KILLS):
                before = made.gate.show()
                os.kill(before["worker_pid"], signal.SIGKILL)
                wait_until(lambda: made.gate.show()["takeovers"] > before["takeovers"])  # noqa: B023
                goes_on()
        assert made.leg_states() == dict.fromkeys(range(1, cell.legs + 1), "in-sync")
        assert not made.gate.show()["errors_returned"]
        made.wait_for_receipt("takeover")
        made.check(cell.legs)


def _break_and_mend(made: Bench, leg: FuseLeg, cell: Cell, *, hangs: bool) -> None:
    made.images[leg.url] = leg.image
    with made.during(cell) as goes_on:
        if hangs:
            leg.stop()
        else:
            leg.kill()
        if cell.legs == ONE:
            made.wait_until_held()
        else:
            goes_on()
            made.wait_for_leg(1)
        if hangs:
            leg.resume()
        else:
            leg.start()
    made.wait_until_healthy()
    made.check(cell.legs)


@both
@cells(activities=BUSY)
def test_a_leg_hangs(settings: Settings, ram_directory: Path, cell: Cell, served_by: str) -> None:
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, cell.legs)]
        with bench(settings, ram_directory, urls, served_by, HANG_SECONDS) as made:
            _break_and_mend(made, leg, cell, hangs=True)


@both
@cells(activities=BUSY)
def test_a_leg_is_lost(settings: Settings, ram_directory: Path, cell: Cell, served_by: str) -> None:
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, cell.legs)]
        with bench(settings, ram_directory, urls, served_by) as made:
            _break_and_mend(made, leg, cell, hangs=False)


@pytest.mark.parametrize("served_by", ["compiled"])
def test_doctor_says_that_it_is_there(served_by: str) -> None:
    assert [found.verdict for found in fast_path()] == ["ok"]
