"""All processes of a gate are killed at once: the gravest event, told by whoever comes next."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from threading import Thread

import pytest

from holdfast.config import Settings
from holdfast.coordination.turn import turn
from holdfast.gate.processes.remains import living_processes
from holdfast.gate.runtime.shared_page import read_counters
from holdfast.model.recovery import BeingDone
from holdfast.model.volume import Volume
from holdfast.service import Holdfast
from holdfast.system.storage.loop import detach_loop, loop_devices_of
from holdfast.volumes.detach import detach_volume
from holdfast.volumes.gate_device import gate_device
from tests.conftest import RunHoldfast
from tests.faults import stopped
from tests.faults.mounting import attach_to
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import FLUSHING
from tests.kernel.volume.stack import volume, wish
from tests.recovering import recover
from tests.waiting import wait_until


@pytest.mark.parametrize("who", ["receipts", "recover", "attach", "detach"])
def test_told_once_by_whoever_comes_next(settings: Settings, ram_directory: Path, who: str) -> None:
    with Bench(settings, ram_directory, plain_legs(ram_directory, 1, 1)) as bench:
        activity = bench.start(FLUSHING)
        activity.goes_on()
        bench.kill_everything()
        activity.process.kill()
        activity.process.wait()
        wait_until(lambda: not living_processes(bench.run_directory))
        assert [each for each in bench.receipts() if each["strategy"] == "lost"] == []
        with Holdfast(settings) as holdfast:
            if who == "receipts":
                [told] = holdfast.receipts("shop")
                assert (told.strategy, "killed" in told.cause) == ("lost", True)
            elif who == "recover":
                recover(settings)
            elif who == "detach":
                detach_volume(settings, bench.volume)
            bench.attach()
            told_of = [each for each in holdfast.receipts("shop") if each.strategy == "lost"]
            assert len(told_of) == 1
            assert told_of[0].started <= told_of[0].finished


def test_an_aborted_connection_is_told(settings: Settings, ram_directory: Path) -> None:
    """Somebody ends the connection; the dead stack stays to be seen, and is cleaned."""
    with volume(settings, wish(ram_directory)) as made:
        run_directory = settings.gate_run_directory(made.name)
        subprocess.run(["umount", "--force", str(run_directory / "device")], check=False)
        wait_until(lambda: not (run_directory / "control").exists())
        with Holdfast(settings) as holdfast:
            [told] = [each for each in holdfast.receipts("shop") if each.strategy == "lost"]
        assert "aborted" in told.cause
        assert any("dismounted the dead" in line for line in recover(settings))


def test_a_gate_that_stands_still_is_woken(settings: Settings, ram_directory: Path) -> None:
    """Both processes were stopped and nobody continued them: recover does."""
    with volume(settings, wish(ram_directory)) as made:
        counters = read_counters(settings.gate_run_directory(made.name))
        assert counters is not None
        with stopped([counters.keeper_pid, counters.worker_pid]):
            assert any("go on" in line for line in recover(settings))
            (Path(made.mount.path) / "file").write_text("written")
            subprocess.run(["sync", "--file-system", made.mount.path], check=True, timeout=60)
        assert recover(settings) == []


def test_detached_is_said_only_when_it_is(settings: Settings, ram_directory: Path) -> None:
    """Somebody detached the gate's device file lazily: nothing of the stack names it any more."""
    with volume(settings, wish(ram_directory)) as made:
        run_directory = settings.gate_run_directory(made.name)
        counters = read_counters(run_directory)
        assert counters is not None
        subprocess.run(["umount", "--lazy", str(run_directory / "device")], check=True)
        detach_volume(settings, made)
        assert not os.path.ismount(made.mount.path)
        wait_until(lambda: not Path(f"/proc/{counters.worker_pid}").exists())


def test_nor_when_its_gate_was_killed(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, wish(ram_directory)) as made:
        _lose_lazily(settings, made)
        detach_volume(settings, made)
        assert not os.path.ismount(made.mount.path)


def test_whoever_gets_the_number_of_its_loop_device_keeps_it(
    settings: Settings, ram_directory: Path
) -> None:
    """It goes with the last mount, and is another's before anybody looks again."""
    theirs = ram_directory / "theirs.img"
    with theirs.open("wb") as file:
        file.truncate(1 << 20)
    with volume(settings, wish(ram_directory)) as made:
        [device] = gate_device().devices(settings, made.name)
        _lose_lazily(settings, made)
        stranger = Thread(target=_take, args=(device, theirs))
        stranger.start()
        detach_volume(settings, made)
        stranger.join()
        [loop] = loop_devices_of(theirs)
        assert loop.device == device
        assert detach_loop(loop)


def _lose_lazily(settings: Settings, made: Volume) -> None:
    """The gate's device file is detached lazily, then all its processes are killed."""
    run_directory = settings.gate_run_directory(made.name)
    counters = read_counters(run_directory)
    assert counters is not None
    subprocess.run(["umount", "--lazy", str(run_directory / "device")], check=True)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in (counters.keeper_pid, counters.worker_pid):
            os.kill(pid, number)
    wait_until(lambda: not living_processes(run_directory))


def _take(device: str, image: Path) -> None:
    while not attach_to(device, image):
        pass


def test_recover_waits_for_its_turn(settings: Settings, ram_directory: Path) -> None:
    """A half-built stack looks like half of a dead one: who builds it has the turn."""
    with Bench(settings, ram_directory, plain_legs(ram_directory, 1, 1)) as bench:
        bench.kill_everything()
        wait_until(lambda: not living_processes(bench.run_directory))
        with turn(settings.run_directory, "shop"):
            [told] = recover(settings)
            assert isinstance(told, BeingDone)
            assert f"process {os.getpid()}" in told
            assert gate_device().volumes(settings) == {"shop"}
        assert any("dismounted the dead" in line for line in recover(settings))
        assert recover(settings) == []


def test_recover_beside_a_living_command_says_so(
    run_holdfast: RunHoldfast, ram_directory: Path
) -> None:
    settings = Settings()
    with Bench(settings, ram_directory, plain_legs(ram_directory, 1, 1)) as bench:
        bench.kill_everything()
        wait_until(lambda: not living_processes(bench.run_directory))
        with turn(settings.run_directory, "shop"):
            ended = run_holdfast("recover", check=False)
            assert (ended.returncode, "error[ATWORK]" in ended.stderr) == (3, True)
        run_holdfast("recover")
