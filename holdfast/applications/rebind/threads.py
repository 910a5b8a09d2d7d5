"""The threads of one process, seized and stopped.

Owns tracing: which threads are seized, how each stood when it stopped, and letting them go.
Invariant: a thread that was seized is let go or recorded as reluctant; nothing in a process is
changed here. Must only be used from the thread of ours that began (ptrace(2)).
"""

from __future__ import annotations

import errno
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from holdfast.applications.rebind.hindrances import hindrance, runs_program
from holdfast.applications.rebind.patience import Patience, Patiences
from holdfast.errors import DeadlinePassed, HoldfastError, Refused
from holdfast.system import ptrace
from holdfast.system.expendable import in_expendable_child
from holdfast.system.pagemap import is_resident
from holdfast.system.proc import link, read_record
from holdfast.system.proc_text import parse_stat
from holdfast.system.registers import X86_64, Registers

STOP_SECONDS = 2.0
"""How long a thread may take to stop; one inside storage that does not answer takes longer."""

LAYOUT = X86_64

LET_GO_SECONDS = 0.2
"""How long a thread that has not stopped yet is waited for, to be let go, while others stand."""

_SEIZE_SECONDS = 0.02
"""A thread that takes longer to be seized is likely to be in a process that runs a new program."""

_EXECUTE_SECONDS = 0.2
"""The main thread of a process that runs a new program from another thread is dead meanwhile."""

_PAGE_SECONDS = 1.0
"""For a page of a process to be read from its file."""

_reluctant: set[int] = set()
"""Threads that did not stop in time and may do so later: they are let go then."""


class Threads:
    """All threads of a process. `seize` begins, `await_stop` ends the stopping."""

    def __init__(self, pid: int, patience: Patience | None = None) -> None:
        self.pid = pid
        self.patience = patience or Patiences().with_user_of(pid)
        self.unruly: Unruly | None = None
        """What it did not do when it was asked; nothing more is asked of it then."""
        self.start_time = start_time(pid)
        self.registers: dict[int, Registers] = {}
        """Of each stopped thread, as it will go on."""
        self.masks: dict[int, int] = {}
        """Blocked signals of each stopped thread."""
        self._seized: dict[int, None] = {}
        self._leader: Registers | None = None
        self._memory = -1
        self._pagemap = -1

    @property
    def executor(self) -> int:
        """The thread that makes system calls when it matters to nobody which one does."""
        return self.pid if self.pid in self.registers else next(iter(self.registers))

    def seize(self) -> None:
        """Begin to stop all threads; those in system calls are told now.

        Raises ProcessLookupError when the process has ended, Refused when another process traces
        it, or when its main thread has ended before the others; everything is let go then.
        """
        tend_reluctant()
        if self._has_lost_its_leader():
            # nothing in /proc/PID tells of its memory any more
            raise Refused(
                f"process {self.pid} cannot be stopped: its main thread ended before the others",
                "Stop this process for the time of the restoration.",
            )
        self._await_programs()
        try:
            self._seize_all()
        except BaseException:
            self.let_go()
            raise

    def _await_programs(self) -> None:
        """Wait until no thread is about to run another program: nobody can be seized meanwhile.

        Whoever tries waits with it, for ever when the storage of that program does not answer
        (cred_guard_mutex of include/linux/sched/signal.h). Raises DeadlinePassed.
        """
        deadline = time.monotonic() + STOP_SECONDS
        for thread_id in ptrace.thread_ids(self.pid):
            while runs_program(thread_id):
                if time.monotonic() > deadline:
                    found = hindrance(self.pid, thread_id)
                    raise DeadlinePassed(
                        f"process {self.pid} cannot be stopped: {found.words}", found.mend
                    )
                time.sleep(_SEIZE_SECONDS / 10)

    def _has_lost_its_leader(self) -> bool:
        """Whether the main thread ended before the others: for longer than execve(2) takes."""
        patience = time.monotonic() + _EXECUTE_SECONDS
        while ptrace.has_ended(self.pid) and len(ptrace.thread_ids(self.pid)) > 1:
            if time.monotonic() > patience:
                return True
            time.sleep(_SEIZE_SECONDS)
        return False

    def await_stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Wait until every thread stands, those included that were born meanwhile.

        Raises DeadlinePassed naming a thread that does not, ProcessLookupError.
        """
        deadline = time.monotonic() + timeout_seconds
        self._await_all(deadline)
        while self._runs_another_program():
            self.let_go()
            if time.monotonic() > deadline:
                raise DeadlinePassed(
                    f"process {self.pid} does not stop: it runs one program after the other",
                    "Try again.",
                )
            self.registers.clear()
            self.masks.clear()
            self._leader = None
            self.seize()
            self._await_all(deadline)
        if not self.registers:
            raise gone(self.pid)
        self._open_memory()
        for thread_id, registers in self.registers.items():
            self._leave_restartable_sequence(thread_id, registers)

    def _open_memory(self) -> None:
        """Not earlier: a descriptor of it stays with the memory of a program that was left."""
        try:
            self._memory = os.open(f"/proc/{self.pid}/mem", os.O_RDWR | os.O_CLOEXEC)
            self._pagemap = os.open(f"/proc/{self.pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise gone(self.pid) from error

    def _await_all(self, deadline: float) -> None:
        while waiting := [each for each in self._seized if each not in self.registers]:
            if time.monotonic() > deadline + STOP_SECONDS:
                raise DeadlinePassed(
                    f"process {self.pid} does not stop: it starts one thread after the other",
                    "Try again, or end it.",
                )
            for thread_id in waiting:
                self._await(thread_id, deadline)
            self._seize_all()

    def _runs_another_program(self) -> bool:
        """Whether threads that stopped are not there any more, or another one has taken the number
        of the main thread.

        That is what execve(2) does, which ends all other threads, stopped or not.
        """
        if not self.registers.keys() <= set(ptrace.thread_ids(self.pid)):
            return True
        if self._leader is None:
            return False
        try:
            return ptrace.get_registers(self.pid, LAYOUT).values != self._leader.values
        except ProcessLookupError:
            return True

    def run_on(self, thread_id: int, deadline: float) -> None:
        """Let a stopped thread run a little, and stop it again."""
        self.registers.pop(thread_id, None)
        ptrace.run(thread_id)
        ptrace.interrupt(thread_id)
        self._await(thread_id, deadline)
        if thread_id in self.registers:
            self._leave_restartable_sequence(thread_id, self.registers[thread_id])

    def _seize_all(self) -> None:
        """Seize and interrupt each thread that is not seized yet."""
        new = [each for each in ptrace.thread_ids(self.pid) if each not in self._seized]
        if new and not self._seized:
            self._seize(new.pop(0))
        if new:
            with _burying(self._seized):
                for thread_id in new:
                    self._seize(thread_id)

    def _seize(self, thread_id: int, attempts: int = 5) -> None:
        try:
            status = ptrace.status_fields(thread_id, ("State", "Seccomp"))
            if status["State"][:1] in "ZX":
                return
            ptrace.seize(thread_id, suspend_seccomp=status["Seccomp"] not in ("", "0"))
            self._seized[thread_id] = None
            ptrace.interrupt(thread_id)
        except ProcessLookupError:
            return
        except PermissionError as error:
            if ptrace.has_ended(thread_id):
                return
            tracer = ptrace.tracer_of(thread_id)
            if tracer == os.getpid():
                return  # another thread, which we have seized, has taken its number
            if not tracer and attempts > 1:  # or one that we have not
                self._seize(thread_id, attempts - 1)
                return
            raise Refused(
                f"process {self.pid} cannot be stopped:"
                + (f" process {tracer} traces it" if tracer else f" {error.strerror}"),
                "End the debugger or strace that is attached to it.",
            ) from error

    def _await(self, thread_id: int, deadline: float) -> None:
        while True:
            soon = min(deadline, time.monotonic() + _SEIZE_SECONDS)
            stop = ptrace.wait_for_stop(thread_id, soon)
            if stop is None and not ptrace.has_ended(thread_id):
                if soon < deadline:
                    self._bury()  # it may run a new program, and wait for that
                    continue
                found = hindrance(self.pid, thread_id)
                raise DeadlinePassed(
                    f"thread {thread_id} of process {self.pid} does not stop: {found.words}",
                    found.mend,
                )
            if stop is None or stop.ended:
                del self._seized[thread_id]
                if stop is None:
                    _reluctant.add(thread_id)  # it is buried after the others
                return
            if stop.interrupted:
                break
            run_and_interrupt(thread_id, stop.signal)
        with suppress(ProcessLookupError):  # it is told of at the next look
            registers = ptrace.get_registers(thread_id, LAYOUT)
            if thread_id == self.pid:
                self._leader = registers.copy()
            registers.undo_interruption()
            if _is_socket(thread_id, registers.interrupted_descriptor):
                registers.restart_unless_handled()
            self.masks[thread_id] = ptrace.get_signal_mask(thread_id)
            self.registers[thread_id] = registers
            return
        del self._seized[thread_id]

    def _bury(self) -> None:
        for thread_id in list(self._seized):
            ptrace.bury(thread_id)

    def _leave_restartable_sequence(self, thread_id: int, registers: Registers) -> None:
        """A thread inside a critical section (rseq(2)) starts that again: it was interrupted."""
        address = ptrace.restartable_sequence(thread_id)
        if not address:
            return
        # struct rseq: cpu_id_start, cpu_id, rseq_cs; struct rseq_cs: version, flags, start_ip,
        # post_commit_offset, abort_ip (include/uapi/linux/rseq.h)
        try:
            section = struct.unpack("<Q", self.read_patiently(address + 8, 8))[0]
            if not section:
                return
            start, length, abort = struct.unpack("<QQQ", self.read_patiently(section + 8, 24))
        except OSError:
            return
        if start <= registers.instruction_pointer < start + length:
            registers.values[LAYOUT.instruction_pointer] = abort

    def is_resident(self, address: int) -> bool:
        """Whether the page there can be read without waiting for a file system behind it."""
        return is_resident(self._pagemap, address)

    def read_patiently(self, address: int, length: int) -> bytes:
        """Read memory that the process has chosen: it may lie on storage that never answers.

        Raises OSError, also when it does not within a second.
        """
        if self.is_resident(address) and self.is_resident(address + length - 1):
            return self.read(address, length)
        try:
            return in_expendable_child(
                partial(self.read, address, length), _PAGE_SECONDS, "memory of a process"
            )
        except HoldfastError as error:
            raise OSError(errno.EFAULT, f"no answer from the memory at {address:#x}") from error

    def read(self, address: int, length: int) -> bytes:
        """Read memory of the process. Raises OSError. Blocks where its pages are on storage."""
        data = os.pread(self._memory, length, address)
        if len(data) != length:
            raise self._no_memory(address, len(data))
        return data

    def write(self, address: int, data: bytes) -> None:
        """Write memory of the process, read-only memory as well. Raises OSError."""
        written = os.pwrite(self._memory, data, address)
        if written != len(data):
            raise self._no_memory(address, written)

    def _no_memory(self, address: int, done_bytes: int) -> OSError:
        if not done_bytes or ptrace.has_ended(self.pid):  # 0: its memory is gone, it is ending
            return gone(self.pid)
        return OSError(errno.EFAULT, f"no memory at {address:#x}")

    def give_up(self, thread_id: int, what: str) -> Unruly:
        """What is raised when a thread does not do what it was asked to, now and ever after."""
        if self.unruly is None:
            self.unruly = Unruly(
                errno.ESRCH, f"thread {thread_id} of process {self.pid} did not {what}"
            )
        return self.unruly

    def check(self) -> None:
        """Raises Unruly when nothing can be asked of the process any more."""
        if self.unruly is not None:
            raise self.unruly

    def take_back(self, thread_id: int, timeout_seconds: float = LET_GO_SECONDS) -> bool:
        """Stop a thread that was let run for a call; whether it stands, or has ended."""
        deadline = time.monotonic() + timeout_seconds
        with suppress(ProcessLookupError):
            ptrace.interrupt(thread_id)
        while (stop := ptrace.wait_for_call(thread_id, deadline)) is not None:
            if stop.ended or stop.interrupted:
                return True
            run_and_interrupt(thread_id, stop.signal)
            if time.monotonic() > deadline:
                break
        return False

    def restore(self) -> None:
        """Give each thread its own state again, wherever it is now; they stay stopped.

        For a process in which no call can be made any more. A thread that cannot be stopped leaves
        the harbour by itself, at the deadline.
        """
        for thread_id, registers in self.registers.items():
            with suppress(OSError):
                if ptrace.is_stopped(thread_id) or self.take_back(thread_id):
                    ptrace.set_signal_mask(thread_id, self.masks[thread_id])
                    ptrace.set_registers(thread_id, registers)

    def let_go(self) -> None:
        """Let go of everything as it is: what our death would do. Idempotent."""
        standing = sorted(self._seized, key=lambda each: each == self.pid)
        late = [each for each in standing if not _let_go(each, 0.0)]  # nobody waits for another
        deadline = time.monotonic() + LET_GO_SECONDS
        for thread_id in late:
            if not _let_go(thread_id, max(deadline - time.monotonic(), 0.0)):
                _reluctant.add(thread_id)
        self._seized.clear()
        for descriptor in (self._memory, self._pagemap):
            if descriptor >= 0:
                os.close(descriptor)
        self._memory = self._pagemap = -1


def _is_socket(thread_id: int, descriptor: int) -> bool:
    """Whether this descriptor of a thread is a socket."""
    if descriptor < 0:
        return False
    with suppress(OSError):
        return link(f"/proc/{thread_id}/fd/{descriptor}").startswith("socket:")
    return False


def _let_go(thread_id: int, timeout_seconds: float) -> bool:
    """Detach from a thread, stopped or about to stop; False when it does not stop in time."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        with suppress(ProcessLookupError):
            ptrace.detach(thread_id)
            return True
        stop = ptrace.wait_for_stop(thread_id, min(deadline, time.monotonic() + 0.05))
        if stop is None:  # or it is a main thread, which is buried after the others
            if time.monotonic() >= deadline:
                return False
            continue
        if stop.ended:
            return True
        if stop.signal:
            run_and_interrupt(thread_id, stop.signal)


def run_and_interrupt(thread_id: int, deliver: int) -> None:
    """Let a thread run that stopped for something else: any stop takes an interruption away."""
    ptrace.run(thread_id, deliver)
    with suppress(ProcessLookupError):  # it is told of at the next look
        ptrace.interrupt(thread_id)


@contextmanager
def _burying(seized: dict[int, None]) -> Iterator[None]:
    """Let threads of ours be buried that end while another one is seized.

    A process that runs a new program lets nobody seize a thread before all its other ones are
    buried; those that we have seized wait for us (ptrace(2), execve(2)).
    """
    over = threading.Event()

    def bury() -> None:
        while not over.wait(_SEIZE_SECONDS):
            for thread_id in list(seized):
                ptrace.bury(thread_id)

    helper = threading.Thread(target=bury, daemon=True)
    helper.start()
    try:
        yield
    finally:
        over.set()
        helper.join()


def tend_reluctant() -> None:
    """Let go of threads that stopped only after we had given them up."""
    for thread_id in list(_reluctant):
        if _let_go(thread_id, 0.0):
            _reluctant.discard(thread_id)


def start_time(pid: int) -> int:
    """proc_pid_stat(5), field 22. Raises ProcessLookupError when the process has ended."""
    try:
        return parse_stat(read_record(f"/proc/{pid}/stat")).start_time
    except (FileNotFoundError, ProcessLookupError) as error:
        raise gone(pid) from error


class Unruly(ProcessLookupError):
    """A process lives and does not do what is asked of it: for us it is as good as gone.

    Whoever may write to its memory can bring that about. Nobody else may suffer for it.
    """


def gone(pid: int) -> ProcessLookupError:
    """What is raised when a process has ended."""
    return ProcessLookupError(errno.ESRCH, f"process {pid} has ended")
