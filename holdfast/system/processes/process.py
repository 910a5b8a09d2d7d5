"""Processes by descriptor: who is alive, who has died, without races over reused numbers."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from holdfast.system.raw_call import raw_call

Result = TypeVar("Result")

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYS_PIDFD_GETFD = 438
"""pidfd_getfd(2), Linux 5.6; the same number on every architecture."""

_CLONE_FILES = 0x400  # <linux/sched.h>
_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG, _PR_SET_NAME = 1, 2, 15  # <linux/prctl.h>
_PR_SET_NO_NEW_PRIVS = 38  # ibid.
_PR_SET_CHILD_SUBREAPER = 36

_PIDFD_THREAD = os.O_EXCL
"""pidfd_open(2), Linux 6.9: the descriptor refers to the thread, not the whole process."""


def watch_thread(pid: int, thread_id: int) -> int | None:
    """A descriptor that becomes readable when a thread of `pid`, not its main one, has ended.

    A process that was killed while one of its threads hangs inside dead storage ends only when
    that thread returns; all other threads end at once. The main thread is of no use for this: since
    Linux 6.15 its end is told when the last of the others has ended. None when it is gone, or
    before Linux 6.9.
    """
    try:
        descriptor = os.pidfd_open(thread_id, _PIDFD_THREAD)
    except OSError:
        return None
    if Path(f"/proc/{pid}/task/{thread_id}").exists():
        return descriptor
    os.close(descriptor)  # the number belongs to somebody else now
    return None


def watch_leader(pid: int) -> int | None:
    """A descriptor that becomes readable when the main thread of `pid` has ended, or later.

    None when the process is gone.
    """
    try:
        return os.pidfd_open(pid, _PIDFD_THREAD)
    except ProcessLookupError:
        return None
    except OSError:
        return watch_process(pid)  # before Linux 6.9


def watch_process(pid: int) -> int | None:
    """A descriptor that becomes readable when all threads of `pid` have ended, or None."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def has_ended(descriptor: int | None, timeout_seconds: float = 0.0) -> bool:
    """Wait at most that long for what the descriptor watches; whether it has ended."""
    if descriptor is None:
        return True
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(int(timeout_seconds * 1000)))


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that forked it ends.

    A parent that has ended before is not noticed: compare `os.getppid` afterwards. Whoever changes
    user or group, also for files only, is not killed any more (prctl(2)).
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def dies_with_parent() -> bool:
    """Whether `die_with_parent` holds."""
    number = ctypes.c_int()
    _LIBC.prctl(_PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0)
    return number.value == signal.SIGKILL


def fork_bound() -> int:
    """As os.fork; the kernel kills the child when the thread that called this ends.

    A child has copies of all that we have open. One that outlived us would hold our locks, and the
    ends of the pipes at which another one waits for our end. Raises OSError.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
    return pid


def adopt_orphans() -> None:
    """Children of a child of ours that dies become ours, and are buried by us.

    Not every container has somebody else who does.
    """
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def set_name(name: str) -> None:
    """The name of the calling thread in /proc and ps: 15 bytes, the rest is cut off."""
    _LIBC.prctl(_PR_SET_NAME, os.fsencode(name), 0, 0, 0)


def gain_no_rights() -> None:
    """From now on, and below this process, no program gains rights by being run. Raises OSError."""
    if _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, f"prctl: {os.strerror(code)}")


def part_with_descriptors() -> None:
    """Give the calling thread a table of descriptors of its own, and empty it.

    The thread that ends last closes what the others had open, and hangs where storage hangs.
    """
    if _LIBC.unshare(_CLONE_FILES) == 0:
        os.closerange(0, os.sysconf("SC_OPEN_MAX"))


def apart(function: Callable[[], Result]) -> Result:
    """Call it in a thread with a table of descriptors of its own, and wait for its end.

    If this process is killed meanwhile, and that thread hangs at closing what it has open, nothing
    else of this process stays open for it. Raises what `function` does, and OSError(EAGAIN).
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        part_with_descriptors()
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="apart", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, "no room for a thread") from error
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def take_descriptor(pidfd: int, number: int) -> int:
    """A copy, in this process, of a descriptor of that one. Raises OSError.

    It shares the open file description. Close-on-exec is set.
    """
    return raw_call(_SYS_PIDFD_GETFD, pidfd, number, 0, about=f"descriptor {number}")


def open_thread(thread_id: int) -> int:
    """A descriptor that names a thread, with its own table of descriptors. Raises OSError.

    Before Linux 6.9 only for the main thread of a process.
    """
    try:
        return os.pidfd_open(thread_id, _PIDFD_THREAD)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return os.pidfd_open(thread_id)


def copy_descriptor(thread_id: int, number: int) -> int:
    """As `take_descriptor`, of a thread that is known by its number."""
    thread = open_thread(thread_id)
    try:
        return take_descriptor(thread, number)
    finally:
        os.close(thread)


def fork_reporting(report: Callable[[int], object], flags: int = 0) -> tuple[int, int]:
    """Fork a child that reports into a pipe and vanishes; its number, and where to read that.

    It ends with the thread that calls this, wherever it hangs. `flags` of both ends, besides
    close-on-exec. The caller buries the child and closes its end.
    Raises OSError, with nothing left behind.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC | flags)
    try:
        pid = fork_bound()
    except OSError:
        for end in (reading, writing):
            os.close(end)
        raise
    if pid == 0:
        try:
            os.close(reading)
            report(writing)
            with suppress(OSError):
                os.close(writing)  # before what it has open otherwise, which may hang
        finally:
            os._exit(0)
    os.close(writing)
    return pid, reading


def keep_descriptors() -> None:
    """Let no program that is started from here inherit a descriptor, but standard ones."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers, not paths
        with suppress(OSError):  # closed meanwhile
            if int(name) > 2:
                os.set_inheritable(int(name), False)


def close_quietly(descriptor: int) -> None:
    """Close a descriptor of which nothing is expected any more; blocks as its storage does.

    A dead server's is closed all the same, although the kernel reports ENOTCONN (close(2)).
    """
    with suppress(OSError):
        os.close(descriptor)


def close_all_except(keep: set[int]) -> None:
    """Close every descriptor above 2 but those, after a fork that keeps little.

    Objects that had one are never collected afterwards: they would close it once more, and by then
    its number may be another file's.
    """
    gc.freeze()
    previous = 2
    for descriptor in sorted(keep | {1 << 20}):
        if descriptor > previous:
            os.closerange(previous + 1, descriptor)
            previous = descriptor
