"""Which loop devices show a file, under whatever name; no other storage is waited for.

The kernel tells what is behind a loop device by asking the file system that the file lies on
(LOOP_GET_STATUS64), and waits where that hangs: below a stranger's server, whose mount may be in
another namespace or in none any more, or in a gate that stands still. So a device is only asked
where the file itself does not rule it out, by a program of its own (Python is never forked: the
caller may have threads), all at the same time (see loop_question).
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from holdfast.errors import DeadlinePassed
from holdfast.system.storage.loop import LoopDevice, is_attached, loop_devices
from holdfast.system.storage.loop_note import noted_filesystem
from holdfast.system.storage.loop_question import DeviceQuestion, Identity, asking, await_all, look

ASK_SECONDS = 2.0
"""A file system that answers does so in milliseconds; a busy host needs some for the programs."""
_AGAIN_SECONDS = 0.2
"""What was only late has answered by then."""
_BUSY_SECONDS = 4.0
"""For those that get no processor, or wait in open(2) while the device is attached, or detached."""
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
        with asking(each.device for each in devices) as questions:
            await_all(questions, ASK_SECONDS)
            asked = list(zip(devices, questions, strict=True))
            patience = time.monotonic() + _BUSY_SECONDS
            while time.monotonic() < patience and not all(
                _is_settled(device, each, unwritten=unwritten) for device, each in asked
            ):
                look(questions)
                os.close(_open_again(place))
                if not unwritten and _nobody_writes(place, status):
                    unwritten = True  # whoever did has let go of it; he may only have just made it
                    asked = [(device, each) for device, each in asked if device.read_only]
                await_all([each for _, each in asked], _AGAIN_SECONDS)
                look(questions)
            wanted = status.st_dev, status.st_ino
            found = [
                device
                for device, question in asked
                if question.told == wanted
                or (question.failed and _has_name(device, path) and is_attached(device))
            ]
            if not found:
                for device, question in asked:
                    if not question.answered and is_attached(device):
                        _check_elsewhere(device, question, path, unwritten=unwritten)
            return found
    finally:
        os.close(place)


def backing_identities(devices: Iterable[str]) -> dict[str, Identity]:
    """What is behind those that answer. Blocks some seconds at most."""
    with asking(devices) as questions:
        await_all(questions, ASK_SECONDS)
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


def _is_settled(device: LoopDevice, question: DeviceQuestion, *, unwritten: bool) -> bool:
    """Whether there is nothing to wait for: it said so, it waits for another file, or the device
    was detached meanwhile, which may take as long as its last user writes back."""
    return (
        question.ended or question.waits_elsewhere(unwritten=unwritten) or not is_attached(device)
    )


def _check_elsewhere(
    device: LoopDevice, question: DeviceQuestion, path: str | os.PathLike[str], *, unwritten: bool
) -> None:
    """Raise DeadlinePassed unless a device that did not answer shows another file."""
    named = _has_name(device, path)
    if not named and question.waits_elsewhere(unwritten=unwritten):
        return
    raise DeadlinePassed(
        f"{device.device} did not say in time which file it shows: who asks it {question.where}",
        f"Look at /sys/block/{Path(device.device).name}/loop/backing_file: let the storage below"
        " that answer, or end it. On a busy host, try again.",
    )
