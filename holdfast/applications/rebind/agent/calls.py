"""System calls that the threads of a stopped process make for us in its harbour.

Owns what a thread executes while its process is stopped. Invariant: when a call has ended its
thread is in the wait loop again, so our death leaves it there. Must never make a call that blocks,
or that has a relative time-out: the kernel would forget an interrupted call (see x86_64.WAIT).
"""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from holdfast.applications.rebind.agent.batch import (
    MOST_CALLS,
    batch_code,
    is_done,
    results_of,
    table_bytes,
    table_of,
)
from holdfast.applications.rebind.agent.harbour import ROOM_BYTES, SCRATCH_BYTES, Harbour
from holdfast.applications.rebind.agent.steps import Steps, to_end
from holdfast.applications.rebind.agent.x86_64 import CALL
from holdfast.applications.rebind.tracing.detaching import LET_GO_SECONDS
from holdfast.applications.rebind.tracing.errors import gone
from holdfast.applications.rebind.tracing.threads import LAYOUT, Threads
from holdfast.system.proc import read_record
from holdfast.system.processes import ptrace
from holdfast.system.processes.ptrace import EVERY_SIGNAL
from holdfast.system.processes.registers import Registers
from holdfast.system.processes.syscalls import number_of

_TURNS, _TURN_SECONDS = 200, 0.0002
"""How often it is looked whether calls have been made, before and while sleeping in between."""

_LATEST_NS = (1 << 63) - 1
"""KTIME_MAX of <linux/ktime.h>: no clock of the kernel goes beyond it."""
_BATCH_NS = 10 * 10**9
"""How long a thread that has made its calls waits at least to be interrupted."""

_LOOK_SECONDS, _MOST_COMPUTED_NS = 0.05, 20_000_000
"""How often a thread that does not enter the kernel is looked at, and how much it may compute."""

_NO_CALL = (1 << 64) - 1
"""In orig_rax at the entry of a call: it is not made (ptrace(2))."""

LEAST_RESULT = -4095
"""MAX_ERRNO of linux/err.h: results from here to -1 are errors."""


def making_call(threads: Threads, thread_id: int, wanted: Registers) -> Steps[int]:
    """Let a thread make the system call for which its registers were prepared; the raw result.

    Raises ProcessLookupError when the process has ended; Uncooperative when the thread does
    anything else, or does not come to an end in time. Only this very call is made: whoever writes
    to the code gets no other one out of it.
    """
    threads.check()
    limit_seconds, waited_seconds = threads.time_budget.limit_seconds, 0.0
    entered = False
    computing = _Computing(thread_id)
    ptrace.go_on(thread_id)
    try:
        yield
        while True:
            begun = time.monotonic()
            soon = begun + min(limit_seconds - waited_seconds, _LOOK_SECONDS)
            stop = ptrace.wait_for_call(thread_id, soon)
            waited_seconds += time.monotonic() - begun
            if stop is not None and stop.ended:
                raise gone(threads.pid)
            is_late = waited_seconds >= limit_seconds
            if is_late or (stop is None and not entered and computing.goes_on()):
                raise threads.give_up(thread_id, f"make a system call in {waited_seconds:.1f} s")
            if stop is None:
                continue
            if stop.at_call:
                found = ptrace.get_registers(thread_id, LAYOUT)
                if entered:
                    return found.result
                if not found.enters(wanted):
                    found.values[LAYOUT.interrupted] = _NO_CALL
                    ptrace.set_registers(thread_id, found)
                    raise threads.give_up(thread_id, "make the system call that it was to make")
                entered = True
            ptrace.go_on(thread_id, stop.signal)
            yield
    finally:
        threads.time_budget.spend(waited_seconds)


class _Computing:
    """Whether a thread computes, which none of ours has to before it enters the kernel."""

    def __init__(self, thread_id: int) -> None:
        self._path = f"/proc/{thread_id}/schedstat"
        self._before_ns = -1

    def goes_on(self) -> bool:
        """Whether it has computed since the first time that this was asked, and for long."""
        with suppress(OSError, ValueError, IndexError):
            used_ns = int(read_record(self._path).split()[0])
            if self._before_ns < 0:
                self._before_ns = used_ns
            return used_ns - self._before_ns > _MOST_COMPUTED_NS
        return False


class NobodyThere(OSError):
    """A call said ESRCH: of whom it was about. Python would make a ProcessLookupError of it, which
    says here that the process which makes the calls has ended."""


def failure(threads: Threads, name: str, result: int) -> OSError | None:
    """What the raw result of a system call says went wrong: its `filename` tells the process."""
    if not LEAST_RESULT <= result < 0:
        return None
    kind = NobodyThere if result == -errno.ESRCH else OSError
    words = f"{name} in process {threads.pid}: {os.strerror(-result)}"
    return kind(-result, words, f"/proc/{threads.pid}")


class Calls:
    """What one can ask of the threads in a harbour."""

    def __init__(self, threads: Threads, harbour: Harbour) -> None:
        self.harbour = harbour
        self._threads = threads
        self._filtered: dict[int, bool] = {}

    def wait(self, thread_id: int) -> None:
        """Point a thread into the wait loop, where it is when nobody holds it; no signals there."""
        ptrace.set_registers(thread_id, self._waiting(thread_id))
        ptrace.set_signal_mask(thread_id, EVERY_SIGNAL)

    def _waiting(self, thread_id: int) -> Registers:
        registers = self._threads.registers[thread_id].copy()
        registers.point_at(self.harbour.wait)
        registers.values["r14"] = self.harbour.cells_of(thread_id)
        registers.values["r15"] = self.harbour.exit_of(thread_id)
        registers.forget_call()
        return registers

    def write_exits(self) -> None:
        """Write the code again that gives the threads their registers, which have changed."""
        code = self.harbour.build_code(self._threads.registers)
        self._threads.memory.write(self.harbour.address, code)

    def learn_clock(self) -> None:
        """Compare deadlines with the clock that these threads see. Raises OSError.

        Raises Uncooperative for a time that no clock shows: somebody else has written it there.
        """
        address = self.harbour.scratch
        before_ns = time.monotonic_ns()
        self.call("clock_gettime", (time.CLOCK_MONOTONIC, address))
        after_ns = time.monotonic_ns()
        seconds, rest_ns = struct.unpack("<qq", self._threads.memory.read(address, 16))
        there_ns = seconds * 10**9 + rest_ns
        if not (0 <= there_ns <= _LATEST_NS and 0 <= rest_ns < 10**9):
            raise self._threads.give_up(self._threads.executor, "read its clock")
        if not before_ns <= there_ns <= after_ns:
            self.harbour = replace(self.harbour, clock_offset_ns=there_ns - before_ns)
            self.write_exits()

    # --- one call -------------------------------------------------------------------------------

    def call(self, name: str, arguments: tuple[int, ...], thread_id: int | None = None) -> int:
        """Make one system call; its result. Raises OSError with its errno."""
        return to_end(self.calling(name, arguments, thread_id))

    def calling(
        self, name: str, arguments: tuple[int, ...], thread_id: int | None = None
    ) -> Steps[int]:
        """As `call`, in steps."""
        return self._calling_at(self.harbour.call, name, arguments, thread_id)

    def call_with_code(self, code: bytes, name: str, arguments: tuple[int, ...]) -> int:
        """Make one system call with this code behind it, in the harbour's room."""
        whole = CALL.with_values({}) + code
        assert len(whole) <= ROOM_BYTES
        self._threads.memory.write(self.harbour.room, whole)
        return to_end(self._calling_at(self.harbour.room, name, arguments, None))

    def _calling_at(
        self, address: int, name: str, arguments: tuple[int, ...], thread_id: int | None
    ) -> Steps[int]:
        self._threads.check()
        thread_id = thread_id or self._threads.executor
        registers = self._waiting(thread_id)
        registers.prepare_call(address, number_of(name, LAYOUT.machine), arguments)
        ptrace.set_registers(thread_id, registers)
        result = yield from making_call(self._threads, thread_id, registers)
        error = failure(self._threads, name, result)
        if error is not None:
            raise error
        return result

    # --- many calls -----------------------------------------------------------------------------

    def calling_many(
        self, calls: Sequence[tuple[str, tuple[int, ...]]], thread_id: int | None = None
    ) -> Steps[list[int]]:
        """Make system calls one after another; their raw results (negative: an error number)."""
        thread_id = thread_id or self._threads.executor
        if self._is_filtered(thread_id):
            return [self._call_raw(name, arguments, thread_id) for name, arguments in calls]
        results: list[int] = []
        for begin in range(0, len(calls), MOST_CALLS):
            results += yield from self._calling_batch(calls[begin : begin + MOST_CALLS], thread_id)
        return results

    def _is_filtered(self, thread_id: int) -> bool:
        """Whether it has a seccomp filter, which is only kept away as long as we live."""
        if thread_id not in self._filtered:
            status = ptrace.status_fields(thread_id, ("Seccomp",))
            self._filtered[thread_id] = status["Seccomp"] not in ("", "0")
        return self._filtered[thread_id]

    def _call_raw(self, name: str, arguments: tuple[int, ...], thread_id: int) -> int:
        try:
            return self.call(name, arguments, thread_id)
        except ProcessLookupError:
            raise
        except OSError as error:
            return -(error.errno or errno.EIO)

    def _calling_batch(
        self, calls: Sequence[tuple[str, tuple[int, ...]]], thread_id: int
    ) -> Steps[list[int]]:
        threads, harbour = self._threads, self.harbour
        threads.check()
        table = harbour.scratch + SCRATCH_BYTES // 4
        numbered = [(number_of(name, LAYOUT.machine), arguments) for name, arguments in calls]
        threads.memory.write(table, table_of(numbered))
        threads.memory.write(harbour.room, batch_code(table, harbour.wait))
        registers = self._waiting(thread_id)
        registers.point_at(harbour.room)
        # In the end it is in the wait loop until it is interrupted, and must not leave meanwhile.
        head = threads.memory.read(harbour.data, 16)
        later_ns = max(struct.unpack("<Qq", head)[1], time.monotonic_ns() + _BATCH_NS)
        threads.memory.write(harbour.data, struct.pack("<Qq", 1, later_ns))
        ptrace.set_registers(thread_id, registers)
        ptrace.run(thread_id)
        yield
        self._await_batch(table, thread_id)
        self._keep_what_left(thread_id)
        ptrace.set_registers(thread_id, self._waiting(thread_id))
        threads.memory.write(harbour.data, head)
        results = results_of(threads.memory.read(table, table_bytes(len(calls))))
        if any(result < LEAST_RESULT for result in results):
            raise threads.give_up(thread_id, "say what became of its system calls")
        return results

    def _await_batch(self, table: int, thread_id: int) -> None:
        """Wait until a thread has gone through the table, and stop it."""
        begun = time.monotonic()
        try:
            self._await_table(table, thread_id, begun + self._threads.time_budget.limit_seconds)
        finally:
            self._threads.time_budget.spend(time.monotonic() - begun)
        limit_seconds = max(self._threads.time_budget.limit_seconds, LET_GO_SECONDS)
        if not self._threads.take_back(thread_id, limit_seconds):
            raise self._threads.give_up(thread_id, "stop after the calls that it was to make")
        if ptrace.has_ended(thread_id):
            raise gone(self._threads.pid)

    def _await_table(self, table: int, thread_id: int, deadline: float) -> None:
        turns = 0
        while not is_done(self._threads.memory.read(table, 8)):
            turns += 1
            if turns < _TURNS:
                os.sched_yield()
                continue
            time.sleep(_TURN_SECONDS)
            now = time.monotonic()
            stop = ptrace.wait_for_stop(thread_id, now)
            if stop is not None and stop.ended:
                raise gone(self._threads.pid)
            if now > deadline:
                raise self._threads.give_up(thread_id, "make many system calls in time")
            if stop is not None:
                ptrace.run(thread_id, stop.signal)

    def _keep_what_left(self, thread_id: int) -> None:
        """Take over what a thread did that left the harbour since, because we were too slow."""
        registers = ptrace.get_registers(thread_id, LAYOUT)
        if self.harbour.holds(registers.instruction_pointer):
            return
        mask = ptrace.get_signal_mask(thread_id)
        self._threads.registers[thread_id] = registers
        self._threads.masks[thread_id] = mask
        ptrace.set_signal_mask(thread_id, EVERY_SIGNAL)
        self.write_exits()
        cells = struct.pack("<QQ", mask, registers.values["eflags"])
        self._threads.memory.write(self.harbour.cells_of(thread_id), cells)
