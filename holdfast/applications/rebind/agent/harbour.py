"""The harbour: a mapping inside a stopped process in which its threads wait.

Owns where everything lies in it; the machine code is in `x86_64`. The registers of a stopped thread
point into the harbour. While it is traced, it executes nothing but single system calls that we ask
of it. When its tracer dies, at any instant, it goes on in the harbour by itself: if handles of its
process are parked it waits there until the deadline; then (or at once if none is parked) it sets
its own signal mask and registers, and continues where it was stopped. So the death of whoever
stopped a process never makes it execute anything foreign.

The first call, which maps the harbour, and the last one, which unmaps it, are made by code of the
same kind in a code slot (see `entry`).

Layout of the mapping: code pages (call instruction and wait loop, one exit for each thread, room
for code that is needed once), data pages (is anything parked, deadline, token, size; cells of each
thread), scratch memory for arguments. x86-64 only: on arm64 a thread cannot jump without losing a
register, so it would need a frame for rt_sigreturn; that is not written, and refused.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from holdfast.applications.rebind.agent.x86_64 import (
    EXIT,
    EXIT_32_BITS,
    SLOT,
    SLOT_32_BITS,
    WAIT,
)
from holdfast.late_dataclass import dataclass
from holdfast.system.proc_text import Map
from holdfast.system.processes.registers import Registers

PAGE = 4096
EXIT_BYTES = 256
ROOM_BYTES = 256
SCRATCH_BYTES = 64 << 10
SLOT_BYTES = 256
_CODE_START = 256
"""The exits begin after the call instruction and the wait loop."""
_HEAD_BYTES, _CELLS_BYTES = 32, 32
_GAP_BYTES = 1 << 20
"""Room that is left below a harbour for what grows."""
_TICK_NS = 50_000_000
"""How often a thread in the wait loop looks whether it may go."""

_WORD = (1 << 64) - 1
_HALF_WORD = (1 << 32) - 1
_BREAKPOINT = b"\xcc"
"""int3: unused code is never executed by mistake."""


def as_if_restarted(registers: Registers) -> Registers:
    """Registers with which a thread goes on by itself, without the kernel's help.

    What the kernel would do on the way back to the program, making an interrupted system call
    again, is in them.
    """
    own = registers.copy()
    if own.wants_restart():
        own.make_call_again()
    own.forget_call()
    if own.has_32_bits:
        own.values["rip"] &= _HALF_WORD
    return own


def slot_code(slot: int, registers: Registers, mask: int, harbour: Harbour) -> bytes:
    """Code for a code slot: one system call, then the thread's own state again.

    The slot ends with the place of the harbour that the call maps or unmaps.
    """
    own = as_if_restarted(registers)
    program = SLOT_32_BITS if own.has_32_bits else SLOT
    mask_address = slot + program.offset_of("mask")
    code = program.with_values({**own.values, "mask_address": mask_address, "mask": mask})
    assert len(code) <= SLOT_BYTES - 16
    return code.ljust(SLOT_BYTES - 16, b"\0") + struct.pack(
        "<QQ", harbour.address, harbour.size_bytes
    )


@dataclass(frozen=True)
class Harbour:
    """The addresses of everything in a process's harbour."""

    address: int
    thread_ids: tuple[int, ...]
    clock_offset_ns: int = 0
    """How far CLOCK_MONOTONIC is ahead of ours where they live (time_namespaces(7))."""

    @property
    def code_bytes(self) -> int:
        """Pages with the wait loop, the exits, and room for code of a moment, in bytes."""
        return _pages(_CODE_START + EXIT_BYTES * len(self.thread_ids) + ROOM_BYTES)

    @property
    def size_bytes(self) -> int:
        """The whole mapping."""
        return (
            self.code_bytes
            + _pages(_HEAD_BYTES + _CELLS_BYTES * len(self.thread_ids))
            + SCRATCH_BYTES
        )

    @property
    def call(self) -> int:
        """Address of a system call instruction, with the wait loop behind it."""
        return self.address

    @property
    def wait(self) -> int:
        """Address of the wait loop."""
        return self.address + WAIT.offset_of("wait")

    @property
    def data(self) -> int:
        """Address of the data: parked, deadline in ns, token, size; then each thread's cells."""
        return self.address + self.code_bytes

    @property
    def scratch(self) -> int:
        """Address of memory for arguments."""
        return self.address + self.size_bytes - SCRATCH_BYTES

    @property
    def room(self) -> int:
        """Address of ROOM_BYTES for code that is needed for one call only."""
        return self.address + _CODE_START + EXIT_BYTES * len(self.thread_ids)

    def exit_of(self, thread_id: int) -> int:
        """Address of the code that gives this thread its own state again."""
        return self.address + _CODE_START + EXIT_BYTES * self.thread_ids.index(thread_id)

    def holds(self, address: int) -> bool:
        """Whether a thread that is there is in the harbour."""
        return self.address <= address < self.address + self.code_bytes

    def build_code(self, registers: Mapping[int, Registers]) -> bytes:
        """The code pages. A thread in the wait loop has its cells in r14, its exit in r15."""
        code = WAIT.with_values(
            {
                "data": self.data,
                "deadline": self.data + 8,
                "clock_offset_ns": self.clock_offset_ns & _WORD,
                "tick_ns": _TICK_NS,
            }
        )
        assert len(code) <= _CODE_START
        parts = [code.ljust(_CODE_START, _BREAKPOINT)]
        for thread_id in self.thread_ids:
            parts.append(self._exit(registers[thread_id], self.cells_of(thread_id)))
        return b"".join(parts).ljust(self.code_bytes, _BREAKPOINT)

    def _exit(self, registers: Registers, cells: int) -> bytes:
        own = as_if_restarted(registers)
        places = {"mask_address": cells, "flags_address": cells + 8}
        program = EXIT_32_BITS if own.has_32_bits else EXIT
        code = program.with_values({**own.values, **places})
        assert len(code) <= EXIT_BYTES
        return code.ljust(EXIT_BYTES, _BREAKPOINT)

    def build_data(
        self,
        registers: Mapping[int, Registers],
        masks: Mapping[int, int],
        deadline_ns: int,
        token: int,
    ) -> bytes:
        """The data: nothing is parked yet. The deadline is of CLOCK_MONOTONIC."""
        head = struct.pack("<QqQQ", 0, deadline_ns, token, self.size_bytes)
        cells = [
            struct.pack("<QQQQ", masks[thread_id], registers[thread_id].values["eflags"], 0, 0)
            for thread_id in self.thread_ids
        ]
        return head + b"".join(cells)

    def cells_of(self, thread_id: int) -> int:
        """Address of what belongs to one thread: its mask, its flags, a struct timespec."""
        return self.data + _HEAD_BYTES + _CELLS_BYTES * self.thread_ids.index(thread_id)


def choose_place(maps: list[Map], size_bytes: int) -> int:
    """An address where a harbour can be mapped, with nothing near it; 0 when there is none."""
    mappings = [each for each in maps if each.path != "[vsyscall]"]  # in the kernel's half
    for index in reversed(range(len(mappings))):
        start = mappings[index].start
        end_before = mappings[index - 1].end if index else _GAP_BYTES
        if start - end_before < size_bytes + _GAP_BYTES or mappings[index].path == "[stack]":
            continue
        return start - PAGE - size_bytes
    return 0


def _pages(length: int) -> int:
    return (length + PAGE - 1) // PAGE * PAGE
