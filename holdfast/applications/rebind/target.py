"""One process, all of whose threads are stopped, and which makes system calls for us.

Owns the tracing of its threads and its harbour. Invariant: between `stop` and `release`, at every
instant, our death leaves threads that go on as if nothing had happened, or that wait in the harbour
when something of the process is parked. Must only be used from the thread that made it (ptrace(2)).
"""

from __future__ import annotations

import errno
import os
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.courier import Courier
from holdfast.applications.rebind.harbour import SCRATCH_BYTES, Harbour, slack_code
from holdfast.applications.rebind.slack import find_slack
from holdfast.errors import DeadlinePassed, Refused
from holdfast.system import ptrace
from holdfast.system.ptrace import EVERY_SIGNAL
from holdfast.system.registers import X86_64, Registers
from holdfast.system.syscalls import number_of

STOP_SECONDS = 2.0
"""How long a thread may take to stop; one inside storage that does not answer takes longer."""

_LAYOUT = X86_64
_PROT_READ, _PROT_WRITE, _PROT_EXEC = 1, 2, 4
_MAP_PRIVATE_ANONYMOUS = 0x22

DEAD_MOUNT_ERRORS = frozenset(
    (
        *(errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.ECONNABORTED),
        *(errno.ENODEV, errno.ESHUTDOWN, errno.EROFS),
    )
)
"""With these a system call ends because its mount is dead, or was turned read-only."""

_reluctant: set[int] = set()
"""Threads that did not stop in time and may do so later: they are let go then."""


class Target:
    """A process that is seized. See `stop` and `regain` for the ways to get one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.start_time = _start_time(pid)
        self.threads: dict[int, Registers] = {}
        """Registers of each stopped thread, as it will go on."""
        self.masks: dict[int, int] = {}
        self.harbour: Harbour | None = None
        self.slack = 0
        self._memory = -1
        self._seized: list[int] = []
        self._couriers: dict[int | None, Courier] = {}
        self._left_over: list[tuple[int | None, tuple[int, ...]]] = []

    # --- stopping -------------------------------------------------------------------------------

    @classmethod
    def stop(cls, pid: int, deadline_ns: int, timeout_seconds: float = STOP_SECONDS) -> Target:
        """Stop all threads of a process and bring them into the harbour.

        `deadline_ns` (CLOCK_MONOTONIC): when they leave it by themselves if nobody lets them go.
        Raises ProcessLookupError when it has ended, DeadlinePassed when a thread does not stop in
        time, Refused when it cannot be done; nothing is changed then.
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
        """Begin to stop a process; `await_stop` ends it. A thread in a system call is told now."""
        tend_reluctant()
        target = cls(pid)
        try:
            target._memory = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
            target._seize_all()
        except BaseException:
            target.abandon()
            raise
        return target

    def await_stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Wait until every thread stands, those included that were born meanwhile.

        Raises DeadlinePassed naming the thread that does not.
        """
        deadline = time.monotonic() + timeout_seconds
        while waiting := [thread for thread in self._seized if thread not in self.threads]:
            for thread_id in waiting:
                self._await_thread(thread_id, deadline)
            self._seize_all()
        if not self.threads:
            raise ProcessLookupError(errno.ESRCH, f"process {self.pid} has ended")

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

    def _await_thread(self, thread_id: int, deadline: float) -> None:
        while True:
            stop = ptrace.wait_for_stop(thread_id, deadline)
            if stop is None:
                raise DeadlinePassed(
                    f"thread {thread_id} of process {self.pid} does not stop: it is inside a"
                    " system call that cannot be interrupted",
                    "See what its storage is waiting for, then try again.",
                )
            if stop.ended:
                self._seized.remove(thread_id)
                return
            if stop.interrupted:
                break
            ptrace.run(thread_id, stop.signal)
        registers = ptrace.get_registers(thread_id, _LAYOUT)
        self._leave_restartable_sequence(thread_id, registers)
        self.masks[thread_id] = ptrace.get_signal_mask(thread_id)
        self.threads[thread_id] = registers

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
            registers.values[_LAYOUT.instruction_pointer] = abort

    # --- the harbour ----------------------------------------------------------------------------

    def enter_harbour(self, deadline_ns: int) -> None:
        """Make the harbour and point every thread into it. Nothing is parked yet."""
        executor = self._executor()
        self.slack = find_slack(self.pid, self._memory)
        harbour = Harbour(0, tuple(self.threads))
        code = slack_code(self.slack, self.threads[executor], self.masks[executor])
        address = self._call_from_slack(
            executor,
            code,
            "mmap",
            (0, harbour.size_bytes, _PROT_READ | _PROT_EXEC, _MAP_PRIVATE_ANONYMOUS, -1 % 2**64, 0),
        )
        harbour = Harbour(address, harbour.thread_ids)
        self.write(address, harbour.build_code(self.threads))
        self.write(harbour.data, harbour.build_data(deadline_ns, self.threads, self.masks))
        self.harbour = harbour
        for thread_id in self.threads:
            ptrace.set_registers(thread_id, self._waiting(thread_id))
            ptrace.set_signal_mask(thread_id, EVERY_SIGNAL)
        self.write(self.slack, bytes(len(code)))
        data_bytes = harbour.size_bytes - harbour.code_bytes
        self.call("mprotect", harbour.data, data_bytes, _PROT_READ | _PROT_WRITE)
        self.courier()

    def _call_from_slack(
        self, thread_id: int, code: bytes, name: str, arguments: tuple[int, ...]
    ) -> int:
        """One system call through self-restoring code: the harbour is not there (any more)."""
        self.write(self.slack, code)
        registers = self.threads[thread_id].copy()
        registers.prepare_call(self.slack, number_of(name, _LAYOUT.machine), arguments)
        ptrace.set_registers(thread_id, registers)
        ptrace.set_signal_mask(thread_id, EVERY_SIGNAL)
        result = self._run_call(thread_id)
        if result < 0:
            self._restore(thread_id)
            self.write(self.slack, bytes(len(code)))
            raise OSError(-result, f"{name} in process {self.pid}: {os.strerror(-result)}")
        return result

    def _waiting(self, thread_id: int) -> Registers:
        """Registers of a thread that waits in the harbour when nobody holds it."""
        assert self.harbour is not None
        registers = self.threads[thread_id].copy()
        registers.values["rip"] = self.harbour.wait
        registers.values["r15"] = self.harbour.exit_of(thread_id)
        registers.forget_call()
        return registers

    def set_parked(self, parked: bool) -> None:
        """Say whether the threads wait in the harbour when we die; False: they go on at once."""
        assert self.harbour is not None
        self.write(self.harbour.data, struct.pack("<Q", parked))

    def set_deadline(self, deadline_ns: int) -> None:
        """When the threads leave the harbour by themselves, in ns of CLOCK_MONOTONIC."""
        assert self.harbour is not None
        self.write(self.harbour.data + 8, struct.pack("<qq", *divmod(deadline_ns, 10**9)))

    @property
    def scratch(self) -> int:
        """Address of read-write memory inside the process for arguments."""
        assert self.harbour is not None
        return self.harbour.scratch

    scratch_bytes = SCRATCH_BYTES

    # --- working inside -------------------------------------------------------------------------

    def call(self, name: str, *arguments: int, thread_id: int | None = None) -> int:
        """Make one system call in the process; its result.

        Raises OSError with its errno, ProcessLookupError when the process has ended.
        """
        assert self.harbour is not None
        thread_id = thread_id or self._executor()
        registers = self._waiting(thread_id)
        number = number_of(name, _LAYOUT.machine)
        registers.prepare_call(self.harbour.call, number, arguments)
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
                    return ptrace.get_registers(thread_id, _LAYOUT).result
                entered = True
            ptrace.go_on(thread_id, stop.signal)

    def read(self, address: int, length: int) -> bytes:
        """Read memory of the process. Raises OSError."""
        data = os.pread(self._memory, length, address)
        if len(data) != length:
            raise OSError(errno.EFAULT, f"no memory at {address:#x}")
        return data

    def write(self, address: int, data: bytes) -> None:
        """Write memory of the process, read-only memory as well. Raises OSError."""
        if os.pwrite(self._memory, data, address) != len(data):
            raise OSError(errno.EFAULT, f"no memory at {address:#x}")

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
        assert self.harbour is not None
        self.threads[thread_id].make_call_again()
        self.write(self.harbour.address, self.harbour.build_code(self.threads))

    # --- letting go -----------------------------------------------------------------------------

    def release(self) -> None:
        """Give every thread its own state again, unmap the harbour, let them go on."""
        for courier in self._couriers.values():
            courier.close()
        self._couriers.clear()
        self._close_left_over()
        self.set_parked(False)
        executor = self._executor()
        for thread_id in self.threads:
            if thread_id != executor:
                self._restore(thread_id)
        assert self.harbour is not None
        code = slack_code(self.slack, self.threads[executor], self.masks[executor])
        unmap = (self.harbour.address, self.harbour.size_bytes)
        self._call_from_slack(executor, code, "munmap", unmap)
        self._restore(executor)
        self.write(self.slack, bytes(len(code)))
        self.harbour = None
        self.abandon()

    def _restore(self, thread_id: int) -> None:
        """A thread's own signal mask, then its own registers: in this order we may die between."""
        ptrace.set_signal_mask(thread_id, self.masks[thread_id])
        ptrace.set_registers(thread_id, self.threads[thread_id])

    def abandon(self) -> None:
        """Let go of everything as it is: what our death would do. Idempotent."""
        for courier in self._couriers.values():
            courier.forget()
        self._couriers.clear()
        for thread_id in sorted(self._seized, key=lambda each: each == self.pid):
            if not _let_go(thread_id, STOP_SECONDS):
                _reluctant.add(thread_id)
        self._seized.clear()
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1

    def _executor(self) -> int:
        """The thread that makes system calls when it matters to nobody which one does."""
        return self.pid if self.pid in self.threads else next(iter(self.threads))

    # --- what a later agent needs ---------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        """What `regain` needs, as plain values. To be durable before `set_parked(True)`."""
        assert self.harbour is not None
        couriers = [[key, list(each.inside)] for key, each in self._couriers.items()]
        return {
            "pid": self.pid,
            "start_time": self.start_time,
            "harbour": self.harbour.address,
            "slack": self.slack,
            "couriers": couriers,
            "threads": [
                {"id": thread_id, "mask": self.masks[thread_id], "registers": registers.values}
                for thread_id, registers in self.threads.items()
            ],
        }

    @classmethod
    def regain(cls, record: dict[str, Any], timeout_seconds: float = STOP_SECONDS) -> Target | None:
        """Seize again what an agent left in the harbour; None when it is gone or has left it.

        Raises DeadlinePassed, Refused as `stop` does.
        """
        pid = record["pid"]
        try:
            if _start_time(pid) != record["start_time"]:
                return None
            target = cls.seize(pid)
        except (FileNotFoundError, ProcessLookupError):
            return None
        try:
            target.await_stop(timeout_seconds)
            if target._recognise(record):
                return target
        except ProcessLookupError:
            pass
        except BaseException:
            target.abandon()
            raise
        target.abandon()
        return None

    def _recognise(self, record: dict[str, Any]) -> bool:
        """Take over the saved state, if all threads are in the harbour."""
        known = {each["id"]: each for each in record["threads"]}
        harbour = Harbour(record["harbour"], tuple(known))
        alive = dict(self.threads)
        if not alive or not all(
            thread_id in known and harbour.holds(registers.instruction_pointer)
            for thread_id, registers in alive.items()
        ):
            return False
        self.harbour, self.slack = harbour, record["slack"]
        for thread_id in alive:
            saved = Registers(_LAYOUT, dict(known[thread_id]["registers"]))
            if saved.wants_restart():
                saved.make_call_again()  # what the kernel knew of it was lost in the harbour
            self.threads[thread_id] = saved
            self.masks[thread_id] = known[thread_id]["mask"]
            ptrace.set_registers(thread_id, self._waiting(thread_id))
            ptrace.set_signal_mask(thread_id, EVERY_SIGNAL)
        self._left_over = [(key, tuple(numbers)) for key, numbers in record["couriers"]]
        return True

    def _close_left_over(self) -> None:
        """Close the ends of a line that an agent before us has left inside."""
        for thread_id, numbers in self._left_over:
            for number in numbers:
                if _link(self.pid, thread_id, number).startswith("socket:"):
                    self.call("close", number, thread_id=thread_id)
        self._left_over = []


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


def _link(pid: int, thread_id: int | None, number: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/task/{thread_id or pid}/fd/{number}").readlink())
    except OSError:
        return ""


def _start_time(pid: int) -> int:
    """proc_pid_stat(5), field 22."""
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return int(stat.read().rpartition(b")")[2].split()[19])
