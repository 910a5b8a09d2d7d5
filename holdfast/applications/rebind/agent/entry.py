"""How the threads of a process get into its harbour, and out of it.

The first call, which maps the harbour, and the last one, which unmaps it, are made by code in a
code slot: bytes of executable memory that nothing uses. The zeros behind the last instruction of an
executable mapping, up to the end of its page, are never executed: they pad the file. The vDSO comes
first: every process has it, and it is on no volume. The slots are always the same, so code that a
dead agent has left in one is found again.

Invariant: at every instant our death leaves each thread in its own code, or in code that gives it
its own state back. No code of ours is left in the slot when the process goes on.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from holdfast.applications.rebind.agent.calls import Calls, failure, making_call
from holdfast.applications.rebind.agent.harbour import (
    PAGE,
    SLOT_BYTES,
    Harbour,
    choose_place,
    slot_code,
)
from holdfast.applications.rebind.agent.steps import Steps
from holdfast.applications.rebind.agent.x86_64 import SLOT_START
from holdfast.applications.rebind.tracing.threads import LAYOUT, Threads
from holdfast.errors import Refused
from holdfast.system.proc_text import Map
from holdfast.system.processes import ptrace
from holdfast.system.processes.ptrace import EVERY_SIGNAL
from holdfast.system.processes.syscalls import number_of

_STARTS = range(PAGE - SLOT_BYTES, -1, -SLOT_BYTES)
"""Of the slots in a page, from its end."""

_PROT_READ, _PROT_WRITE, _PROT_EXEC = 1, 2, 4
_MAP_FIXED_NOREPLACE = 0x100022
"""With MAP_PRIVATE and MAP_ANONYMOUS, asm-generic/mman-common.h; Linux 4.17."""


def find_slots(threads: Threads, maps: list[Map], mark: bytes = b"") -> Iterator[tuple[int, bool]]:
    """Addresses of SLOT_BYTES each, and whether an agent that died has left code there.

    `maps`: of the process. `mark`: pages in which this is not are passed over.
    """
    executable = [each for each in maps if each.mode == "r-xp"]
    for each in sorted(executable, key=lambda each: each.path != "[vdso]"):
        end = each.end
        if each.path != "[vdso]" and not threads.memory.is_resident(end - PAGE):
            continue  # its storage may not answer; what we have written there stays in memory
        try:
            page = threads.memory.read(end - PAGE, PAGE)
        except ProcessLookupError:
            raise
        except OSError:
            continue  # beyond the end of its file
        if mark not in page:
            continue
        # one slot stays unused: code that happens to end with zeros is not taken for padding
        states = [_state(page[start : start + SLOT_BYTES]) for start in _STARTS]
        for index, state in enumerate(states[:-1]):
            if state is None or states[index + 1] is None:
                break
            yield end - PAGE + _STARTS[index], state


def _state(slot: bytes) -> bool | None:
    """False: empty; True: code of ours; None: it belongs to the program."""
    if not any(slot):
        return False
    return True if slot.startswith(SLOT_START.start) else None


def find_left_over(threads: Threads, maps: list[Map]) -> list[int]:
    """Addresses of the slots in which an agent that died has left code."""
    return [
        address for address, left_over in find_slots(threads, maps, SLOT_START.start) if left_over
    ]


def choose_slot(threads: Threads, maps: list[Map]) -> int:
    """The address of an empty slot. Raises Refused when there is none, ProcessLookupError."""
    for address, left_over in find_slots(threads, maps):
        if not left_over:
            return address
    if not maps:
        raise ProcessLookupError(errno.ESRCH, f"process {threads.pid} has ended")
    raise Refused(
        f"process {threads.pid} has no room for a system call of ours in its executable memory",
        "Stop this process for the time of the restoration.",
    )


class HarbourEntry:
    """Into the harbour and out of it, by one code slot. Raises Refused when there is none."""

    def __init__(self, threads: Threads, maps: list[Map]) -> None:
        self._threads = threads
        self._slot = choose_slot(threads, maps)

    def entering(self, maps: list[Map], deadline_ns: int, token: int) -> Steps[Calls]:
        """Make a harbour and point every thread into it. Nothing is parked. Raises OSError,
        Refused."""
        threads = self._threads
        thread_ids = tuple(threads.registers)
        size_bytes = Harbour(0, thread_ids).size_bytes
        harbour = Harbour(choose_place(maps, size_bytes), thread_ids)
        if not harbour.address:
            raise Refused(
                f"process {threads.pid} has no room left in its address space",
                "Stop this process for the time of the restoration.",
            )
        protection = _PROT_READ | _PROT_EXEC
        arguments = (harbour.address, size_bytes, protection, _MAP_FIXED_NOREPLACE, -1, 0)
        yield from self._calling(harbour, "mmap", arguments)
        calls = Calls(threads, harbour)
        data = harbour.build_data(threads.registers, threads.masks, deadline_ns, token)
        threads.memory.write(harbour.data, data)
        calls.write_exits()
        for thread_id in thread_ids:
            calls.wait(thread_id)
        self.clear()
        data_bytes = size_bytes - harbour.code_bytes
        try:
            protection = _PROT_READ | _PROT_WRITE
            yield from calls.calling("mprotect", (harbour.data, data_bytes, protection))
        except ProcessLookupError:
            raise
        except OSError:  # one map more than it may have
            yield from self.leaving(calls)
            raise
        return calls

    def leaving(self, calls: Calls) -> Steps[None]:
        """Give every thread its own state again, and unmap the harbour. Raises OSError."""
        threads, harbour = self._threads, calls.harbour
        for thread_id in threads.registers:
            if thread_id != threads.executor:
                self._restore(thread_id)
        yield from self._calling(harbour, "munmap", (harbour.address, harbour.size_bytes))
        self._restore(threads.executor)
        self.clear()

    def _calling(self, harbour: Harbour, name: str, arguments: tuple[int, ...]) -> Steps[None]:
        """Make one system call through self-restoring code: there is no harbour (any more)."""
        threads, executor = self._threads, self._threads.executor
        registers = threads.registers[executor]
        code = slot_code(self._slot, registers, threads.masks[executor], harbour)
        threads.memory.write(self._slot, code)
        calling = registers.copy()
        calling.prepare_call(self._slot, number_of(name, LAYOUT.machine), arguments)
        ptrace.set_registers(executor, calling)
        ptrace.set_signal_mask(executor, EVERY_SIGNAL)
        error = failure(threads, name, (yield from making_call(threads, executor, calling)))
        if error is not None:
            self._restore(executor)
            self.clear()
            raise error

    def _restore(self, thread_id: int) -> None:
        """A thread's own signal mask, then its own registers: in this order we may die between."""
        ptrace.set_signal_mask(thread_id, self._threads.masks[thread_id])
        ptrace.set_registers(thread_id, self._threads.registers[thread_id])

    def clear(self) -> None:
        """Take our code out of the slot. Raises OSError."""
        self._threads.memory.write(self._slot, bytes(SLOT_BYTES))
