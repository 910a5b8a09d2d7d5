"""One process, all of whose threads are stopped, and which makes system calls for us.

Owns the harbour of the process, and its life: stop, regain, release. Invariant: between `stop` and
`release`, at every instant, our death leaves threads that go on as if nothing had happened, or that
wait in the harbour when something of the process is parked. Must only be used from the thread that
made it (ptrace(2)).
"""

from __future__ import annotations

import errno
import secrets
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

from holdfast.applications.rebind.agent.calls import Calls
from holdfast.applications.rebind.agent.descriptor_tables import DescriptorChannel, DescriptorTables
from holdfast.applications.rebind.agent.entry import HarbourEntry
from holdfast.applications.rebind.agent.leftovers import clear_left_over
from holdfast.applications.rebind.agent.process_record import (
    ProcessRecord,
    take_over,
    thread_records,
)
from holdfast.applications.rebind.agent.steps import Steps, to_end
from holdfast.applications.rebind.tracing.errors import gone
from holdfast.applications.rebind.tracing.threads import STOP_SECONDS, Threads, began_at
from holdfast.applications.rebind.tracing.time_budget import TimeBudget
from holdfast.system.mounts.namespace import shares_clocks
from holdfast.system.proc import read
from holdfast.system.proc_text import Map, parse_maps
from holdfast.system.processes.registers import Registers

DEAD_MOUNT_ERRORS = frozenset(
    (
        *(errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.ECONNABORTED),
        *(errno.ENODEV, errno.ESHUTDOWN, errno.EROFS),
    )
)
"""With these a system call ends because its mount is dead, or was turned read-only."""


class Tracee:
    """A stopped process. `stop` and `regain` give one; or `seize`, `await_stop`, `enter_harbour`.

    Every method raises ProcessLookupError when the process has ended.
    """

    _living: ClassVar[set[int]] = set()
    """Tokens of the harbours of all our tracees: two of them may share one memory."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self.pid = threads.pid
        self._token = secrets.randbits(63)
        """Tells this harbour from any other: a record belongs to one."""
        self._entry: HarbourEntry | None = None
        self._inside: Calls | None = None
        """While its threads are in the harbour."""
        self._tables = DescriptorTables(self)

    @property
    def threads(self) -> dict[int, Registers]:
        """Registers of each thread, as it will go on."""
        return self._threads.registers

    @property
    def has_run_on(self) -> bool:
        """Whether any thread has run since all of them were stopped: it had to leave the code of an
        earlier agent."""
        return self._threads.has_run_on

    @property
    def time_budget(self) -> TimeBudget:
        """How long everybody else may have to wait for it."""
        return self._threads.time_budget

    @property
    def executor(self) -> int:
        """The thread that makes its calls."""
        return self._threads.executor

    # --- stopping -------------------------------------------------------------------------------

    @classmethod
    def stop(
        cls,
        pid: int,
        deadline_ns: int,
        timeout_seconds: float = STOP_SECONDS,
        time_budget: TimeBudget | None = None,
        left_by: int | None = None,
    ) -> Tracee:
        """Stop all threads of a process and bring them into the harbour.

        `deadline_ns` (CLOCK_MONOTONIC): when they leave it by themselves if nobody lets them go.
        Raises DeadlinePassed when a thread does not stop in time, Refused when it cannot be done;
        nothing is changed then. `time_budget`: how long its calls may take. `left_by`: see
        `enter_harbour`.
        """
        tracee = cls.seize(pid, time_budget)
        try:
            tracee.await_stop(timeout_seconds)
            tracee.enter_harbour(deadline_ns, left_by)
        except BaseException:
            tracee.abandon()
            raise
        return tracee

    @classmethod
    def seize(cls, pid: int, time_budget: TimeBudget | None = None) -> Tracee:
        """Begin to stop a process. A thread in a system call is told now."""
        threads = Threads(pid, time_budget)
        threads.seize()
        return cls(threads)

    def await_stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Wait until every thread stands. Raises DeadlinePassed."""
        self._threads.await_stop(timeout_seconds)

    def enter_harbour(self, deadline_ns: int, left_by: int | None = None) -> None:
        """Make the harbour and point every thread into it. Nothing is parked yet.

        What an agent before us has left is removed. Raises InUse when it has parked something,
        unless that is the harbour with the token `left_by`: we know what was parked there.
        """
        to_end(self.entering_harbour(deadline_ns, left_by))

    def entering_harbour(self, deadline_ns: int, left_by: int | None = None) -> Steps[None]:
        """As `enter_harbour`, in steps; processes that share memory do it one after the other."""
        maps = self._maps()
        abandoned = [
            harbour
            for harbour in clear_left_over(self._threads, maps, STOP_SECONDS, left_by)
            if harbour.token not in self._living
        ]
        self._entry = HarbourEntry(self._threads, maps)
        self._tables.look(self._threads)
        self._inside = yield from self._entry.entering(maps, deadline_ns, self._token)
        self._living.add(self._token)
        if not shares_clocks(self.pid):
            self._inside.learn_clock()
        for harbour in abandoned:
            self.call("munmap", harbour.address, harbour.size_bytes)

    def _maps(self) -> list[Map]:
        try:
            return parse_maps(read(f"/proc/{self.pid}/maps"))
        except (FileNotFoundError, ProcessLookupError) as error:
            raise gone(self.pid) from error

    # --- going on after a death -----------------------------------------------------------------

    def record(self) -> ProcessRecord:
        """What `regain` needs. To be written down before `set_parked(True)`.

        It need not survive a power cut: neither does the process.
        """
        return ProcessRecord(
            pid=self.pid,
            start_time=self._threads.start_time,
            harbour=self._calls.harbour.address,
            token=self._token,
            threads=thread_records(self._threads),
            descriptor_limit=self._tables.limit,
            descriptors=self._tables.before(),
            clock_offset_ns=self._calls.harbour.clock_offset_ns,
        )

    @classmethod
    def regain(
        cls,
        record: ProcessRecord,
        timeout_seconds: float = STOP_SECONDS,
        time_budget: TimeBudget | None = None,
    ) -> Tracee | None:
        """Seize again what an agent left in the harbour; None when it is gone or has left it.

        What is left of a harbour that the threads have left is removed. Raises DeadlinePassed,
        Refused as `stop` does.
        """
        try:
            if began_at(record.pid) != record.start_time:
                return None
            tracee = cls.seize(record.pid, time_budget)
        except ProcessLookupError:
            return None
        try:
            tracee.await_stop(timeout_seconds)
            if tracee._take_over(record):
                return tracee
            tracee.enter_harbour(0, record.token)
            tracee.release()
        except ProcessLookupError:
            tracee.abandon()
        except BaseException:
            tracee.abandon()
            raise
        return None

    def _take_over(self, record: ProcessRecord) -> bool:
        self._inside = take_over(self._threads, record)
        if self._inside is None:
            return False
        self._token = record.token
        self._living.add(self._token)
        self._entry = HarbourEntry(self._threads, self._maps())
        self._tables.recall(record.descriptor_limit, record.descriptors, self.threads)
        return True

    # --- what happens when we die ---------------------------------------------------------------

    def set_parked(self, parked: bool) -> None:
        """Say whether the threads wait in the harbour when we die; False: they go on at once.

        Before True, what `as_json` says must have been written down.
        """
        self.write(self._calls.harbour.data, struct.pack("<Q", parked))

    def set_deadline(self, deadline_ns: int) -> None:
        """Set when the threads leave the harbour by themselves, in ns of CLOCK_MONOTONIC."""
        self.write(self._calls.harbour.data + 8, struct.pack("<q", deadline_ns))

    # --- working inside -------------------------------------------------------------------------

    @property
    def _calls(self) -> Calls:
        assert self._inside is not None, f"process {self.pid} is not in its harbour"
        return self._inside

    @property
    def scratch(self) -> int:
        """Address of read-write memory inside the process for arguments."""
        return self._calls.harbour.scratch

    @property
    def wait_address(self) -> int:
        """The address at which a thread of a stopped process waits when it makes no call."""
        return self._calls.harbour.wait

    def call(self, name: str, *arguments: int, thread_id: int | None = None) -> int:
        """Make one system call in the process; its result. Raises OSError with its errno.

        It must not block, and have no relative time-out (see `calls`).
        """
        return to_end(self.calling(name, *arguments, thread_id=thread_id))

    def calling(self, name: str, *arguments: int, thread_id: int | None = None) -> Steps[int]:
        """As `call`, in steps."""
        return self._calls.calling(name, arguments, thread_id)

    def call_with_code(self, code: bytes, name: str, *arguments: int) -> int:
        """Make one system call with code of ours behind it, which a child made by it runs.

        The code must lead whoever is not that child to `wait_address`, with r14 and r15 as they
        are. At most ROOM_BYTES with the call instruction.
        """
        return self._calls.call_with_code(code, name, arguments)

    def call_many(
        self, calls: Sequence[tuple[str, tuple[int, ...]]], thread_id: int | None = None
    ) -> list[int]:
        """Make system calls one after another; their raw results (negative: an error number).

        As `call`, with one stop for hundreds of them. All are made, whatever becomes of those
        before; when we die, the thread may go through the rest of them by itself. So they must be
        such that it does no harm to make them again.
        """
        return to_end(self.calling_many(calls, thread_id))

    def calling_many(
        self, calls: Sequence[tuple[str, tuple[int, ...]]], thread_id: int | None = None
    ) -> Steps[list[int]]:
        """As `call_many`, in steps."""
        return self._calls.calling_many(calls, thread_id)

    def read(self, address: int, length: int) -> bytes:
        """Read memory of the process. Raises OSError."""
        return self._threads.memory.read(address, length)

    def write(self, address: int, data: bytes) -> None:
        """Write memory of the process, read-only memory as well. Raises OSError."""
        self._threads.memory.write(address, data)

    def channel(self, thread_id: int | None = None) -> DescriptorChannel:
        """The channel into the process's (or a thread's own) table of descriptors."""
        return self._tables.channel(thread_id)

    def give(self, descriptor: int, thread_id: int | None = None) -> int:
        """Pass a descriptor of ours into the process; its number there, close-on-exec set."""
        return self.channel(thread_id).give([descriptor])[0]

    def take(self, number: int, thread_id: int | None = None) -> int:
        """A copy of a descriptor of the process for us; the caller closes it."""
        return self.channel(thread_id).take(number)

    def allow_more_descriptors(self) -> bool:
        """Raise the process's soft limit of descriptors until it is released; whether it could be.

        What it had is in `record`, so that a later agent puts it back.
        """
        return self._tables.allow_more()

    def give_up(self, what: str) -> ProcessLookupError:
        """What is raised when the process did not do this: nothing more is asked of it then."""
        return self._threads.give_up(self.executor, what)

    # --- calls that failed because their mount died ---------------------------------------------

    def failed_calls(self) -> dict[int, tuple[int, int]]:
        """Threads that are about to see an error of a dead mount: number of the call, errno."""
        return {
            thread_id: (registers.interrupted_call, -registers.result)
            for thread_id, registers in self.threads.items()
            if registers.interrupted_call >= 0 and -registers.result in DEAD_MOUNT_ERRORS
        }

    def make_call_again(self, thread_id: int) -> None:
        """Let a thread make its system call again instead of seeing how it ended."""
        self.threads[thread_id].make_call_again()
        self._calls.write_exits()

    # --- letting go -----------------------------------------------------------------------------

    def release(self) -> None:
        """Give every thread its own state again, unmap the harbour, let them go on. Idempotent.

        Raises OSError when something of ours could not be removed; they go on all the same.
        """
        to_end(self.releasing())

    def releasing(self) -> Steps[None]:
        """As `release`, in steps; processes that share memory do it one after the other."""
        try:
            if self._inside is not None:
                yield from self._leaving_harbour(self._inside)
        except OSError:
            if self._inside is not None:
                with suppress(OSError):
                    self.set_parked(False)
            self._inside = None
            self.abandon()  # they leave by themselves; of one that has ended its parent hears now
            raise
        self.abandon()

    def _leaving_harbour(self, calls: Calls) -> Steps[None]:
        assert self._entry is not None
        yield from self._tables.clearing()
        self.set_parked(False)
        self._inside = None  # whatever interrupts us now, no call may be made any more
        yield from self._entry.leaving(calls)

    def abandon(self) -> None:
        """Let go of everything as it is: what our death would do. Idempotent.

        One that did not do what it was asked gets its threads back as they were: what it was to
        wait with may lead anywhere.
        """
        self._tables.forget()
        self._living.discard(self._token)
        if self._threads.uncooperative is not None:
            self._threads.restore()
            if self._entry is not None:
                with suppress(OSError):
                    self._entry.clear()
        self._threads.let_go()
