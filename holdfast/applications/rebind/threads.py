"""The threads of one process, seized and stopped.

Owns tracing: which threads are seized, how each stood when it stopped, and letting them go.
Invariant: a thread that was seized is let go or recorded as reluctant; nothing in a process is
changed here. Must only be used from the thread of ours that began (ptrace(2)).
"""

from __future__ import annotations

import errno
import os
import struct
import time
from contextlib import suppress
from pathlib import Path

from holdfast.errors import DeadlinePassed, Refused
from holdfast.system import ptrace
from holdfast.system.registers import X86_64, Registers

STOP_SECONDS = 2.0
"""How long a thread may take to stop; one inside storage that does not answer takes longer."""

LAYOUT = X86_64

_reluctant: set[int] = set()
"""Threads that did not stop in time and may do so later: they are let go then."""


class Threads:
    """All threads of a process. `seize` begins, `await_stop` ends the stopping."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.start_time = start_time(pid)
        self.registers: dict[int, Registers] = {}
        """Of each stopped thread, as it will go on."""
        self.masks: dict[int, int] = {}
        """Blocked signals of each stopped thread."""
        self._seized: list[int] = []
        self._memory = -1

    @property
    def executor(self) -> int:
        """The thread that makes system calls when it matters to nobody which one does."""
        return self.pid if self.pid in self.registers else next(iter(self.registers))

    def seize(self) -> None:
        """Begin to stop all threads; those in system calls are told now.

        Raises ProcessLookupError when the process has ended, Refused when another process traces
        it; everything is let go then.
        """
        tend_reluctant()
        try:
            self._memory = os.open(f"/proc/{self.pid}/mem", os.O_RDWR | os.O_CLOEXEC)
            self._seize_all()
        except FileNotFoundError as error:
            raise ProcessLookupError(errno.ESRCH, f"process {self.pid} has ended") from error
        except BaseException:
            self.let_go()
            raise

    def await_stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Wait until every thread stands, those included that were born meanwhile.

        Raises DeadlinePassed naming a thread that does not, ProcessLookupError.
        """
        deadline = time.monotonic() + timeout_seconds
        while waiting := [each for each in self._seized if each not in self.registers]:
            for thread_id in waiting:
                self._await(thread_id, deadline)
            self._seize_all()
        if not self.registers:
            raise ProcessLookupError(errno.ESRCH, f"process {self.pid} has ended")

    def run_on(self, thread_id: int, deadline: float) -> None:
        """Let a stopped thread run a little, and stop it again."""
        self.registers.pop(thread_id, None)
        ptrace.run(thread_id)
        ptrace.interrupt(thread_id)
        self._await(thread_id, deadline)

    def _seize_all(self) -> None:
        """Seize and interrupt each thread that is not seized yet."""
        for thread_id in ptrace.thread_ids(self.pid):
            if thread_id in self._seized:
                continue
            try:
                status = ptrace.status_fields(thread_id, ("State", "Seccomp"))
                if status["State"][:1] in "ZX":
                    continue
                ptrace.seize(thread_id, suspend_seccomp=status["Seccomp"] not in ("", "0"))
                self._seized.append(thread_id)
                ptrace.interrupt(thread_id)
            except ProcessLookupError:
                continue
            except PermissionError as error:
                if ptrace.has_ended(thread_id):
                    continue
                tracer = ptrace.tracer_of(thread_id)
                raise Refused(
                    f"process {self.pid} cannot be stopped:"
                    + (f" process {tracer} traces it" if tracer else f" {error.strerror}"),
                    "End the debugger or strace that is attached to it.",
                ) from error

    def _await(self, thread_id: int, deadline: float) -> None:
        while True:
            stop = ptrace.wait_for_stop(thread_id, deadline)
            if stop is None and not ptrace.has_ended(thread_id):
                raise DeadlinePassed(
                    f"thread {thread_id} of process {self.pid} does not stop: it is inside a"
                    " system call that cannot be interrupted",
                    "See what its storage is waiting for, then try again.",
                )
            if stop is None or stop.ended:
                self._seized.remove(thread_id)
                return
            if stop.interrupted:
                break
            ptrace.run(thread_id, stop.signal)
        with suppress(ProcessLookupError):  # it is told of at the next look
            registers = ptrace.get_registers(thread_id, LAYOUT)
            self._leave_restartable_sequence(thread_id, registers)
            self.masks[thread_id] = ptrace.get_signal_mask(thread_id)
            self.registers[thread_id] = registers
            return
        self._seized.remove(thread_id)

    def _leave_restartable_sequence(self, thread_id: int, registers: Registers) -> None:
        """A thread inside a critical section (rseq(2)) starts that again: it was interrupted."""
        address = ptrace.restartable_sequence(thread_id)
        if not address:
            return
        # struct rseq: cpu_id_start, cpu_id, rseq_cs; struct rseq_cs: version, flags, start_ip,
        # post_commit_offset, abort_ip (include/uapi/linux/rseq.h)
        try:
            section = struct.unpack("<Q", self.read(address + 8, 8))[0]
            if not section:
                return
            start, length, abort = struct.unpack("<QQQ", self.read(section + 8, 24))
        except OSError:
            return
        if start <= registers.instruction_pointer < start + length:
            registers.values[LAYOUT.instruction_pointer] = abort

    def read(self, address: int, length: int) -> bytes:
        """Read memory of the process. Raises OSError."""
        data = os.pread(self._memory, length, address)
        if len(data) != length:
            raise self._no_memory(address)
        return data

    def write(self, address: int, data: bytes) -> None:
        """Write memory of the process, read-only memory as well. Raises OSError."""
        if os.pwrite(self._memory, data, address) != len(data):
            raise self._no_memory(address)

    def _no_memory(self, address: int) -> OSError:
        if ptrace.has_ended(self.pid):
            return ProcessLookupError(errno.ESRCH, f"process {self.pid} has ended")
        return OSError(errno.EFAULT, f"no memory at {address:#x}")

    def let_go(self) -> None:
        """Let go of everything as it is: what our death would do. Idempotent."""
        for thread_id in sorted(self._seized, key=lambda each: each == self.pid):
            if not _let_go(thread_id, STOP_SECONDS):
                _reluctant.add(thread_id)
        self._seized.clear()
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1


def _let_go(thread_id: int, timeout_seconds: float) -> bool:
    """Detach from a thread, stopped or about to stop; False when it does not stop in time."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        with suppress(ProcessLookupError):
            ptrace.detach(thread_id)
            return True
        stop = ptrace.wait_for_stop(thread_id, min(deadline, time.monotonic() + 0.05))
        if stop is None and not ptrace.has_ended(thread_id):
            if time.monotonic() >= deadline:
                return False
            continue
        if stop is None or stop.ended:
            return True
        if stop.signal:
            ptrace.run(thread_id, stop.signal)


def tend_reluctant() -> None:
    """Let go of threads that stopped only after we had given them up."""
    for thread_id in list(_reluctant):
        if _let_go(thread_id, 0.0):
            _reluctant.discard(thread_id)


def start_time(pid: int) -> int:
    """proc_pid_stat(5), field 22. Raises ProcessLookupError when the process has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(errno.ESRCH, f"process {pid} has ended") from error
    return int(text.rpartition(b")")[2].split()[19])
