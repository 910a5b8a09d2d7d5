"""Which loop devices show a file, under whatever name; no other storage is waited for.

The kernel tells what is behind a loop device by asking the file system that the file lies on
(LOOP_GET_STATUS64), and waits where that hangs: below a stranger's server, whose mount may be in
another namespace or in none any more, or in a gate that stands still. So a device is only asked
where the file itself does not rule it out, by a program of its own (Python is never forked: the
caller may have threads), all at the same time. Must never wait for a program that cannot be killed:
the subprocess module buries it when the next one is started.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import stat
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.errors import DeadlinePassed
from holdfast.system.children.run import abandon, begin
from holdfast.system.storage.loop import LoopDevice, loop_devices

Identity = tuple[int, int]
"""st_dev and st_ino."""

ASK_SECONDS = 2.0
"""A file system that answers does so in milliseconds; a busy host needs some for the programs."""
_AGAIN_SECONDS = 0.2
"""What was only late has answered by then."""
_END_SECONDS = 0.1
_AT_ONCE = 64
_QUESTION = ("losetup", "--list", "--noheadings", "--raw", "--output", "BACK-MAJ:MIN,BACK-INO")
_ANSWER_BYTES = 4096
_BLANK = "\\x20"
"""How `--raw` writes the blanks by which a number is aligned."""
_FAILED = 1  # losetup(8)
_LOOK = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def devices_showing(
    path: str | os.PathLike[str], among: Sequence[LoopDevice] | None = None
) -> list[LoopDevice]:
    """The loop devices (of these) whose backing file is the one at this path; links are followed.

    Blocks as that file's own storage does, and some seconds beyond that at most. A device that was
    opened and does not answer shows another file: its file's storage does not answer, and this
    file's does, before and after. One that cannot even be opened may wait for something else (who
    writes back a lot, who changes how it is attached), and show anything: DeadlinePassed, unless
    nobody writes to the file (then it could only read), or others show it. Raises OSError where
    nothing is there.
    """
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        status = os.fstat(place)
        devices = loop_devices() if among is None else among
        unwritten = _nobody_writes(place, status)
        if unwritten:
            devices = [each for each in devices if each.read_only]
        with _asking(each.device for each in devices) as questions:
            _await(questions, ASK_SECONDS)
            if not all(each.ended for each in questions):
                os.close(_open_again(place))
                _await(questions, _AGAIN_SECONDS)
            wanted = status.st_dev, status.st_ino
            found = [
                device
                for device, question in zip(devices, questions, strict=True)
                if question.told == wanted or (question.failed and _has_name(device, path))
            ]
            if not found and not unwritten:
                _check_asked(questions)
            return found
    finally:
        os.close(place)


def backing_identities(devices: Iterable[str]) -> dict[str, Identity]:
    """What is behind those that answer. Blocks some seconds at most."""
    with _asking(devices) as questions:
        _await(questions, ASK_SECONDS)
    return {each.device: each.told for each in questions if each.told is not None}


def _nobody_writes(place: int, status: os.stat_result) -> bool:
    """Whether nobody on this host has the file open for writing, nor a loop device that can write.

    Such a device has its file open for writing, and a read lease is granted only where nobody has
    (check_conflicting_open in fs/locks.c); it is given back at once. False where the file system
    has no leases (NFS, SMB).
    """
    if not stat.S_ISREG(status.st_mode):
        return False
    try:
        descriptor = _open_again(place)
    except BlockingIOError:  # another's lease, for writing
        return False
    try:
        # Who opens it for writing just now has us told, by a signal that is ignored.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _open_again(place: int) -> int:
    """Open what O_PATH has found, for reading: a server is asked, whatever is cached."""
    return os.open(f"/proc/self/fd/{place}", _LOOK)


def _has_name(device: LoopDevice, path: str | os.PathLike[str]) -> bool:
    return not device.deleted and device.backing_file == os.path.realpath(path)


class _Question:
    """A program that asks one device; nothing happens before `ask`."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.process: subprocess.Popen[str] | None = None
        self.told: Identity | None = None
        self.ended = False

    def ask(self) -> int:
        """Start it, if that was not done; where its answer is to be read."""
        if self.process is None:
            self.process = begin([*_QUESTION, self.device])
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def hear(self) -> None:
        """Read what it says, or that it ends."""
        answer = os.read(self.ask(), _ANSWER_BYTES)
        self.ended = True
        if not answer and self.process is not None:  # it is just ending
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_END_SECONDS)
        words = answer.decode().replace(_BLANK, " ").split()
        if len(words) == 2:
            major, _, minor = words[0].partition(":")
            self.told = os.makedev(int(major), int(minor)), int(words[1])

    @property
    def failed(self) -> bool:
        """Whether the device could not be opened: there is no node for it in /dev."""
        return self.process is not None and self.process.returncode == _FAILED

    def has_opened(self) -> bool:
        """Whether it has the device open, so that it waits for the backing file."""
        if self.process is None:
            return False
        folder = Path(f"/proc/{self.process.pid}/fd")
        with suppress(OSError):
            for entry in folder.iterdir():
                with suppress(OSError):
                    if os.readlink(entry) == self.device:  # noqa: PTH115 - a plain system call
                        return True
        return False


@contextmanager
def _asking(devices: Iterable[str]) -> Iterator[list[_Question]]:
    """Questions to these devices; leaving the context ends their programs."""
    questions = [_Question(device) for device in devices]
    try:
        yield questions
    finally:
        processes = (each.process for each in questions)
        abandon(*filter(None, processes), seconds=_END_SECONDS)


def _await(questions: Sequence[_Question], seconds: float) -> None:
    """Until all have been answered, or the time is up."""
    deadline = time.monotonic() + seconds
    while waiting := [each for each in questions if not each.ended][:_AT_ONCE]:
        poller = select.poll()
        by_descriptor = {each.ask(): each for each in waiting}
        for descriptor in by_descriptor:
            poller.register(descriptor, select.POLLIN)
        ready = poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
        for descriptor, _ in ready:
            by_descriptor[descriptor].hear()
        if not ready:
            return


def _check_asked(questions: Sequence[_Question]) -> None:
    """Raise DeadlinePassed where one was not even opened in time."""
    for each in questions:
        if not each.ended and not each.has_opened():
            raise DeadlinePassed(
                f"{each.device} did not say within {ASK_SECONDS:g} s which file it shows",
                f"Look at /sys/block/{Path(each.device).name}/loop/backing_file: let the storage"
                " below that answer, or end it; then try again.",
            )
