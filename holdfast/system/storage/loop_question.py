"""DeviceQuestion: a program of its own asks a loop device what is behind it.

The program may wait for ever, in open(2) for another user of the device, or in the kernel for the
storage of the file. Must never be waited for when it cannot be killed: the subprocess module reaps
it when the next one is started.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from holdfast.system.children.run import abandon, begin
from holdfast.system.proc import read_record
from holdfast.system.processes.process_state import read_state

Identity = tuple[int, int]
"""st_dev and st_ino."""

_END_SECONDS = 0.1
_AT_ONCE = 64
_QUESTION = ("losetup", "--list", "--noheadings", "--raw", "--output", "BACK-MAJ:MIN,BACK-INO")
_ANSWER_BYTES = 4096
_BLANK = "\\x20"
"""How `--raw` writes the blanks by which a number is aligned."""
_FAILED = 1  # losetup(8)
_ASLEEP = ("S", "D")
"""States of proc_pid_stat(5): a request to a server is waited for in both."""
_FRAMES = 8
"""Of a stack: the lock or request that is waited for, and on whose behalf."""


class DeviceQuestion:
    """A program that asks one device; nothing happens before `ask`."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.process: subprocess.Popen[str] | None = None
        self.told: Identity | None = None
        """What is behind the device. None with an answer: nothing is, any more."""
        self._ending = -1
        self._status: int | None = None
        self._seen = ("", "")
        """What the last two looks have seen it wait in (proc_pid_syscall(5)); empty: nothing."""

    def ask(self) -> int:
        """Start it, if that was not done; a descriptor that can be read when it has ended."""
        if self.process is None:
            self.process = begin([*_QUESTION, self.device])
            self._ending = os.pidfd_open(self.process.pid)
        return self._ending

    def hear(self) -> None:
        """Read what it said before it ended, which it has."""
        assert self.process is not None
        assert self.process.stdout is not None
        self._status = self.process.wait()
        answer = os.read(self.process.stdout.fileno(), _ANSWER_BYTES)
        words = answer.decode().replace(_BLANK, " ").split()
        if len(words) == 2:
            major, _, minor = words[0].partition(":")
            self.told = os.makedev(int(major), int(minor)), int(words[1])

    def forget(self) -> None:
        """Close what belongs to it; its program is somebody else's to end."""
        if self._ending >= 0:
            os.close(self._ending)

    @property
    def ended(self) -> bool:
        """Whether its program has ended, for whatever reason, and was heard."""
        return self._status is not None

    @property
    def failed(self) -> bool:
        """Whether the device could not be opened: there is no node for it in /dev."""
        return self._status == _FAILED

    @property
    def answered(self) -> bool:
        """Whether it said what it found, if only that it found nothing; it was not killed."""
        return self.told is not None or self._status in (0, _FAILED)

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

    @property
    def where(self) -> str:
        """Where it is now, for people: as much as the kernel tells."""
        if self._status is not None:
            return f"ended with status {self._status}"
        if self.process is None:
            return "was not started"
        return _where(self.process.pid)


@contextmanager
def asking(devices: Iterable[str]) -> Iterator[list[DeviceQuestion]]:
    """Questions to these devices; leaving the context ends their programs."""
    questions = [DeviceQuestion(device) for device in devices]
    try:
        yield questions
    finally:
        for each in questions:
            each.forget()
        processes = (each.process for each in questions)
        abandon(*filter(None, processes), seconds=_END_SECONDS)


def await_all(questions: Sequence[DeviceQuestion], seconds: float) -> None:
    """Wait until all have ended, or the time is up."""
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


def look(questions: Iterable[DeviceQuestion]) -> None:
    """See what each waits in."""
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


def _where(pid: int) -> str:
    """State and innermost kernel functions of a process (proc_pid_stack(5)), in words."""
    state = read_state(pid)
    if state is None:
        return "has ended"
    try:
        lines = read_record(f"/proc/{pid}/stack").rstrip(b"\n").split(b"\n")
    except OSError:
        lines = []
    # `[<0>] bdev_open+0x1c2/0x3b0`
    functions = (
        line.rpartition(b" ")[2].partition(b"+")[0].decode("ascii", "replace") for line in lines
    )
    names = " < ".join(islice(functions, _FRAMES))
    return f"is in state {state.state}" + (f", in {names}" if names else "")
