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
from holdfast.system.proc import read_record
from holdfast.system.processes.process_state import read_state
from holdfast.system.storage.loop import LoopDevice, loop_devices
from holdfast.system.storage.loop_note import noted_filesystem

Identity = tuple[int, int]
"""st_dev and st_ino."""

ASK_SECONDS = 2.0
"""A file system that answers does so in milliseconds; a busy host needs some for the programs."""
_AGAIN_SECONDS = 0.2
"""What was only late has answered by then."""
_BUSY_SECONDS = 4.0
"""For those that get no processor, or wait in open(2) while the device is attached, or detached."""
_END_SECONDS = 0.1
_AT_ONCE = 64
_QUESTION = ("losetup", "--list", "--noheadings", "--raw", "--output", "BACK-MAJ:MIN,BACK-INO")
_ANSWER_BYTES = 4096
_BLANK = "\\x20"
"""How `--raw` writes the blanks by which a number is aligned."""
_FAILED = 1  # losetup(8)
_ASLEEP = ("S", "D")
"""States of proc_pid_stat(5): a request to a server is waited for in both."""
_LOOK = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def devices_showing(
    path: str | os.PathLike[str], among: Sequence[LoopDevice] | None = None
) -> list[LoopDevice]:
    """The loop devices (of these) whose backing file is the one at this path; links are followed.

    Blocks as that file's own storage does, and some seconds beyond that at most. Where the one who
    asks has the device open and waits in the kernel, it waits for another file: this one's storage
    answers, before and after. Any other device that does not answer may show this file, so may one
    that has its name: DeadlinePassed, unless others show it. Only where nobody writes to the file,
    whoever waits to open a device (for who writes back a lot, who changes how it is attached) is
    left out: it could only read. Nor is one asked whose note (see loop_note) names another file
    system. Raises OSError where nothing is there.
    """
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        status = os.fstat(place)
        devices = [
            each
            for each in (loop_devices() if among is None else among)
            if noted_filesystem(each.device) in (None, status.st_dev)
        ]
        unwritten = _nobody_writes(place, status)
        devices = [each for each in devices if each.read_only or not unwritten]
        with _asking(each.device for each in devices) as questions:
            _await(questions, ASK_SECONDS)
            asked = list(zip(devices, questions, strict=True))
            patience = time.monotonic() + _BUSY_SECONDS
            while time.monotonic() < patience and not all(
                each.ended or each.waits_elsewhere(unwritten=unwritten) for _, each in asked
            ):
                _look(questions)
                os.close(_open_again(place))
                if not unwritten and _nobody_writes(place, status):
                    unwritten = True  # whoever did has let go of it; he may only have just made it
                    asked = [(device, each) for device, each in asked if device.read_only]
                _await([each for _, each in asked], _AGAIN_SECONDS)
                _look(questions)
            wanted = status.st_dev, status.st_ino
            found = [
                device
                for device, question in asked
                if question.told == wanted or (question.failed and _has_name(device, path))
            ]
            if not found:
                for device, question in asked:
                    if not question.answered:
                        _check_elsewhere(device, question, path, unwritten=unwritten)
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


class _DeviceQuestion:
    """A program that asks one device; nothing happens before `ask`."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.process: subprocess.Popen[str] | None = None
        self.told: Identity | None = None
        self.ended = False
        self._seen = ("", "")
        """What the last two looks have seen it wait in (proc_pid_syscall(5)); empty: nothing."""

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
        return self.process is not None and self.process.poll() == _FAILED

    @property
    def answered(self) -> bool:
        """Whether it said what it found, if only that it found nothing; it was not killed."""
        if not self.ended or self.process is None:
            return False
        return self.told is not None or self.process.poll() in (0, _FAILED)

    def look(self) -> None:
        """See what it waits in. Two looks tell who stands still from who is only slow."""
        self._seen = self._seen[1], "" if self.process is None else _call_of(self.process.pid)

    @property
    def waits(self) -> bool:
        """Whether it stands in the kernel, in one and the same call since the look before."""
        return bool(self._seen[1]) and self._seen[0] == self._seen[1]

    def waits_elsewhere(self, *, unwritten: bool) -> bool:
        """Whether it waits for another file than the one that is looked for, which is `unwritten`
        when only a device that cannot write may show it."""
        return self._waits_behind or (unwritten and self.waits)

    @property
    def _waits_behind(self) -> bool:
        """Whether it has the device open, and waits in it for the backing file."""
        if self.process is None or not self.waits:
            return False
        try:
            first = int(self._seen[1].split()[1], 16)
            name = os.readlink(f"/proc/{self.process.pid}/fd/{first}")  # noqa: PTH115 - one call
        except (OSError, ValueError, IndexError):
            return False
        return name == self.device


@contextmanager
def _asking(devices: Iterable[str]) -> Iterator[list[_DeviceQuestion]]:
    """Questions to these devices; leaving the context ends their programs."""
    questions = [_DeviceQuestion(device) for device in devices]
    try:
        yield questions
    finally:
        processes = (each.process for each in questions)
        abandon(*filter(None, processes), seconds=_END_SECONDS)


def _await(questions: Sequence[_DeviceQuestion], seconds: float) -> None:
    """Wait until all have been answered, or the time is up."""
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


def _look(questions: Iterable[_DeviceQuestion]) -> None:
    for each in questions:
        each.look()


def _call_of(pid: int) -> str:
    """The system call in which a process waits, with its arguments (proc_pid_syscall(5)).

    Empty: it runs, or would like to; somebody stopped it; it waits elsewhere, for memory say; or
    nobody may see.
    """
    state = read_state(pid)
    if state is None or state.state not in _ASLEEP:
        return ""
    try:
        words = read_record(f"/proc/{pid}/syscall").decode()
    except OSError:
        return ""
    return words if words[:1].isdigit() else ""


def _check_elsewhere(
    device: LoopDevice, question: _DeviceQuestion, path: str | os.PathLike[str], *, unwritten: bool
) -> None:
    """Raise DeadlinePassed unless a device that did not answer shows another file."""
    named = _has_name(device, path)
    if not named and question.waits_elsewhere(unwritten=unwritten):
        return
    raise DeadlinePassed(
        f"{device.device} did not say in time which file it shows",
        f"Look at /sys/block/{Path(device.device).name}/loop/backing_file: let the storage below"
        " that answer, or end it. On a busy host, try again.",
    )
