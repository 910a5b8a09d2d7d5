"""A connection that outlives its gate: whoever comes next ends it, and nobody waits any more."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.processes.remains import living_processes
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.shared_page import read_counters
from holdfast.model.finding import Verdict
from holdfast.model.volume import Volume
from holdfast.service.doctor import gates
from holdfast.service.holdfast import Holdfast
from holdfast.volumes.attach import attach_volume
from holdfast.volumes.detach import detach_volume
from holdfast.volumes.gate_device.loop_on_fuse.abandoned import end_abandoned, find_abandoned
from tests.faults import FuseLeg
from tests.faults.connection import abort_connection, copied_connection
from tests.kernel.volume.stack import SIZE, volume, wish
from tests.recovering import recover
from tests.waiting import wait_until

LEG_BYTES = SIZE + (64 << 20)
ENDED_SECONDS = 30.0


def connection_of(run_directory: Path) -> int:
    """The minor number of the gate's file system."""
    device = str(run_directory / "device")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if line.split()[4] == device:
            return int(line.split()[2].partition(":")[2])
    raise AssertionError(f"{device} is not mounted")


def pids_of(run_directory: Path) -> tuple[int, int]:
    counters = read_counters(run_directory)
    assert counters is not None
    return counters.keeper_pid, counters.worker_pid


def kill_both(run_directory: Path) -> None:
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids_of(run_directory):
            os.kill(pid, number)
    wait_until(lambda: not living_processes(run_directory))


@contextmanager
def abandoned(settings: Settings, made: Volume) -> Iterator[subprocess.Popen[bytes]]:
    """Its gate was killed and cannot let go of the connection: somebody waits for an answer."""
    run_directory = settings.gate_run_directory(made.name)
    connection = connection_of(run_directory)
    with copied_connection(pids_of(run_directory)[0]):
        kill_both(run_directory)
        writer = subprocess.Popen(
            ["dd", "if=/dev/zero", f"of={made.mount.path}/file", "bs=1M", "count=2", "conv=fsync"],
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: find_abandoned(settings, made.name).waiting() > 0)
            yield writer
        finally:
            if writer.poll() is None:  # so the connection is still that one
                abort_connection(connection)
            writer.wait(ENDED_SECONDS)


def with_service(settings: Settings, ask: Callable[[Holdfast], object]) -> None:
    with Holdfast(settings) as holdfast:
        ask(holdfast)


WHO: dict[str, Callable[[Settings, Volume], object]] = {
    "recover": lambda settings, _: recover(settings),
    "attach": attach_volume,
    "detach": detach_volume,
    "status": lambda settings, _: with_service(settings, Holdfast.status),
    "receipts": lambda settings, _: with_service(settings, Holdfast.receipts),
}


@pytest.mark.parametrize("who", WHO)
def test_ended_by_whoever_comes_next(settings: Settings, ram_directory: Path, who: str) -> None:
    with volume(settings, wish(ram_directory)) as made:
        with abandoned(settings, made) as writer:
            WHO[who](settings, made)
            assert writer.wait(ENDED_SECONDS) == 1
        with Holdfast(settings) as holdfast:
            [told] = [each for each in holdfast.receipts(made.name) if each.strategy == "lost"]
        assert "killed" in told.cause
        attach_volume(settings, made)
        (Path(made.mount.path) / "again").write_text("written")


def test_named_by_doctor(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, wish(ram_directory)) as made:
        assert list(gates.abandoned(settings)) == []
        with abandoned(settings, made):
            [found] = gates.abandoned(settings)
            assert (found.verdict, made.name in found.subject) == (Verdict.LIMITED, True)
            assert "holdfast recover" in found.mend
            recover(settings)
        assert list(gates.abandoned(settings)) == []


def test_a_killed_thread_hangs_inside_storage(settings: Settings, ram_directory: Path) -> None:
    """The worker cannot end, so it has the connection for as long as the storage hangs."""
    served = FuseLeg(ram_directory / "behind.img", ram_directory / "served.img", LEG_BYTES)
    with served as leg, volume(settings, wish(ram_directory, leg.url)) as made:
        run_directory = settings.gate_run_directory(made.name)
        connection = connection_of(run_directory)
        leg.hang()
        writer = subprocess.Popen(
            ["dd", "if=/dev/zero", f"of={made.mount.path}/file", "count=1", "conv=fsync"],
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: leg.waiting() > 0)
            kill_both(run_directory)
            assert any(f"ended the connection 0:{connection}" in x for x in recover(settings))
            assert writer.wait(ENDED_SECONDS) == 1
        finally:
            if writer.poll() is None:
                abort_connection(connection)
            leg.serve()
            writer.wait(ENDED_SECONDS)


def test_a_gate_that_lives_is_never_taken_for_one(settings: Settings, ram_directory: Path) -> None:
    """Nor is one whose keeper was just started when its worker died."""
    with volume(settings, wish(ram_directory)) as made:
        run_directory = settings.gate_run_directory(made.name)
        file = Path(made.mount.path) / "file"
        for _ in range(5):
            keeper, worker = pids_of(run_directory)
            os.kill(keeper, signal.SIGKILL)
            wait_until(partial(_has_successor, run_directory, keeper))
            os.kill(worker, signal.SIGKILL)
            while worker in pids_of(run_directory):
                assert living_processes(run_directory) != []
                assert end_abandoned(settings, made.name) == []
            file.write_text("written")
            subprocess.run(["sync", "--file-system", made.mount.path], check=True, timeout=60)
        with Holdfast(settings) as holdfast:
            assert [x for x in holdfast.receipts(made.name) if x.strategy == "lost"] == []


def _has_successor(run_directory: Path, keeper: int) -> bool:
    """Whether the worker has started another keeper, be it in service or not."""
    cells = shared_page.open_page(run_directory)
    return bool((shared_page.announced_keeper(cells)[0] or cells[shared_page.KEEPER_PID]) != keeper)
