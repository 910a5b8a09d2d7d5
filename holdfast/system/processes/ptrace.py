"""ptrace(2): stopping threads of other processes, reading and setting their registers.

Raw requests, each of which fails with OSError as the kernel says; ESRCH (ProcessLookupError) when
the thread has ended. A thread belongs to the thread that seized it: all requests come from there.
Request and option numbers: include/uapi/linux/ptrace.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

from holdfast.late_dataclass import dataclass
from holdfast.system.proc import names, read_record
from holdfast.system.proc_text import field
from holdfast.system.processes.registers import X86_64, Layout, Registers

_CONT = 7
_DETACH = 17
_GETREGS = 12
_SETREGS = 13
_SYSCALL = 24
_GETREGSET = 0x4204
_SETREGSET = 0x4205
_SEIZE = 0x4206
_INTERRUPT = 0x4207
_GETSIGMASK = 0x420A
_SETSIGMASK = 0x420B
_GET_RSEQ_CONFIGURATION = 0x420F

_OPTION_TRACESYSGOOD = 1
"""A stop at a system call is told from a signal; and when we die at one, no signal comes of it."""
_OPTION_SUSPEND_SECCOMP = 1 << 21

_NT_PRSTATUS = 1
_WALL = 0x40000000
_ENDS = (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED)
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_EVENT_STOP = 128

EVERY_SIGNAL = (1 << 64) - 1

_ANOTHER_LOOK_SECONDS = 0.002
"""How long a SIGCHLD is waited for at a time: another thread of ours may have got it."""

_SPINS = 50
"""Most calls take a few microseconds: less than to sleep and be woken."""

_DEAD_LOOK_SECONDS = 0.05

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long] * 4


class _IoVector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


@dataclass(frozen=True)
class Stop:
    """Why a traced thread has stopped, or that it has ended."""

    thread_id: int
    ended: bool = False
    at_call: bool = False
    """At the entry or the exit of a system call."""
    signal: int = 0
    """A signal that is about to be delivered."""
    interrupted: bool = False
    """By `interrupt`, or because its whole process is stopped."""


def seize(thread_id: int, *, suspend_seccomp: bool) -> None:
    """Begin to trace a thread; it goes on running."""
    options = _OPTION_TRACESYSGOOD | (_OPTION_SUSPEND_SECCOMP if suspend_seccomp else 0)
    _request(_SEIZE, thread_id, 0, options)


def interrupt(thread_id: int) -> None:
    """Ask a traced thread to stop; `wait_for_stop` tells when it has."""
    _request(_INTERRUPT, thread_id)


def detach(thread_id: int) -> None:
    """Let a stopped thread go."""
    _request(_DETACH, thread_id)


def run(thread_id: int, deliver: int = 0) -> None:
    """Let a stopped thread run, with that signal delivered to it."""
    _request(_CONT, thread_id, 0, deliver)


def go_on(thread_id: int, deliver: int = 0) -> None:
    """Let a stopped thread run to its next system call's entry or exit."""
    _request(_SYSCALL, thread_id, 0, deliver)


def get_registers(thread_id: int, layout: Layout) -> Registers:
    """The general registers of a stopped thread."""
    buffer = ctypes.create_string_buffer(layout.size_bytes)
    vector = _IoVector(ctypes.addressof(buffer), layout.size_bytes)
    _request(_GETREGSET, thread_id, _NT_PRSTATUS, ctypes.addressof(vector))
    if vector.length == layout.size_bytes:
        return Registers.from_bytes(layout, buffer.raw)
    _request(_GETREGS, thread_id, 0, ctypes.addressof(buffer))  # all of them, in any mode
    registers = Registers.from_bytes(layout, buffer.raw)
    if not registers.has_32_bits:
        raise OSError(errno.ENOEXEC, "the thread runs in a code segment of its own")
    return registers


def set_registers(thread_id: int, registers: Registers) -> None:
    """Set all general registers of a stopped thread at once."""
    data = registers.to_bytes()
    buffer = ctypes.create_string_buffer(data, len(data))
    if registers.layout is X86_64:  # whatever mode the thread is in now
        _request(_SETREGS, thread_id, 0, ctypes.addressof(buffer))
        return
    vector = _IoVector(ctypes.addressof(buffer), len(data))
    _request(_SETREGSET, thread_id, _NT_PRSTATUS, ctypes.addressof(vector))


def get_signal_mask(thread_id: int) -> int:
    """Blocked signals, one bit each; within sigsuspend(2) and its like the mask after it."""
    mask = ctypes.c_uint64()
    _request(_GETSIGMASK, thread_id, 8, ctypes.addressof(mask))
    return mask.value


def set_signal_mask(thread_id: int, mask: int) -> None:
    """Block exactly these signals."""
    value = ctypes.c_uint64(mask)
    _request(_SETSIGMASK, thread_id, 8, ctypes.addressof(value))


def restartable_sequence(thread_id: int) -> int:
    """Address of the thread's `struct rseq` (rseq(2)), or 0 when it has none registered."""
    # struct ptrace_rseq_configuration: u64 address, u32 size, u32 signature, u32 flags, u32 pad
    buffer = ctypes.create_string_buffer(24)
    try:
        _request(_GET_RSEQ_CONFIGURATION, thread_id, len(buffer), ctypes.addressof(buffer))
    except OSError as error:
        if error.errno == errno.ESRCH:
            raise
        return 0  # a kernel without it
    return int.from_bytes(buffer.raw[:8], "little")


def wait_for_stop(thread_id: int, deadline: float) -> Stop | None:
    """Wait until a traced thread stops or ends; None when it has not by time.monotonic()."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
    try:
        while True:
            try:
                found, status = os.waitpid(thread_id, os.WNOHANG | _WALL)
            except ChildProcessError:
                return Stop(thread_id, ended=True)
            if found:
                return _stop_of(thread_id, status)
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return None
            signal.sigtimedwait((signal.SIGCHLD,), min(remaining, _ANOTHER_LOOK_SECONDS))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def wait_for_call(thread_id: int, deadline: float) -> Stop | None:
    """Wait for a stop of a thread that makes a call of ours; None: not by time.monotonic().

    A main thread that was killed is not told of as long as other threads of it are traced, so its
    state is looked at, too.
    """
    for _ in range(_SPINS):
        try:
            found, status = os.waitpid(thread_id, os.WNOHANG | _WALL)
        except ChildProcessError:
            return Stop(thread_id, ended=True)
        if found:
            return _stop_of(thread_id, status)
        os.sched_yield()
    while True:
        soon = min(deadline, time.monotonic() + _DEAD_LOOK_SECONDS)
        stop = wait_for_stop(thread_id, soon)
        if stop is not None:
            return stop
        if has_ended(thread_id):
            return Stop(thread_id, ended=True)
        if soon >= deadline:
            return None


def reap(thread_id: int) -> None:
    """Take note that a traced thread has ended, if it has; its stops are left to be waited for.

    Any thread of ours may do this. Does not block.
    """
    options = os.WEXITED | os.WNOHANG | _WALL
    with suppress(ChildProcessError):
        found = os.waitid(os.P_PID, thread_id, options | os.WNOWAIT)  # it tells of stops as well
        if found is not None and found.si_code in _ENDS:
            os.waitid(os.P_PID, thread_id, options)


def is_stopped(thread_id: int) -> bool:
    """Whether a thread that we trace stands now. Its registers can be set then."""
    try:
        return status_fields(thread_id, ("State",))["State"][:1] == "t"
    except ProcessLookupError:
        return False


def has_ended(thread_id: int) -> bool:
    """Whether a thread is gone or waits to be buried."""
    try:
        return status_fields(thread_id, ("State",))["State"][:1] in "ZX"
    except ProcessLookupError:
        return True


def thread_ids(pid: int) -> list[int]:
    """The threads of a process, now. Raises ProcessLookupError when it has ended."""
    try:
        return [int(name) for name in names(f"/proc/{pid}/task")]
    except FileNotFoundError as error:
        raise ProcessLookupError(errno.ESRCH, f"process {pid} has ended") from error


def tracer_of(pid: int) -> int:
    """The process that traces it, or 0. Raises ProcessLookupError when it has ended."""
    return int(status_fields(pid, ("TracerPid",))["TracerPid"])


def status_fields(pid: int, wanted: Iterable[str]) -> dict[str, str]:
    """Fields of proc_pid_status(5). Raises ProcessLookupError when it has ended."""
    try:
        text = read_record(f"/proc/{pid}/status")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(errno.ESRCH, f"process {pid} has ended") from error
    return {name: os.fsdecode(field(text, name.encode()) or b"") for name in wanted}


def _stop_of(thread_id: int, status: int) -> Stop:
    if os.WIFEXITED(status) or os.WIFSIGNALED(status):
        return Stop(thread_id, ended=True)
    number = os.WSTOPSIG(status)
    if status >> 16 == _EVENT_STOP:
        return Stop(thread_id, interrupted=True)
    if number == _SYSCALL_STOP:
        return Stop(thread_id, at_call=True)
    return Stop(thread_id, signal=number)


def _request(request: int, thread_id: int, address: int = 0, data: int = 0) -> None:
    if _libc.ptrace(request, thread_id, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace of thread {thread_id}: {os.strerror(number)}")
