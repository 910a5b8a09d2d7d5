"""Taking a demo away again, however far it came: processes, volume, mounts, loop devices, folder.

Works from the folder alone, so that the next demo can do it for one that was killed. Everything
that belongs to a demo names its folder: processes in their command line or environment, mounts and
loop devices in their paths. Must never remove the folder while anything is mounted below it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from holdfast.config import Settings
from holdfast.errors import CommandFailed, HoldfastError, InUse, NoSuchVolume, Untrusted
from holdfast.service import Holdfast
from holdfast.system.files.trusted import is_own_directory, open_file, own_directory
from holdfast.system.mounts.mount_table import is_under, mounts_under, unmount
from holdfast.system.proc import read
from holdfast.system.resources.own_group import remove_group
from holdfast.system.storage.loop import LoopDevice, detach_loop, loop_devices
from holdfast.volumes.stack.take_down import abandon_gate

PREFIX = "holdfast-demo-"
LOCK_FILE = "lock"
VOLUME = "demo"

APPLICATION = "holdfast.demo.applications."
SERVER = "holdfast.demo.storage_server"
GATE = "holdfast.gate"
DAEMON = "holdfast.cli daemon"
JOB = "holdfast.jobs"

_END_SECONDS = 10.0


def lock(home: Path) -> int:
    """Say that this demo is alive, as long as this process lives. The descriptor of the lock."""
    descriptor = os.open(home / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def abandoned(parent: Path) -> Iterator[Path]:
    """Folders of demos whose process was killed. Anybody may make such a name: ours are root's.

    Until the next one is asked for it is locked, so that of two demos only one takes it away.
    """
    for home in sorted(parent.glob(f"{PREFIX}*")):
        if is_own_directory(home) and (descriptor := _lock_abandoned(home / LOCK_FILE)) is not None:
            try:
                yield home
            finally:
                os.close(descriptor)


def _lock_abandoned(path: Path) -> int | None:
    """None while somebody has it, and when who had it before has taken everything away."""
    with suppress(OSError, Untrusted), ExitStack() as undo:
        descriptor = open_file(path, os.O_RDWR)
        undo.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            undo.pop_all()
            return descriptor
    return None


def dismantle(home: Path) -> None:
    """Take everything away. Idempotent. Raises InUse naming what could not be, Untrusted."""
    own_directory(home)
    settings = Settings(home=home)
    for module in (DAEMON, JOB):  # in this order: one begins the other
        _end(home, module)
    _signal(home, APPLICATION, signal.SIGKILL)
    _signal(home, SERVER, signal.SIGCONT)
    try:
        _delete_volume(home, settings)
    except (HoldfastError, OSError):
        _signal(home, GATE, signal.SIGSTOP)  # both, or the one would restore the other
        _signal(home, GATE, signal.SIGKILL)
        _wait_for(lambda: not processes(home, GATE))
        with Holdfast(settings) as holdfast, suppress(HoldfastError):
            holdfast.recover()
    _signal(home, SERVER, signal.SIGKILL)
    _wait_for(lambda: not processes(home))
    remove_group(VOLUME)
    for loop in _loops(home):
        with suppress(HoldfastError):
            detach_loop(loop)
    for mount in reversed(mounts_under(home)):
        with suppress(InUse, CommandFailed):
            unmount(mount.path, lazy=True)
    left = leftovers(home)
    if left:
        raise InUse(f"the demo could not take away {'; '.join(left)}", f"Look into {home}.")
    shutil.rmtree(home)


def leftovers(home: Path) -> list[str]:
    """What of a demo is still there beside its folder, in words."""
    found = [f"process {pid} ({words})" for pid, words in processes(home)]
    found += [f"{loop.device} on {loop.backing_file}" for loop in _loops(home)]
    return found + [f"the mount {mount.path}" for mount in mounts_under(home)]


def processes(home: Path, module: str = "") -> list[tuple[int, str]]:
    """The demo's processes (id, command line) that run this module; zombies are none."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if entry.stat().st_uid != os.geteuid():
                    continue  # whoever names our folder is none of ours
                words = os.fsdecode(read(f"{entry}/cmdline").replace(b"\0", b" "))
                if module in words and (
                    f" {home}/" in words.replace("=", " ") or _has(entry, home)
                ):
                    found.append((int(entry.name), words.strip()))
    return found


def _has(entry: Path, home: Path) -> bool:
    """Whether the folder is where this process has its state: the daemon, and jobs that it begins.
    Raises OSError."""
    return os.fsencode(f"HOLDFAST_HOME={home}") in read(f"{entry}/environ").split(b"\0")


def _loops(home: Path) -> list[LoopDevice]:
    return [loop for loop in loop_devices() if is_under(loop.backing_file, str(home))]


def _signal(home: Path, module: str, number: int) -> None:
    for pid, _ in processes(home, module):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _end(home: Path, module: str) -> None:
    """Kill them, and whom they begin meanwhile."""

    def are_gone() -> bool:
        _signal(home, module, signal.SIGKILL)
        return not processes(home, module)

    _wait_for(are_gone)


def _wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _END_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _delete_volume(home: Path, settings: Settings) -> None:
    """Delete the volume in order; at once when it is held, since nobody wants its data."""
    if not settings.catalog_path.exists():
        return
    with Holdfast(settings) as holdfast:
        try:
            gate = holdfast.show_volume(VOLUME).gate
        except NoSuchVolume:
            return
        if gate is not None and gate.held:
            abandon_gate(settings, VOLUME, (gate.keeper_pid, gate.worker_pid))
        _wait_for(lambda: not processes(home, APPLICATION))
        holdfast.delete_volume(VOLUME)
