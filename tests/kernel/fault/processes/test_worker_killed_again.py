"""Fault: one worker after another is killed (-9) while the first cannot end, as a leg hangs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.members.superblock import container_bytes_needed
from holdfast.gate.runtime import shared_page
from holdfast.system.processes.process_state import threads_of
from tests.faults import LoopLeg
from tests.kernel.fault.bench import HANG_SECONDS, Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import FLUSHING
from tests.kernel.volume.stack import SIZE
from tests.waiting import wait_until


def wait_until_another_serves(cells: memoryview, before: int) -> None:
    """Until a worker after that one serves; the page alone is asked."""
    wait_until(
        lambda: (
            cells[shared_page.WORKER_PID] not in (0, before)
            and cells[shared_page.SERVING] == cells[shared_page.GENERATION]
        )
    )


def wait_until_it_serves(bench: Bench, cells: memoryview, before: int) -> None:
    """The same, and the application goes on."""
    wait_until_another_serves(cells, before)
    assert bench.activity is not None
    bench.activity.goes_on()


def kill_those_that_serve(bench: Bench, cells: memoryview) -> None:
    """Each of them has taken the other leg from the dead."""
    for _ in range(3):
        worker = cells[shared_page.WORKER_PID]
        bench.kill(worker)
        wait_until_it_serves(bench, cells, worker)


def kill_those_that_begin(bench: Bench, cells: memoryview) -> None:
    """None of the successors has a leg yet."""
    worker = cells[shared_page.WORKER_PID]
    bench.kill(worker)
    for _ in range(2):
        killed = worker
        while worker == killed:
            worker = cells[shared_page.WORKER_PID]  # it is to be met before it begins
        bench.kill(worker)
    wait_until_it_serves(bench, cells, worker)


def kill_with_the_standby(bench: Bench, cells: memoryview) -> None:
    """The successor is forked, and then there is one that stood by."""
    worker, standby = cells[shared_page.WORKER_PID], shared_page.announced_standby(cells)[0]
    bench.kill(worker)
    bench.kill(standby)
    wait_until_it_serves(bench, cells, worker)
    wait_until(lambda: bool(shared_page.announced_standby(cells)[0]))
    worker = cells[shared_page.WORKER_PID]
    bench.kill(worker)
    wait_until_it_serves(bench, cells, worker)


def kill_with_the_keeper_in_between(bench: Bench, cells: memoryview) -> None:
    """The keeper that starts the last worker has not known the first."""
    worker = cells[shared_page.WORKER_PID]
    bench.kill(worker)
    wait_until_it_serves(bench, cells, worker)
    keeper, worker = cells[shared_page.KEEPER_PID], cells[shared_page.WORKER_PID]
    bench.kill(keeper)
    wait_until(lambda: cells[shared_page.KEEPER_PID] != keeper)
    bench.kill(worker)
    wait_until_it_serves(bench, cells, worker)


@pytest.mark.parametrize("kind", ["image", "disk"])
@pytest.mark.parametrize(
    "kill",
    [
        kill_those_that_serve,
        kill_those_that_begin,
        kill_with_the_standby,
        kill_with_the_keeper_in_between,
    ],
)
def test_the_other_leg_is_taken_from_whoever_has_it(
    settings: Settings, ram_directory: Path, kind: str, kill: Callable[[Bench, memoryview], None]
) -> None:
    """No hold, no error: each of those that died is known, and asked for what it has locked."""
    with (
        fuse_leg(ram_directory) as leg,
        LoopLeg(ram_directory / "disk.img", container_bytes_needed(SIZE)) as disk,
    ):
        other = disk.url if kind == "disk" else plain_legs(ram_directory, 2, 2)[0]
        with Bench(
            settings, ram_directory, [leg.url, other], hang_timeout_seconds=HANG_SECONDS
        ) as bench:
            bench.images = {leg.url: leg.image, disk.url: disk.image}
            activity = bench.start(FLUSHING)
            cells = shared_page.open_page(bench.run_directory)
            leg.hang()
            activity.goes_on()
            bench.wait_for_leg(1)
            wait_until(lambda: bool(shared_page.announced_standby(cells)[0]))
            kill(bench, cells)
            assert bench.leg_states() == {1: "failed", 2: "in-sync"}
            leg.serve()
            bench.wait_until_healthy()
            bench.check(2)


@pytest.mark.parametrize("kind", ["image", "disk"])
def test_each_hangs_in_another_leg(settings: Settings, ram_directory: Path, kind: str) -> None:
    """The third leg is had from the second one still when the first has ended at last."""
    with (
        fuse_leg(ram_directory) as first,
        fuse_leg(ram_directory, "other") as second,
        LoopLeg(ram_directory / "disk.img", container_bytes_needed(SIZE)) as disk,
    ):
        third = disk.url if kind == "disk" else plain_legs(ram_directory, 3, 3)[0]
        urls = [first.url, second.url, third]
        with Bench(settings, ram_directory, urls, hang_timeout_seconds=HANG_SECONDS) as bench:
            bench.images = {each.url: each.image for each in (first, second, disk)}
            activity = bench.start(FLUSHING)
            cells = shared_page.open_page(bench.run_directory)
            hung = []
            for number, leg in enumerate((first, second), 1):
                leg.hang()
                activity.goes_on()
                bench.wait_for_leg(number)
                hung.append(cells[shared_page.WORKER_PID])
                bench.kill(hung[-1])
                wait_until_it_serves(bench, cells, hung[-1])
            first.serve()
            wait_until(lambda: not threads_of(hung[0]))
            assert threads_of(hung[1])
            bench.wait_for_leg(1, "in-sync")
            first.hang()
            activity.goes_on()
            bench.wait_for_leg(1)
            kill_those_that_serve(bench, cells)
            assert bench.leg_states() == {1: "failed", 2: "failed", 3: "in-sync"}
            for leg in (first, second):
                leg.serve()
            bench.wait_until_healthy()
            bench.check(3)


def test_the_last_leg_hangs_as_well(settings: Settings, ram_directory: Path) -> None:
    """Held until it answers; the dead of both legs are gone then, and nothing was lost."""
    with fuse_leg(ram_directory) as first, fuse_leg(ram_directory, "other") as second:
        urls = [first.url, second.url]
        with Bench(settings, ram_directory, urls, hang_timeout_seconds=HANG_SECONDS) as bench:
            bench.images = {each.url: each.image for each in (first, second)}
            activity = bench.start(FLUSHING)
            cells = shared_page.open_page(bench.run_directory)
            first.hang()
            activity.goes_on()
            bench.wait_for_leg(1)
            worker = cells[shared_page.WORKER_PID]
            bench.kill(worker)
            wait_until_it_serves(bench, cells, worker)
            second.hang()
            bench.wait_until_held()
            for _ in range(2):
                worker = cells[shared_page.WORKER_PID]
                bench.kill(worker)
                wait_until_another_serves(cells, worker)
                assert bench.held()
            for leg in (first, second):
                leg.serve()
            bench.wait_until_healthy()
            activity.goes_on()
            bench.check(2)
