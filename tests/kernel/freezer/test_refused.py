"""Who serves the volume, we ourselves, and PID 1 are never frozen."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from holdfast.applications.freezers.servers import Protection, servers_below
from holdfast.config import Settings
from holdfast.errors import AlreadyFrozen, CannotFreeze, NotFrozen
from holdfast.gate.outside.client import GateClient
from holdfast.mountpoints.capture import capture
from tests.faults import FuseLeg
from tests.kernel.freezer.bench import freeze_bench
from tests.kernel.volume.stack import volume, wish


def test_servers_of_a_gated_volume_and_of_its_leg(settings: Settings, ram_directory: Path) -> None:
    """Keeper, worker, and the FUSE server below a leg; an application is none of them."""
    with (
        FuseLeg(ram_directory / "leg.img", ram_directory / "served.img", 80 << 20) as leg,
        volume(settings, wish(ram_directory, leg.url)) as made,
    ):
        points = capture(made.mount.path)
        places = [url.partition(":")[2] for url in made.leg_urls]
        protection = Protection(servers_below(points, places))
        gate = GateClient(settings.gate_run_directory(made.name)).show()
        for pid in (gate["keeper_pid"], gate["worker_pid"], leg.process_id):
            assert "serves storage" in protection.reason(pid)
        user = subprocess.Popen(["sleep", "60"], cwd=made.mount.path)
        try:
            assert protection.reason(user.pid) == ""
        finally:
            user.kill()
            user.wait()


def test_the_first_process_and_the_kernel_s_own() -> None:
    protection = Protection(servers_below(()))
    assert "first process" in protection.reason(1)
    kernel = next(
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and entry.name != "1" and not _command(entry)
    )
    assert "kernel" in protection.reason(kernel)


def _command(entry: Path) -> bytes:
    """What a process was started as; empty for threads of the kernel, and for zombies."""
    try:
        state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        return b"zombie" if state in "ZX" else (entry / "cmdline").read_bytes()
    except OSError:
        return b"gone"


def test_ourselves_and_whoever_started_us_are_left_running(ram_directory: Path) -> None:
    """A command that is typed in the volume itself, from a shell that stands there as well."""
    with freeze_bench(ram_directory) as bench:
        counter = bench.count()
        here = Path.cwd()
        os.chdir(bench.mount)
        try:
            plan, protection = bench.plan()
            assert os.getpid() in protection.spared
            assert os.getppid() in protection.spared
            assert {process.pid for process in plan.processes} == set(counter.pids)
            assert any(str(os.getpid()) in finding.subject for finding in plan.findings)
            bench.freeze("cgroup")
            bench.heartbeat.wait_for_progress(100)
        finally:
            os.chdir(here)


def test_nobody_but_ourselves(ram_directory: Path) -> None:
    """It is said, and nothing is frozen."""
    with freeze_bench(ram_directory) as bench:
        here = Path.cwd()
        os.chdir(bench.mount)
        try:
            with pytest.raises(CannotFreeze, match="Holdfast itself"):
                bench.plan()
        finally:
            os.chdir(here)
        with pytest.raises(CannotFreeze, match="no process uses"):
            bench.plan()
        with pytest.raises(NotFrozen):
            bench.thaw()


def test_a_traced_process_is_not_signalled(ram_directory: Path) -> None:
    """The stop would go to the tracer."""
    trace = (
        "import ctypes, os, sys\n"
        "assert ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), None, None) == 0\n"
        "print('seized', flush=True)\nsys.stdin.read()\n"
    )  # PTRACE_SEIZE
    with freeze_bench(ram_directory) as bench:
        counter = bench.count(1, 1)
        tracer = subprocess.Popen(
            [sys.executable, "-c", trace, str(counter.pids[0])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert tracer.stdout is not None
            assert tracer.stdout.readline()
            with pytest.raises(CannotFreeze, match="traced"):
                bench.plan("signal")
            bench.freeze("cgroup")
            assert bench.stands_still(counter)
            bench.thaw()
            counter.wait_for_progress()
        finally:
            tracer.communicate(timeout=20)


def test_frozen_already(ram_directory: Path) -> None:
    """Also when two ask at the same time: one of them is refused."""
    with freeze_bench(ram_directory) as bench:
        counter = bench.count()
        outcomes: list[str] = []

        def attempt() -> None:
            try:
                bench.freeze("cgroup")
                outcomes.append("frozen")
            except AlreadyFrozen:
                outcomes.append("refused")

        threads = [threading.Thread(target=attempt) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["frozen", "refused"]
        assert bench.stands_still(counter)
