"""Mounts, loop devices and processes that a test run has made and still has: `Leftovers`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.system.mounts.all_namespaces import all_mount_points
from holdfast.system.storage.loop import LoopDevice, detach_loop, loop_devices

RUN_VARIABLE = "HOLDFAST_TEST_RUN"
END_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Leftovers:
    """What belongs to the run `run_name`: it carries that name, or lies in its folders."""

    run_name: str
    folders: tuple[Path, ...]
    keep: tuple[Path, ...] = ()
    """Mounts that the run itself needs."""

    def find(self) -> list[str]:
        """One line per leftover. Processes that are just ending get a moment to do so."""
        deadline = time.monotonic() + 1.0
        while (numbers := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.01)
        loops = self.loop_devices()
        found = [f"process {number}: {_command(number)}" for number in numbers]
        found += [f"mount {target} of {source}" for source, target in self.mounts(loops)]
        found += [f"loop device {loop.device} of {loop.backing_file}" for loop in loops]
        return found

    def remove(self) -> None:
        """Take it all away: processes first, so that whoever hangs in a dead gate is freed."""
        deadline = time.monotonic() + END_TIMEOUT_SECONDS
        while (numbers := self.processes()) and time.monotonic() < deadline:
            for number in numbers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            time.sleep(0.01)
        loops = self.loop_devices()
        devices = [loop.device for loop in loops]
        for source, target in reversed(self.mounts(loops)):
            if source in devices:
                _unmount(target)
        # Before the file below it goes: a lazy unmount would hide whose loop device it is.
        for loop in loops:
            with contextlib.suppress(HoldfastError):
                detach_loop(loop)
        for _, target in reversed(self.mounts(self.loop_devices())):
            _unmount(target)

    def processes(self) -> list[int]:
        """Our processes, but this one and those at their end: zombies are somebody's to collect,
        and who was killed while he waits for a stranger's device ends with that."""
        mark = b"\0" + f"{RUN_VARIABLE}={self.run_name}".encode() + b"\0"
        folders = [os.fsencode(folder) + b"/" for folder in self.folders]
        found = []
        # Each test looks at every process of the host: bare calls, the cheapest first.
        for entry in [each.name for each in os.scandir("/proc")]:
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                command = _read(f"/proc/{entry}/cmdline")
                if not command:
                    continue
                ours = any(folder in command for folder in folders)
                if not ours and mark not in b"\0" + _read(f"/proc/{entry}/environ"):
                    continue
                number = int(entry)
                state = process_state(number)
                if state not in "ZX" and not (state == "D" and _is_killed(number)):
                    found.append(number)
        return found

    def loop_devices(self) -> list[LoopDevice]:
        """Loop devices over files in our folders."""
        return [loop for loop in loop_devices() if self._is_ours(loop.backing_file)]

    def mounts(self, loops: list[LoopDevice]) -> list[tuple[str, str]]:
        """(source, mount point) of mounts in our folders or of those devices, oldest first."""
        devices = {loop.device for loop in loops}
        found = []
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            target = before.split()[4].encode().decode("unicode_escape")
            source = after.split()[1]
            if Path(target) not in self.keep and (self._is_ours(target) or source in devices):
                found.append((source, target))
        return found

    def _is_ours(self, path: str) -> bool:
        return any(path == str(folder) or path.startswith(f"{folder}/") for folder in self.folders)


def orphaned_loop_devices() -> set[LoopDevice]:
    """Loop devices whose backing file was unmounted lazily: nobody can say whose they are.

    One that is mounted somewhere is its user's, and its file is mounted where only he sees it."""
    mounted = {point.source for point in all_mount_points()}
    orphans = {loop for loop in loop_devices() if loop.backing_file == "/"}
    return {loop for loop in orphans if loop.device not in mounted}


def _unmount(target: str) -> None:
    if _run("umount", target):
        _run("umount", "--lazy", target)


def _run(*command: str) -> int:
    return subprocess.run(command, check=False, capture_output=True).returncode


def _read(path: str) -> bytes:
    """What a file of /proc holds; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = iter(lambda: os.read(descriptor, 1 << 17), b"")
        return b"".join(parts)
    finally:
        os.close(descriptor)


def process_state(process_id: int) -> str:
    """The letter of /proc/PID/stat: R, S, D, T, Z …; raises OSError when it is gone."""
    told = Path(f"/proc/{process_id}/stat").read_text(errors="replace")
    return told.rpartition(")")[2].split()[0]


def _is_killed(process_id: int) -> bool:
    """Whether SIGKILL waits for it to leave uninterruptible sleep (proc_pid_status(5), SigPnd)."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("SigPnd", "ShdPnd") and int(value, 16) & 1 << signal.SIGKILL - 1:
            return True
    return False


def _command(process_id: int) -> str:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{process_id}/cmdline").read_bytes().split(b"\0")
        return b" ".join(words).decode(errors="replace").strip()
    return "(gone)"
