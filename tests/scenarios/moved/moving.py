"""A volume that is moved from file system to file system while applications run on it.

Two movers with one interface. `StoppedCopy` is the bare mechanism: stop, park, copy, dismount,
mount, rebind, release, in this process. `Migration` is the command, `holdfast migrate`, on an
adopted volume. Both dismount for real and alternate between ext4, xfs and btrfs.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from holdfast.applications.rebind.rebind import Rebind
from holdfast.errors import InUse
from holdfast.model.handle import HandleOutcome
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.dismount import dismount
from holdfast.mountpoints.remount import remount
from holdfast.system.storage.filesystem import make_filesystem
from holdfast.system.storage.loop import detach_loop, loop_devices
from tests.kernel.rebind.bench import users_of
from tests.scenarios.stories import Story
from tests.soak import rounds

SHORT, SHORT_WITH_COMMANDS, LONG = 3, 2, 10
SEQUENCE = ("xfs", "ext4", "btrfs", "ext4")
"""From ext4 on."""

SEQUENCE_FROM_BTRFS = (*SEQUENCE[2:], *SEQUENCE[:2])

DEADLINE_SECONDS = 120.0
"""Half of it is what a pause may be predicted to last: on a very busy host 50 s were."""
_COMMAND_SECONDS = 60.0


@dataclass
class Moved:
    """What one move did."""

    filesystem: str
    processes: tuple[str, ...]
    """Names of those that were stopped."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Handles by outcome."""
    pause_seconds: float = 0.0


class Mover(Protocol):
    """A mounted volume that can be moved."""

    path: Path

    def move(self, filesystem: str) -> Moved: ...


class _Images:
    """Images with file systems, one after the other; the one before the last is thrown away."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.folder = folder
        self.size_bytes = size_bytes
        self._made: list[Path] = []

    def next(self, filesystem: str) -> Path:
        """A new image, without anything in it."""
        image = self.folder / f"{len(self._made)}-{filesystem}.img"
        self._made.append(image)
        for old in self._made[:-2]:
            old.unlink(missing_ok=True)
        return image

    def make(self, filesystem: str) -> str:
        """A loop device with a new file system; it goes with its last user, see `let_go`."""
        image = self.next(filesystem)
        with image.open("wb") as file:
            file.truncate(self.size_bytes)
        make_filesystem(filesystem, str(image), "", str(uuid.uuid4()))
        return run("losetup", "--find", "--show", image)


class StoppedCopy:
    """Moves with the bare mechanism; everything is copied while the users stand."""

    def __init__(self, folder: Path, path: Path, size_bytes: int) -> None:
        self._images = _Images(folder, size_bytes)
        self._folder = folder
        self._numbers = itertools.count()
        self.path = path
        device = self._images.make("ext4")
        run("mount", device, path)
        run("losetup", "--detach", device)

    def move(self, filesystem: str) -> Moved:
        """Fails the test when a handle is not what it was."""
        device = self._images.make(filesystem)
        points = capture(str(self.path))
        deadline_ns = time.monotonic_ns() + int(DEADLINE_SECONDS * 1e9)
        record = self._folder / f"record-{next(self._numbers)}"
        rebind = Rebind(record, users_of(points), deadline_ns, points, lambda: users_of(points))
        begun = time.monotonic()
        rebind.stop()
        try:
            names = tuple(user.name for user in rebind.users if user.pid in rebind.pids)
            rebind.park()
            self._copy_to(device)
            lines = self._exchange(rebind, points, device, filesystem)
        finally:
            rebind.release()
            run("losetup", "--detach", device)
        pause_seconds = time.monotonic() - begun
        bad = [line for line in lines if line.outcome is not HandleOutcome.IDENTICAL]
        assert not bad, bad
        outcomes = Counter(str(line.outcome) for line in lines)
        return Moved(filesystem, names, outcomes, pause_seconds)

    def _copy_to(self, device: str) -> None:
        other = self._folder / "other"
        other.mkdir(exist_ok=True)
        run("mount", device, other)
        try:
            run("cp", "--archive", f"{self.path}/.", other)
        finally:
            run("umount", other)

    def _exchange(
        self, rebind: Rebind, points: Sequence[MountPoint], device: str, filesystem: str
    ) -> list[Any]:
        back = dismount(points)
        bases = remount(back, device, filesystem)
        try:
            return rebind.rebind(bases, same_data=True)
        finally:
            for descriptor in bases.values():
                os.close(descriptor)


class Migration:
    """Moves with the command."""

    def __init__(
        self,
        folder: Path,
        path: Path,
        size_bytes: int,
        holdfast: Callable[..., Any],
        options: Sequence[str],
    ) -> None:
        self._images = _Images(folder, size_bytes)
        self._holdfast = holdfast
        self._options = options
        self.path = path
        self.name = f"moved-{path.parent.name}"
        device = self._images.make("ext4")
        run("mount", device, path)
        run("losetup", "--detach", device)
        holdfast("volume", "adopt", self.name, path)

    def move(self, filesystem: str) -> Moved:
        """Fails the test when a handle is not what it was, or the receipt tells of an error."""
        url = f"file:{self._images.next(filesystem)}"
        receipt = self._holdfast(
            *("migrate", self.name, url, "--fs", filesystem, "--yes"),
            *("--deadline", DEADLINE_SECONDS, *self._options),
            json=True,
            timeout_seconds=2 * DEADLINE_SECONDS,
            HOLDFAST_DEBUG="1",
        )
        assert receipt["outcome"] == "done", receipt
        assert receipt["errors_returned"] == 0, receipt
        outcomes: Counter[str] = Counter()
        for process in receipt["processes"]:
            for kind in process["handles"].values():
                outcomes.update(kind)
        assert set(outcomes) <= {str(HandleOutcome.IDENTICAL)}, receipt
        return Moved(
            filesystem,
            tuple(process["name"] for process in receipt["processes"]),
            outcomes,
            receipt["longest_wait_ms"] / 1000,
        )


@contextmanager
def stopped_copy(folder: Path, size_bytes: int = 512 << 20) -> Iterator[StoppedCopy]:
    """A volume for the bare mechanism; dismounted at the end."""
    with _mount_point(folder) as path:
        yield StoppedCopy(folder, path, size_bytes)


@contextmanager
def migration(
    folder: Path,
    holdfast: Callable[..., Any],
    size_bytes: int = 512 << 20,
    options: Sequence[str] = (),
) -> Iterator[Migration]:
    """An adopted volume for the command, which has these options; dismounted at the end."""
    with _mount_point(folder) as path:
        mover = Migration(folder, path, size_bytes, holdfast, options)
        yield mover
        holdfast("volume", "detach", mover.name)
        assert not path.is_mount()


@contextmanager
def _mount_point(folder: Path) -> Iterator[Path]:
    path = folder / "mnt"
    path.mkdir()
    folder.chmod(0o711)
    folder.parent.chmod(0o711)  # the folder of this run is closed to other users
    with ExitStack() as clean:
        clean.callback(_dismount_at_the_end, path)
        yield path


def _dismount_at_the_end(path: Path) -> None:
    """After a failure, too; what keeps it busy then is named by the check of the run."""
    subprocess.run(["umount", path], check=False, capture_output=True)
    for loop in loop_devices():
        if Path(loop.backing_file).parent == path.parent:
            with suppress(InUse):
                detach_loop(loop)


def move_under_load(
    mover: Mover,
    load: Callable[[Callable[[], bool]], None],
    working: Callable[[], object],
    short: int = SHORT,
    sequence: Sequence[str] = SEQUENCE,
    let_go: Callable[[], object] = lambda: None,
) -> list[Moved]:
    """Move in turn while `load` runs beside; it ends when what it is given says so.

    `let_go`: lets a load that waits for `working` go on to its end. What went wrong in the load is
    told before what came of that.
    """
    done = threading.Event()
    telling = Story(lambda: load(done.is_set))
    telling.start()
    try:
        return move_in_turn(mover, working, short, sequence)
    finally:
        done.set()
        let_go()
        telling.finish()


def move_in_turn(
    mover: Mover,
    working: Callable[[], object],
    short: int = SHORT,
    sequence: Sequence[str] = SEQUENCE,
) -> list[Moved]:
    """Move again and again; `working` returns when the load has got on since it was called.

    `short`: how often without a soak run; LONG times with it. A move that fell between two programs
    of the load found nobody: it does not count, and as many of those may happen as of the others.
    """
    moves: list[Moved] = []
    kinds = itertools.cycle(sequence)
    wanted = rounds(short, LONG)
    for _ in range(2 * wanted):
        working()
        moved = mover.move(next(kinds))
        print(moved)
        found = run("findmnt", "--noheadings", "--output", "FSTYPE", mover.path)
        assert found == moved.filesystem
        moves += [moved] if moved.processes else []
        if len(moves) == wanted:
            break
    assert len(moves) == wanted, "nobody was there to be moved"
    working()
    return moves


@contextmanager
def started(command: Sequence[object], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A program in a session of its own; it and what it started are killed at the end."""
    words = [str(word) for word in command]
    process = subprocess.Popen(words, **{"start_new_session": True, **options})
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)


def run(*command: object) -> str:
    """A command that must succeed; its standard output."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, timeout=_COMMAND_SECONDS
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout} {done.stderr}"
    return done.stdout.strip()
