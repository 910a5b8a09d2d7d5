"""A new version is installed under a gate in use: it takes over without an error.

`tests/data/holdfast-0.1.0.tar.xz` is the code of version 0.1.0 that runs in a gate's processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from holdfast.config import Settings
from holdfast.gate.members.configuration import (
    GateConfiguration,
    LegEntry,
    load_configuration,
    save_configuration,
)
from holdfast.gate.members.superblock import (
    Member,
    Settled,
    Superblock,
    container_bytes_needed,
    encode,
)
from holdfast.gate.outside.renewing import renew
from holdfast.model.version import VERSION
from holdfast.model.volume import LegState
from holdfast.service import Holdfast, NewVolume
from tests.faults import LoopLeg
from tests.kernel.fault.bench import HANG_SECONDS, Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import Cell
from tests.kernel.fault.processes.test_worker_killed import kill_worker
from tests.kernel.volume.stack import SIZE
from tests.waiting import wait_until

OLD = Path(__file__).parents[2] / "data" / "holdfast-0.1.0.tar.xz"
SECONDS = 60.0


@pytest.fixture
def install(ram_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Puts a version in the place where gates find it; now it is the old one."""
    place = ram_directory / "installed"
    old = ram_directory / "old"
    for folder in (place, old):
        folder.mkdir()
    subprocess.run(["tar", "--extract", "--file", OLD, "--directory", old], check=True)

    def put(version: Path) -> None:
        new = place / "new"
        new.symlink_to(version)
        new.rename(place / "holdfast")

    put(old / "holdfast")
    monkeypatch.setenv("PYTHONPATH", str(place))
    return put


NEW = Path(holdfast.__file__).parent


def code_of(bench: Bench) -> tuple[str, str]:
    """The version that the worker says, and the program that the keeper is."""
    shown = bench.gate.show()
    command = Path(f"/proc/{shown['keeper_pid']}/cmdline").read_bytes().split(b"\0")
    return shown.get("version", "0.1.0"), command[3].decode()


def test_a_gate_of_the_version_before_is_renewed_under_its_users(
    settings: Settings, ram_directory: Path, install: Callable[[Path], None]
) -> None:
    with Bench(settings, ram_directory, plain_legs(ram_directory, 1, 2)) as bench:
        assert code_of(bench) == ("0.1.0", "start")
        with bench.during(Cell(2, "writing")):
            install(NEW)
            renew(bench.run_directory, SECONDS)
            assert code_of(bench) == (VERSION, "resume")
            assert bench.activity is not None
            bench.activity.goes_on()
        assert bench.gate.show()["errors_returned"] == 0
        bench.check(2)


def test_by_command(
    settings: Settings, ram_directory: Path, install: Callable[[Path], None]
) -> None:
    url = f"file:{ram_directory}/1.img"
    wanted = NewVolume("shop", 128 << 20, str(ram_directory / "mnt"), leg_urls=(url,))
    with Holdfast(settings) as service:
        report = service.create_volume(wanted)
        try:
            assert report.gate is not None
            assert report.gate.version == "0.1.0"
            install(NEW)
            report = service.restart_gate("shop")
            assert report.gate is not None
            assert report.gate.version == VERSION
        finally:
            service.delete_volume("shop")


@pytest.mark.parametrize("first", ["keeper", "worker"])
def test_old_and_new_work_together_until_the_next_takeover(
    settings: Settings, ram_directory: Path, install: Callable[[Path], None], first: str
) -> None:
    """Whoever is killed first; an old keeper brings an old worker, an old worker a new keeper."""
    with Bench(settings, ram_directory, plain_legs(ram_directory, 1, 2)) as bench:
        with bench.during(Cell(2, "writing")):
            install(NEW)
            before = bench.counters()
            pid = before.keeper_pid if first == "keeper" else before.worker_pid
            os.kill(pid, signal.SIGKILL)
            wait_until(
                lambda: pid not in (bench.counters().keeper_pid, bench.counters().worker_pid)
            )
            assert bench.activity is not None
            bench.activity.goes_on()
            renew(bench.run_directory, SECONDS)
            bench.activity.goes_on()
            assert code_of(bench)[0] == VERSION
        bench.check(2)


def test_the_worker_of_the_version_before_cannot_end(
    settings: Settings, ram_directory: Path, install: Callable[[Path], None]
) -> None:
    """It hangs in a leg, and has the disk that is the other: all that come after it are told."""
    with (
        fuse_leg(ram_directory) as leg,
        LoopLeg(ram_directory / "disk.img", container_bytes_needed(SIZE)) as disk,
        Bench(
            settings, ram_directory, [leg.url, disk.url], hang_timeout_seconds=HANG_SECONDS
        ) as bench,
    ):
        bench.images = {leg.url: leg.image, disk.url: disk.image}
        with bench.during(Cell(2, "flushing")) as goes_on:
            install(NEW)
            before = bench.counters()
            bench.kill(before.keeper_pid)
            wait_until(lambda: bench.counters().keeper_pid != before.keeper_pid)
            wait_until(lambda: code_of(bench)[1] == "resume")
            leg.hang()
            goes_on()
            bench.wait_for_leg(1)
            for _ in range(3):
                kill_worker(bench)
                goes_on()
            assert code_of(bench)[0] == VERSION
            assert bench.leg_states() == {1: "failed", 2: "in-sync"}
            leg.serve()
        bench.wait_until_healthy()
        bench.check(2)


@pytest.mark.usefixtures("install")
@pytest.mark.parametrize("raised_from", [None, Settled(3, ("leg-1", "leg-2"))])
def test_the_version_before_reads_superblocks_of_this_one(raised_from: Settled | None) -> None:
    """Also while a raise has not ended, which it knows nothing of."""
    members = (Member(1, "leg-1", "file:/1.img", LegState.IN_SYNC),)
    written = Superblock("v", "leg-1", 1, 1 << 30, 4, 9, members=members, raised_from=raised_from)
    program = (
        "import sys; from holdfast.gate.superblock import decode;"
        "found = decode(sys.stdin.buffer.read());"
        "print(found.epoch, found.sequence, found.members[0].id)"
    )
    said = subprocess.run(
        [sys.executable, "-P", "-c", program],
        input=encode(written),
        check=True,
        capture_output=True,
    )
    assert said.stdout == b"4 9 leg-1\n"


OF_CONFIGURATIONS = (
    "import sys; from pathlib import Path; from holdfast.gate import configuration as known;"
    "folder = Path(sys.argv[1]); found = known.load_configuration(folder);"
    "print(found.epoch, found.legs[0].url); known.save_configuration(folder, found)"
)


@pytest.mark.usefixtures("install")
def test_both_read_gate_json_of_each_other(ram_directory: Path) -> None:
    """An old worker may come after a new one, and a new one after that."""
    written = GateConfiguration(
        "shop", "v", 64 << 20, 4, (LegEntry(1, "leg-1", "file:/1.img"),), ("file:/2.img",)
    )
    save_configuration(ram_directory, written)
    said = subprocess.run(
        [sys.executable, "-P", "-c", OF_CONFIGURATIONS, ram_directory],
        check=True,
        capture_output=True,
    )
    assert said.stdout == b"4 file:/1.img\n"
    assert load_configuration(ram_directory) == written
