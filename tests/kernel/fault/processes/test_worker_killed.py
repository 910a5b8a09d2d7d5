"""Fault: the worker is killed (-9): while it serves, holds, fails over, and resynchronises."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.members.superblock import container_bytes_needed
from holdfast.gate.runtime import shared_page
from tests.faults import LoopLeg
from tests.kernel.fault.bench import HANG_SECONDS, Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import FLUSHING, IDLE, ONE, TWO, WRITING, Cell, cells
from tests.kernel.volume.stack import SIZE
from tests.waiting import wait_until

KILLS = 5


def kill_worker(bench: Bench) -> None:
    """Kill the worker, and wait until the next one serves."""
    before = bench.gate.show()
    os.kill(before["worker_pid"], signal.SIGKILL)
    wait_until(lambda: bench.gate.show()["takeovers"] > before["takeovers"])


@cells()
def test_while_it_serves(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """Killed again and again: no error, nothing lost, both legs still in sync."""
    urls = plain_legs(ram_directory, 1, cell.legs)
    with Bench(settings, ram_directory, urls) as bench:
        with bench.during(cell):
            for _ in range(KILLS):
                kill_worker(bench)
                if bench.activity is not None:
                    bench.activity.goes_on()
        assert bench.gate.show()["takeovers"] == KILLS
        assert bench.leg_states() == dict.fromkeys(range(1, cell.legs + 1), "in-sync")
        bench.wait_for_receipt("takeover")
        bench.check(cell.legs)


@cells(legs=(TWO,), activities=(WRITING, FLUSHING))
def test_inside_both_legs(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """What was under way on both at once is done again by the next one."""
    with fuse_leg(ram_directory) as first, fuse_leg(ram_directory, "other") as second:
        legs = [first, second]
        with Bench(settings, ram_directory, [leg.url for leg in legs]) as bench:
            bench.images = {leg.url: leg.image for leg in legs}
            with bench.during(cell) as goes_on:
                for _ in range(KILLS):
                    goes_on()
                    before = bench.gate.show()
                    for leg in legs:
                        leg.hang(on=("write", "flush"))
                    wait_until(lambda: any(leg.waiting() for leg in legs))
                    os.kill(before["worker_pid"], signal.SIGKILL)
                    for leg in legs:
                        leg.serve()
                    wait_until(lambda: bench.gate.show()["takeovers"] > before["takeovers"])  # noqa: B023
                    bench.wait_until_healthy()
            assert not bench.gate.show()["errors_returned"]
            bench.check(2)


@cells()
def test_during_a_hold(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """The hold, its deadline and the requests in it outlive the worker."""
    with fuse_leg(ram_directory) as first, fuse_leg(ram_directory, "other") as second:
        legs = [first, second][: cell.legs]
        with Bench(settings, ram_directory, [leg.url for leg in legs]) as bench:
            bench.images = {leg.url: leg.image for leg in legs}
            page = shared_page.open_page(bench.run_directory)
            with bench.during(cell):
                for leg in legs:
                    leg.kill()
                if cell.activity == IDLE:
                    bench.start(FLUSHING, wait=False)
                bench.wait_until_held()
                deadline = page[shared_page.STORAGE_HOLD_DEADLINE]
                kill_worker(bench)
                assert bench.held()
                assert page[shared_page.STORAGE_HOLD_DEADLINE] == deadline
                assert bench.activity is not None
                bench.activity.waits()
                for leg in legs:
                    leg.start()
            bench.wait_until_healthy()
            bench.check(cell.legs)


@cells(legs=(TWO,))
def test_during_a_failover(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """Killed between the failure of a leg and the epoch that excludes it, or shortly after."""
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, 2)]
        with Bench(settings, ram_directory, urls) as bench:
            bench.images[leg.url] = leg.image
            with bench.during(cell) as goes_on:
                for _ in range(2):
                    leg.error()
                    kill_worker(bench)
                    goes_on()
                    bench.wait_for_leg(1)
                    leg.serve()
                    bench.wait_until_healthy()
            bench.check(2)


@cells(legs=(TWO,))
@pytest.mark.parametrize("kind", ["image", "disk"])
def test_while_a_leg_hangs(settings: Settings, ram_directory: Path, cell: Cell, kind: str) -> None:
    """The dead worker cannot end and has all locks: the next one serves from the other leg."""
    with (
        fuse_leg(ram_directory) as leg,
        LoopLeg(ram_directory / "disk.img", container_bytes_needed(SIZE)) as disk,
    ):
        other = disk.url if kind == "disk" else plain_legs(ram_directory, 2, 2)[0]
        with Bench(
            settings, ram_directory, [leg.url, other], hang_timeout_seconds=HANG_SECONDS
        ) as bench:
            bench.images = {leg.url: leg.image, disk.url: disk.image}
            with bench.during(cell) as goes_on:
                leg.hang()
                goes_on()
                bench.wait_for_leg(1)
                kill_worker(bench)
                goes_on()
                assert bench.leg_states() == {1: "failed", 2: "in-sync"}
                leg.serve()
            bench.wait_until_healthy()
            bench.check(2)


@cells(legs=(TWO,))
def test_at_the_moment_a_leg_hangs(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """A worker that is killed before its watchdog struck may end only with the hang: held so long.

    Its last thread hangs while the kernel closes its legs for it, and no lock can be had from it.
    """
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, 2)]
        with Bench(settings, ram_directory, urls, hang_timeout_seconds=HANG_SECONDS) as bench:
            bench.images[leg.url] = leg.image
            with bench.during(cell) as goes_on:
                leg.stop()
                kill_worker(bench)
                leg.resume()
                goes_on()
            bench.wait_until_healthy()
            bench.check(2)


@cells(legs=(ONE,))
def test_during_a_resynchronisation(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """The next worker goes on with the copy; the leg is no source before it is complete."""
    urls = plain_legs(ram_directory, 1, 1)
    with Bench(settings, ram_directory, urls) as bench:
        (bench.mountpoint / "ballast").write_bytes(os.urandom(24 << 20))
        with bench.during(cell):
            bench.gate.add_leg(f"file:{ram_directory}/new.img")
            for _ in range(3):
                kill_worker(bench)
        bench.wait_until_healthy(2)
        bench.check(2)
