"""One process, all of whose threads are stopped, and which makes system calls for us.

Owns the harbour of the process. Invariant: between `stop` and `release`, at every instant, our
death leaves threads that go on as if nothing had happened, or that wait in the harbour when
something of the process is parked. Must only be used from the thread that made it (ptrace(2)).
"""

from __future__ import annotations

import errno
import os
import resource
import secrets
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from holdfast.applications.rebind.batch import (
    MOST_CALLS,
    batch_code,
    is_done,
    results_of,
    table_bytes,
    table_of,
)
from holdfast.applications.rebind.courier import Courier
from holdfast.applications.rebind.harbour import (
    ROOM_BYTES,
    SCRATCH_BYTES,
    SLACK_BYTES,
    Harbour,
    choose_place,
    slack_code,
)
from holdfast.applications.rebind.slack import choose_slot
from holdfast.applications.rebind.strays import clear_left_over, stray_at
from holdfast.applications.rebind.threads import LAYOUT, STOP_SECONDS, Threads, start_time
from holdfast.system import ptrace
from holdfast.system.kcmp import Shared, is_shared
from holdfast.system.proc import descriptor_limit
from holdfast.system.ptrace import EVERY_SIGNAL
from holdfast.system.registers import Registers
from holdfast.system.syscalls import number_of

_PROT_READ, _PROT_WRITE, _PROT_EXEC = 1, 2, 4
_MAP_FIXED_NOREPLACE = 0x100022
"""With MAP_PRIVATE and MAP_ANONYMOUS, asm-generic/mman-common.h; Linux 4.17."""

_TURNS, _TURN_SECONDS = 200, 0.0002
"""How often it is looked whether calls have been made, before and while sleeping in between."""

_BATCH_NS = 10 * 10**9
"""How long a thread that has made its calls waits at least to be interrupted."""

DEAD_MOUNT_ERRORS = frozenset(
    (
        *(errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.ECONNABORTED),
        *(errno.ENODEV, errno.ESHUTDOWN, errno.EROFS),
    )
)
"""With these a system call ends because its mount is dead, or was turned read-only."""


class Target:
    """A stopped process. `stop` and `regain` give one; or `seize`, `await_stop`, `enter_harbour`.

    Every method raises ProcessLookupError when the process has ended.
    """

    scratch_bytes = SCRATCH_BYTES
    _living: ClassVar[set[int]] = set()
    """Tokens of the harbours of all our targets: two of them may be in the same memory."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self.pid = threads.pid
        self._harbour: Harbour | None = None
        self._token = secrets.randbits(63)
        """Tells this harbour from any other: a record belongs to one."""
        self._slack = 0
        self._couriers: dict[int | None, Courier] = {}
        self._descriptor_limit = (0, 0)
        self._filtered: dict[int, bool] = {}
        self._descriptors: dict[int, set[int]] = {}
        """Numbers in each table of descriptors when the process stopped: later ones are ours."""

    @property
    def threads(self) -> dict[int, Registers]:
        """Registers of each thread, as it will go on."""
        return self._threads.registers

    # --- stopping -------------------------------------------------------------------------------

    @classmethod
    def stop(cls, pid: int, deadline_ns: int, timeout_seconds: float = STOP_SECONDS) -> Target:
        """Stop all threads of a process and bring them into the harbour.

        `deadline_ns` (CLOCK_MONOTONIC): when they leave it by themselves if nobody lets them go.
        Raises DeadlinePassed when a thread does not stop in time, Refused when it cannot be done;
        nothing is changed then.
        """
        target = cls.seize(pid)
        try:
            target.await_stop(timeout_seconds)
            target.enter_harbour(deadline_ns)
        except BaseException:
            target.abandon()
            raise
        return target

    @classmethod
    def seize(cls, pid: int) -> Target:
        """Begin to stop a process. A thread in a system call is told now."""
        threads = Threads(pid)
        threads.seize()
        return cls(threads)

    def await_stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Wait until every thread stands. Raises DeadlinePassed."""
        self._threads.await_stop(timeout_seconds)

    # --- the harbour ----------------------------------------------------------------------------

    def enter_harbour(self, deadline_ns: int) -> None:
        """Make the harbour and point every thread into it. Nothing is parked yet.

        What an agent before us has left is removed. Raises InUse when it has parked something.
        """
        maps = self._maps()
        strays = [
            stray
            for stray in clear_left_over(self._threads, maps, STOP_SECONDS)
            if stray.token not in self._living
        ]
        self._slack = choose_slot(self._threads, maps)
        executor = self._threads.executor
        for thread_id in self.threads:
            if thread_id == executor or not is_shared(Shared.DESCRIPTORS, executor, thread_id):
                self._descriptors[thread_id] = _descriptors(self.pid, thread_id)
        size_bytes = Harbour(0, tuple(self.threads)).size_bytes
        self._descriptor_limit = descriptor_limit(self.pid)
        harbour = Harbour(choose_place(maps, size_bytes), tuple(self.threads))
        protection = _PROT_READ | _PROT_EXEC
        arguments = (harbour.address, size_bytes, protection, _MAP_FIXED_NOREPLACE, -1, 0)
        self._call_from_slack(harbour, "mmap", arguments)
        self._harbour = harbour
        self._living.add(self._token)
        data = harbour.build_data(self.threads, self._threads.masks, deadline_ns, self._token)
        self.write(harbour.data, data)
        self.write(harbour.address, harbour.build_code(self.threads))
        for thread_id in self.threads:
            ptrace.set_registers(thread_id, self._waiting(thread_id))
            ptrace.set_signal_mask(thread_id, EVERY_SIGNAL)
        self.write(self._slack, bytes(SLACK_BYTES))
        data_bytes = harbour.size_bytes - harbour.code_bytes
        self.call("mprotect", harbour.data, data_bytes, _PROT_READ | _PROT_WRITE)
        for stray in strays:
            self.call("munmap", stray.address, stray.size_bytes)

    def _maps(self) -> list[str]:
        try:
            return Path(f"/proc/{self.pid}/maps").read_text().splitlines()
        except FileNotFoundError as error:
            raise ProcessLookupError(errno.ESRCH, f"process {self.pid} has ended") from error

    def _call_from_slack(self, harbour: Harbour, name: str, arguments: tuple[int, ...]) -> None:
        """One system call through self-restoring code: the harbour is not there (any more)."""
        executor = self._threads.executor
        registers = self.threads[executor]
        code = slack_code(self._slack, registers, self._threads.masks[executor], harbour)
        self.write(self._slack, code)
        calling = registers.copy()
        calling.prepare_call(self._slack, number_of(name, LAYOUT.machine), arguments)
        ptrace.set_registers(executor, calling)
        ptrace.set_signal_mask(executor, EVERY_SIGNAL)
        result = self._run_call(executor)
        if -4096 < result < 0:
            self._restore(executor)
            self.write(self._slack, bytes(SLACK_BYTES))
            raise OSError(-result, f"{name} in process {self.pid}: {os.strerror(-result)}")

    def _waiting(self, thread_id: int) -> Registers:
        """Registers of a thread that waits in the harbour when nobody holds it."""
        assert self._harbour is not None
        registers = self.threads[thread_id].copy()
        registers.values["rip"] = self._harbour.wait
        registers.values["r14"] = self._harbour.cells_of(thread_id)
        registers.values["r15"] = self._harbour.exit_of(thread_id)
        registers.forget_call()
        return registers

    def set_parked(self, parked: bool) -> None:
        """Say whether the threads wait in the harbour when we die; False: they go on at once.

        Before True, what `as_json` says must have been written down.
        """
        assert self._harbour is not None
        self.write(self._harbour.data, struct.pack("<Q", parked))

    def set_deadline(self, deadline_ns: int) -> None:
        """When the threads leave the harbour by themselves, in ns of CLOCK_MONOTONIC."""
        assert self._harbour is not None
        self.write(self._harbour.data + 8, struct.pack("<q", deadline_ns))

    @property
    def scratch(self) -> int:
        """Address of read-write memory inside the process for arguments."""
        assert self._harbour is not None
        return self._harbour.scratch

    # --- working inside -------------------------------------------------------------------------

    def call(self, name: str, *arguments: int, thread_id: int | None = None) -> int:
        """Make one system call in the process; its result. Raises OSError with its errno.

        It must not block, and have no relative time-out (see harbour).
        """
        assert self._harbour is not None
        return self._call_at(self._harbour.call, name, arguments, thread_id)

    def call_with_code(self, code: bytes, name: str, *arguments: int) -> int:
        """Make one system call with code of ours behind it, which a child made by it runs.

        The code must lead whoever is not that child to `wait_address`, with r14 and r15 as they
        are. At most ROOM_BYTES with the call instruction.
        """
        assert self._harbour is not None
        instruction = b"\x0f\x05"
        assert len(instruction + code) <= ROOM_BYTES
        self.write(self._harbour.room, instruction + code)
        return self._call_at(self._harbour.room, name, arguments, None)

    def call_many(
        self, calls: Sequence[tuple[str, tuple[int, ...]]], thread_id: int | None = None
    ) -> list[int]:
        """Make system calls one after another; their raw results (negative: an error number).

        As `call`, with one stop for hundreds of them. All are made, whatever becomes of those
        before; when we die, the thread may go through the rest of them by itself. So they must be
        such that it does no harm to make them again. With a seccomp filter, which is only kept
        away as long as we live, they are made one by one.
        """
        thread_id = thread_id or self._threads.executor
        if self._is_filtered(thread_id):
            return [self._call_raw(name, arguments, thread_id) for name, arguments in calls]
        results: list[int] = []
        for begin in range(0, len(calls), MOST_CALLS):
            results += self._call_batch(calls[begin : begin + MOST_CALLS], thread_id)
        return results

    def _is_filtered(self, thread_id: int) -> bool:
        if thread_id not in self._filtered:
            status = ptrace.status_fields(thread_id, ("Seccomp",))
            self._filtered[thread_id] = status["Seccomp"] not in ("", "0")
        return self._filtered[thread_id]

    def _call_raw(self, name: str, arguments: tuple[int, ...], thread_id: int) -> int:
        try:
            return self.call(name, *arguments, thread_id=thread_id)
        except ProcessLookupError:
            raise
        except OSError as error:
            return -(error.errno or errno.EIO)

    def _call_batch(
        self, calls: Sequence[tuple[str, tuple[int, ...]]], thread_id: int
    ) -> list[int]:
        assert self._harbour is not None
        table = self.scratch + SCRATCH_BYTES // 4
        numbered = [(number_of(name, LAYOUT.machine), arguments) for name, arguments in calls]
        self.write(table, table_of(numbered))
        self.write(self._harbour.room, batch_code(table, self._harbour.wait))
        registers = self._waiting(thread_id)
        registers.values["rip"] = self._harbour.room
        # In the end it is in the wait loop until it is interrupted, and must not leave meanwhile.
        head = self.read(self._harbour.data, 16)
        later_ns = max(struct.unpack("<Qq", head)[1], time.monotonic_ns() + _BATCH_NS)
        self.write(self._harbour.data, struct.pack("<Qq", 1, later_ns))
        ptrace.set_registers(thread_id, registers)
        ptrace.run(thread_id)
        turns = 0
        while not is_done(self.read(table, 8)):
            turns += 1
            if turns < _TURNS:
                os.sched_yield()
                continue
            time.sleep(_TURN_SECONDS)
            stop = ptrace.wait_for_stop(thread_id, time.monotonic())
            if stop is not None and stop.ended:
                raise ProcessLookupError(errno.ESRCH, f"process {self.pid} has ended")
            if stop is not None:
                ptrace.run(thread_id, stop.signal)
        ptrace.interrupt(thread_id)
        while True:
            stop = ptrace.wait_for_call(thread_id)
            if stop.ended:
                raise ProcessLookupError(errno.ESRCH, f"process {self.pid} has ended")
            if stop.interrupted:
                break
            ptrace.run(thread_id, stop.signal)
        self._keep_what_left(thread_id)
        ptrace.set_registers(thread_id, self._waiting(thread_id))
        self.write(self._harbour.data, head)
        return results_of(self.read(table, table_bytes(len(calls))))

    def _keep_what_left(self, thread_id: int) -> None:
        """If we were so slow that the thread left the harbour: what it did since is not undone."""
        assert self._harbour is not None
        registers = ptrace.get_registers(thread_id, LAYOUT)
        if self._harbour.holds(registers.instruction_pointer):
            return
        self.threads[thread_id] = registers
        self._threads.masks[thread_id] = ptrace.get_signal_mask(thread_id)
        ptrace.set_signal_mask(thread_id, EVERY_SIGNAL)
        self.write(self._harbour.address, self._harbour.build_code(self.threads))
        cells = struct.pack("<QQ", self._threads.masks[thread_id], registers.values["eflags"])
        self.write(self._harbour.cells_of(thread_id), cells)

    @property
    def wait_address(self) -> int:
        """Where a thread of a stopped process belongs when it makes no call."""
        assert self._harbour is not None
        return self._harbour.wait

    def _call_at(
        self, address: int, name: str, arguments: tuple[int, ...], thread_id: int | None
    ) -> int:
        thread_id = thread_id or self._threads.executor
        registers = self._waiting(thread_id)
        registers.prepare_call(address, number_of(name, LAYOUT.machine), arguments)
        ptrace.set_registers(thread_id, registers)
        result = self._run_call(thread_id)
        if -4096 < result < 0:
            raise OSError(-result, f"{name} in process {self.pid}: {os.strerror(-result)}")
        return result

    def _run_call(self, thread_id: int) -> int:
        """Let a thread make the system call that it points at; the raw result."""
        entered = False
        ptrace.go_on(thread_id)
        while True:
            stop = ptrace.wait_for_call(thread_id)
            if stop.ended:
                raise ProcessLookupError(errno.ESRCH, f"process {self.pid} has ended")
            if stop.at_call:
                if entered:
                    return ptrace.get_registers(thread_id, LAYOUT).result
                entered = True
            ptrace.go_on(thread_id, stop.signal)

    def read(self, address: int, length: int) -> bytes:
        """Read memory of the process. Raises OSError."""
        return self._threads.read(address, length)

    def write(self, address: int, data: bytes) -> None:
        """Write memory of the process, read-only memory as well. Raises OSError."""
        self._threads.write(address, data)

    def courier(self, thread_id: int | None = None) -> Courier:
        """The line into the process's (or a thread's own) table of descriptors."""
        if thread_id not in self._couriers:
            self._couriers[thread_id] = Courier(self, thread_id)
        return self._couriers[thread_id]

    def give(self, descriptor: int, thread_id: int | None = None) -> int:
        """Pass a descriptor of ours into the process; its number there, close-on-exec set."""
        return self.courier(thread_id).give([descriptor])[0]

    def take(self, number: int, thread_id: int | None = None) -> int:
        """A copy of a descriptor of the process for us; the caller closes it."""
        return self.courier(thread_id).take(number)

    def allow_more_descriptors(self) -> bool:
        """Raise the process's soft limit of descriptors until it is released; whether it could be.

        What it had is in `as_json`, so that a later agent puts it back.
        """
        soft, hard = self._descriptor_limit
        if soft == hard:
            return False
        self._limit_descriptors(hard, hard)
        return True

    def _limit_descriptors(self, soft: int, hard: int) -> None:
        """As the process itself: others' limits are not even root's everywhere."""
        self.write(self.scratch, struct.pack("<QQ", soft, hard))
        self.call("prlimit64", 0, resource.RLIMIT_NOFILE, self.scratch, 0)

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
        assert self._harbour is not None
        self.threads[thread_id].make_call_again()
        self.write(self._harbour.address, self._harbour.build_code(self.threads))

    # --- letting go -----------------------------------------------------------------------------

    def release(self) -> None:
        """Give every thread its own state again, unmap the harbour, let them go on."""
        try:
            self._release()
        except ProcessLookupError:
            self.abandon()  # or its parent would not hear of its end
            raise

    def _release(self) -> None:
        assert self._harbour is not None
        for courier in self._couriers.values():
            courier.close()
        self._couriers.clear()
        self._close_left_over()
        if descriptor_limit(self.pid) != self._descriptor_limit:
            self._limit_descriptors(*self._descriptor_limit)
        self.set_parked(False)
        executor = self._threads.executor
        for thread_id in self.threads:
            if thread_id != executor:
                self._restore(thread_id)
        harbour = self._harbour
        self._call_from_slack(harbour, "munmap", (harbour.address, harbour.size_bytes))
        self._restore(executor)
        self.write(self._slack, bytes(SLACK_BYTES))
        self._harbour = None
        self.abandon()

    def _restore(self, thread_id: int) -> None:
        """A thread's own signal mask, then its own registers: in this order we may die between."""
        ptrace.set_signal_mask(thread_id, self._threads.masks[thread_id])
        ptrace.set_registers(thread_id, self.threads[thread_id])

    def _close_left_over(self) -> None:
        """Close what was opened inside for us: nobody else could while all threads stood."""
        for thread_id, before in self._descriptors.items():
            for number in sorted(_descriptors(self.pid, thread_id) - before):
                self.call("close", number, thread_id=thread_id)

    def abandon(self) -> None:
        """Let go of everything as it is: what our death would do. Idempotent."""
        for courier in self._couriers.values():
            courier.forget()
        self._couriers.clear()
        self._living.discard(self._token)
        self._threads.let_go()

    # --- what a later agent needs ---------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        """What `regain` needs, as plain values. To be written before `set_parked(True)`.

        It need not survive a power cut: neither does the process.
        """
        assert self._harbour is not None
        return {
            "pid": self.pid,
            "start_time": self._threads.start_time,
            "harbour": self._harbour.address,
            "token": self._token,
            "threads": [
                {
                    "id": thread_id,
                    "mask": self._threads.masks[thread_id],
                    "registers": registers.values,
                }
                for thread_id, registers in self.threads.items()
            ],
            "descriptor_limit": list(self._descriptor_limit),
            "descriptors": [
                [thread_id, sorted(numbers)] for thread_id, numbers in self._descriptors.items()
            ],
        }

    @classmethod
    def regain(cls, record: dict[str, Any], timeout_seconds: float = STOP_SECONDS) -> Target | None:
        """Seize again what an agent left in the harbour; None when it is gone or has left it.

        What is left of a harbour that the threads have left is removed. Raises DeadlinePassed,
        Refused as `stop` does.
        """
        try:
            if start_time(record["pid"]) != record["start_time"]:
                return None
            target = cls.seize(record["pid"])
        except ProcessLookupError:
            return None
        try:
            target.await_stop(timeout_seconds)
            if target._recognise(record):
                return target
            target.enter_harbour(0)
            target.release()
        except ProcessLookupError:
            target.abandon()
        except BaseException:
            target.abandon()
            raise
        return None

    def _recognise(self, record: dict[str, Any]) -> bool:
        """Take over the saved state, if all threads are in the record's harbour."""
        saved = {each["id"]: each for each in record["threads"]}
        harbour = Harbour(record["harbour"], tuple(saved))
        if not all(
            thread_id in saved and harbour.holds(registers.instruction_pointer)
            for thread_id, registers in self.threads.items()
        ):
            return False
        stray = stray_at(self._threads, harbour.address)
        if stray is None or stray.token != record["token"]:
            return False
        self._harbour, self._token = harbour, stray.token
        self._living.add(self._token)
        self._slack = choose_slot(self._threads, self._maps())
        for thread_id in list(self.threads):
            own = Registers(LAYOUT, dict(saved[thread_id]["registers"]))
            self.threads[thread_id] = own
            self._threads.masks[thread_id] = saved[thread_id]["mask"]
            ptrace.set_registers(thread_id, self._waiting(thread_id))
            ptrace.set_signal_mask(thread_id, EVERY_SIGNAL)
        soft, hard = record["descriptor_limit"]
        self._descriptor_limit = (soft, hard)
        self._descriptors = {
            thread_id: set(numbers)
            for thread_id, numbers in record["descriptors"]
            if thread_id in self.threads
        }
        return True


def _descriptors(pid: int, thread_id: int) -> set[int]:
    """Numbers of the descriptors that a thread can use. Empty when it has ended."""
    try:
        return {int(path.name) for path in Path(f"/proc/{pid}/task/{thread_id}/fd").iterdir()}
    except OSError:
        return set()
