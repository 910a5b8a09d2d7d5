"""The threads of one process, seized and stopped.

Owns tracing: which threads are seized, and how each stood when it stopped. Invariant: a thread that
was seized is detached from, at once or as soon as it stops (see `detaching`). Nothing in a process
is changed here. To be used only by the thread of ours that began (ptrace(2)).
"""

from __future__ import annotations

import errno
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from holdfast.applications.rebind.tracing.detaching import (
    LET_GO_SECONDS,
    detach,
    detach_late_threads,
    detach_later,
    run_and_interrupt,
)
from holdfast.applications.rebind.tracing.errors import Uncooperative, gone
from holdfast.applications.rebind.tracing.hindrances import (
    Hindrance,
    hindrance,
    runs_program,
    traced,
)
from holdfast.applications.rebind.tracing.memory import ProcessMemory
from holdfast.applications.rebind.tracing.time_budget import TimeBudget, TimeBudgets
from holdfast.errors import DeadlinePassed, Refused
from holdfast.system.proc import link
from holdfast.system.processes import ptrace
from holdfast.system.processes.process_state import start_time
from holdfast.system.processes.registers import X86_64, Registers

STOP_SECONDS = 2.0
"""How long a thread may take to stop; one inside storage that does not answer takes longer."""

LAYOUT = X86_64

_SEIZE_SECONDS = 0.02
"""A thread that takes longer to be seized is likely to be in a process that runs a new program."""

_EXECUTE_SECONDS = 0.2
"""The main thread of a process that runs a new program from another thread is dead meanwhile."""


_FORBIDDEN = "holdfast doctor says what forbids it."


class Threads:
    """All threads of a process. `seize` begins, `await_stop` ends the stopping."""

    def __init__(self, pid: int, time_budget: TimeBudget | None = None) -> None:
        self.pid = pid
        self.time_budget = time_budget or TimeBudgets().for_user_of(pid)
        self.uncooperative: Uncooperative | None = None
        """What it did not do when it was asked; nothing more is asked of it then."""
        self.has_run_on = False
        """Whether any thread has run since all of them were stopped."""
        self.start_time = began_at(pid)
        self.registers: dict[int, Registers] = {}
        """Of each stopped thread, as it will go on."""
        self.masks: dict[int, int] = {}
        """Blocked signals of each stopped thread."""
        self._seized: dict[int, None] = {}
        self._leader: Registers | None = None
        self.memory = ProcessMemory(pid)

    @property
    def executor(self) -> int:
        """The thread that makes system calls when it matters to nobody which one does."""
        return self.pid if self.pid in self.registers else next(iter(self.registers))

    def seize(self) -> None:
        """Begin to stop all threads; those in system calls are told now.

        Raises ProcessLookupError when the process has ended, Refused when another process traces
        it, or when its main thread has ended before the others; everything is let go then.
        """
        detach_late_threads()
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
        time_budget = time.monotonic() + _EXECUTE_SECONDS
        while ptrace.has_ended(self.pid) and len(ptrace.thread_ids(self.pid)) > 1:
            if time.monotonic() > time_budget:
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
        self.memory.open()
        for thread_id, registers in self.registers.items():
            self._leave_restartable_sequence(thread_id, registers)

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
        self.has_run_on = True
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
            with _reaping(self._seized):
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
            by = traced(tracer) if tracer else Hindrance(str(error.strerror), _FORBIDDEN)
            words = f"process {self.pid} cannot be stopped: {by.words}"
            raise Refused(words, by.mend) from error

    def _await(self, thread_id: int, deadline: float) -> None:
        while True:
            soon = min(deadline, time.monotonic() + _SEIZE_SECONDS)
            stop = ptrace.wait_for_stop(thread_id, soon)
            if stop is None and not ptrace.has_ended(thread_id):
                if soon < deadline:
                    self._reap()  # it may run a new program, and wait for that
                    continue
                found = hindrance(self.pid, thread_id)
                raise DeadlinePassed(
                    f"thread {thread_id} of process {self.pid} does not stop: {found.words}",
                    found.mend,
                )
            if stop is None or stop.ended:
                del self._seized[thread_id]
                if stop is None:
                    detach_later(thread_id)  # a main thread is reaped after the others
                return
            if stop.interrupted:
                break
            run_and_interrupt(thread_id, stop.signal)
        with suppress(ProcessLookupError):  # it has ended: the next wait says so
            registers = self._registers_of(thread_id)
            if thread_id == self.pid:
                self._leader = registers.copy()
            registers.undo_interruption()
            if _is_socket(thread_id, registers.interrupted_descriptor):
                registers.restart_unless_handled()
            self.masks[thread_id] = ptrace.get_signal_mask(thread_id)
            self.registers[thread_id] = registers
            return
        del self._seized[thread_id]

    def _registers_of(self, thread_id: int) -> Registers:
        try:
            return ptrace.get_registers(thread_id, LAYOUT)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            raise Refused(
                f"process {self.pid} cannot be stopped: {error.strerror} (modify_ldt)",
                "End this process for the time of the restoration.",
            ) from error

    def _reap(self) -> None:
        for thread_id in list(self._seized):
            ptrace.reap(thread_id)

    def _leave_restartable_sequence(self, thread_id: int, registers: Registers) -> None:
        """A thread inside a critical section (rseq(2)) starts that again: it was interrupted."""
        address = ptrace.restartable_sequence(thread_id)
        if not address:
            return
        # struct rseq: cpu_id_start, cpu_id, rseq_cs; struct rseq_cs: version, flags, start_ip,
        # post_commit_offset, abort_ip (include/uapi/linux/rseq.h)
        try:
            section = struct.unpack("<Q", self.memory.read_patiently(address + 8, 8))[0]
            if not section:
                return
            start, length, abort = struct.unpack(
                "<QQQ", self.memory.read_patiently(section + 8, 24)
            )
        except OSError:
            return
        if start <= registers.instruction_pointer < start + length:
            registers.values[LAYOUT.instruction_pointer] = abort

    def give_up(self, thread_id: int, what: str) -> Uncooperative:
        """What is raised when a thread does not do what it was asked to, now and ever after."""
        if self.uncooperative is None:
            self.uncooperative = Uncooperative(
                errno.ESRCH, f"thread {thread_id} of process {self.pid} did not {what}"
            )
        return self.uncooperative

    def check(self) -> None:
        """Raises Uncooperative when nothing can be asked of the process any more."""
        if self.uncooperative is not None:
            raise self.uncooperative

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
        late = [each for each in standing if not detach(each, 0.0)]  # nobody waits for another
        deadline = time.monotonic() + LET_GO_SECONDS
        for thread_id in late:
            if not detach(thread_id, max(deadline - time.monotonic(), 0.0)):
                detach_later(thread_id)
        self._seized.clear()
        self.memory.close()


def _is_socket(thread_id: int, descriptor: int) -> bool:
    """Whether this descriptor of a thread is a socket."""
    if descriptor < 0:
        return False
    with suppress(OSError):
        return link(f"/proc/{thread_id}/fd/{descriptor}").startswith("socket:")
    return False


@contextmanager
def _reaping(seized: dict[int, None]) -> Iterator[None]:
    """Let threads of ours be reaped that end while another one is seized.

    A process that runs a new program lets nobody seize a thread before all its other ones are
    reaped; those that we have seized wait for us (ptrace(2), execve(2)).
    """
    over = threading.Event()

    def reap() -> None:
        while not over.wait(_SEIZE_SECONDS):
            for thread_id in list(seized):
                ptrace.reap(thread_id)

    helper = threading.Thread(target=reap, daemon=True)
    helper.start()
    try:
        yield
    finally:
        over.set()
        helper.join()


def began_at(pid: int) -> int:
    """As `start_time`. Raises ProcessLookupError when the process has ended."""
    found = start_time(pid)
    if not found:
        raise gone(pid)
    return found
