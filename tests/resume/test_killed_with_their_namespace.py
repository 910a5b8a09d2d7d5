"""Both gate processes are killed where they alone hold the mount namespace with the volume.

The kernel dismounts the volume while the last of them exits. It must have let go of the connection
before: else the dismount would wait for a gate that is just ending, and with it every `sync` of the
host, for ever.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.processes.remains import living_processes
from tests.faults.connection import abort_connection, copied_connection, waiting_requests
from tests.recovering import recover
from tests.resume.killing import Killer, keeper, worker
from tests.waiting import wait_until

DIRTY_BYTES = 4 << 20
ENDED_SECONDS = 20.0
ALONE = ("unshare", "--mount", "--propagation", "private")
CONTAINED = (*ALONE, "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.fixture
def settings(disk_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HOLDFAST_HOME", str(disk_directory / "home"))
    return Settings()


class Alone:
    """A volume that is mounted, with unwritten data, where nobody but its gate is."""

    def __init__(
        self, settings: Settings, folder: Path, filesystem: str, command: tuple[str, ...]
    ) -> None:
        mount = folder / "mnt"
        holdfast = Path(sys.executable).with_name("holdfast")
        self.state_directory = settings.gate_state_directory("shop")
        self.run_directory = settings.gate_run_directory("shop")
        size = {"ext4": 64, "xfs": 320, "btrfs": 128}[filesystem]
        program = (
            f"{holdfast} volume create shop --size {size}M --fs {filesystem} --mount {mount}"
            f" --leg file:{folder}/leg.img >&2 &&"
            f" head -c {DIRTY_BYTES} /dev/urandom >{mount}/dirty &&"
            f" grep {self.run_directory}/device /proc/self/mountinfo && read -r _"
        )
        self.program = subprocess.Popen(
            [*command, "sh", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.program.stdout is not None
        self.killed: set[int] = set()
        self.connection = int(self.program.stdout.readline().split()[2].partition(b":")[2])

    def processes(self) -> list[int]:
        """Every process of the gate, also one that has not said yet that it is one."""
        mark = b"\0" + os.fsencode(self.state_directory) + b"\0"
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    def kill(self) -> None:
        """All of them at once, again until there is none: one that has just begun may have a number
        that a look at all of them has passed already."""
        while pids := self.processes() or self.processes():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.killed.update(pids)

    def end(self) -> None:
        """Kill them; fails the test when one cannot end."""
        self.kill()
        wait_until(lambda: not self.ending(), "a process cannot end", timeout_seconds=ENDED_SECONDS)

    def ending(self) -> list[int]:
        """Those that were killed, and are still there."""
        return [pid for pid in self.killed if Path(f"/proc/{pid}").exists()]


@pytest.fixture
def alone(settings: Settings, disk_directory: Path) -> Iterator[Callable[..., Alone]]:
    """Makes one; whatever became of it, nothing of it hangs afterwards."""
    made: list[Alone] = []

    def make(filesystem: str = "ext4", command: tuple[str, ...] = ALONE) -> Alone:
        made.append(Alone(settings, disk_directory, filesystem, command))
        return made[-1]

    yield make
    for each in made:
        each.program.communicate()
        if each.ending():  # so the connection is still theirs
            abort_connection(each.connection)
        each.end()
    recover(settings)


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_both_at_once(settings: Settings, alone: Callable[..., Alone], filesystem: str) -> None:
    """Nothing of it is left in the kernel, once somebody looked."""
    gate = alone(filesystem)
    gate.program.communicate()
    gate.end()
    assert living_processes(gate.run_directory) == []
    assert any("detached /dev/loop" in line for line in recover(settings))
    assert recover(settings) == []


@pytest.mark.parametrize("seed", range(4))
def test_both_at_any_moment_of_a_takeover(alone: Callable[..., Alone], seed: int) -> None:
    """Each has been restored by the other, and one is being restored when both are killed."""
    chance = random.Random(seed)
    gate = alone()
    gate.program.communicate()
    killer = Killer(gate.run_directory, 2, (worker, keeper), seed=seed, idle=True)
    killer.start()
    killer.finish()
    os.kill(chance.choice((worker, keeper))(gate.run_directory), signal.SIGKILL)
    time.sleep(chance.uniform(0.0, 0.5))
    gate.end()


def test_with_all_of_a_container(alone: Callable[..., Alone]) -> None:
    """Its first process is killed, and so is everybody in it: application and gate."""
    gate = alone(command=CONTAINED)
    gate.killed.update(gate.processes())
    gate.program.kill()
    gate.program.wait()
    gate.end()


def test_what_hangs_all_the_same_is_freed(settings: Settings, alone: Callable[..., Alone]) -> None:
    """Somebody has a copy of the descriptor: the dismount waits, until the next command."""
    gate = alone()
    gate.program.communicate()
    with copied_connection(keeper(gate.run_directory)):
        gate.kill()
        wait_until(lambda: living_processes(gate.run_directory) == [])
        wait_until(lambda: waiting_requests(gate.connection) > 0, "nothing waits for it")
        assert any("requests waited" in line for line in recover(settings))
        gate.end()
    assert recover(settings) == []
