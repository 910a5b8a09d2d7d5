"""The harbour: where the threads of a stopped process wait when nobody holds them any more.

Owns the machine code that is put into a process. A thread of a stopped process has registers that
point into the harbour. As long as it is traced it executes nothing, except for a system call that
we ask of it; when its tracer dies at any instant, it goes on in the harbour: it waits there until
the deadline if handles of its process are parked, and then (or at once if none is) it gives itself
back its own registers and signal mask and goes on where it was. So the death of whoever stopped a
process can never make it execute anything foreign.

The same self-restoring code, put into unused bytes at the end of an executable mapping (the slack),
maps the harbour in the beginning and unmaps it in the end.

Layout of the harbour, one mapping: code pages (wait loop, then one exit for each thread), data
pages (is anything parked, deadline, cells of each thread), scratch. x86-64 only: on arm64 a thread
cannot jump without losing a register, so it needs frames for rt_sigreturn; nobody has tested that,
so it is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.system.proc_text import Map
from holdfast.system.registers import Registers
from holdfast.system.syscalls import number_of

PAGE = 4096
EXIT_BYTES = 256
ROOM_BYTES = 256
SCRATCH_BYTES = 64 << 10
SLACK_BYTES = 256
_CODE_START = 256
"""The exits begin after the call instruction and the wait loop."""
_HEAD_BYTES, _CELLS_BYTES = 32, 32
_GAP_BYTES = 1 << 20
"""Room that is left below a harbour for what grows."""
_TICK_NS = 50_000_000
"""How often a thread in the wait loop looks whether it may go."""

_SYSCALL = b"\x0f\x05"
_SIG_SETMASK = 2
_CLOCK_MONOTONIC = 1
_WORD = (1 << 64) - 1

_LOAD = {
    "rax": b"\x48\xb8",
    "rcx": b"\x48\xb9",
    "rdx": b"\x48\xba",
    "rbx": b"\x48\xbb",
    "rsp": b"\x48\xbc",
    "rbp": b"\x48\xbd",
    "rsi": b"\x48\xbe",
    "rdi": b"\x48\xbf",
    "r8": b"\x49\xb8",
    "r9": b"\x49\xb9",
    "r10": b"\x49\xba",
    "r11": b"\x49\xbb",
    "r12": b"\x49\xbc",
    "r13": b"\x49\xbd",
    "r14": b"\x49\xbe",
    "r15": b"\x49\xbf",
}
"""movabs imm64, register; the flags stay as they are (Intel SDM, MOV)."""


def _load(register: str, value: int) -> bytes:
    return _LOAD[register] + struct.pack("<Q", value)


def _jump(address: int) -> bytes:
    """jmp [rip+0] with the address behind it: changes no register."""
    return b"\xff\x25\x00\x00\x00\x00" + struct.pack("<Q", address)


def _set_mask(mask_address: int) -> bytes:
    """rt_sigprocmask(SIG_SETMASK, mask, NULL, 8)."""
    return b"".join(
        (
            _load("rax", number_of("rt_sigprocmask", "x86_64")),
            _load("rdi", _SIG_SETMASK),
            _load("rsi", mask_address),
            b"\xba\x00\x00\x00\x00",  # mov edx, 0
            b"\x41\xba\x08\x00\x00\x00",  # mov r10d, 8
            _SYSCALL,
        )
    )


def _restore(registers: Registers) -> bytes:
    """All general registers but the stack pointer, then on where the thread was."""
    values = registers.values
    loads = [_load(name, values[name]) for name in _LOAD if name != "rsp"]
    return b"".join(loads) + _jump(registers.instruction_pointer)


def as_if_restarted(registers: Registers) -> Registers:
    """Registers with which a thread goes on by itself, without the kernel's help.

    What the kernel would do on the way back to the program, making an interrupted system call
    again, is in them.
    """
    own = registers.copy()
    if own.wants_restart():
        own.make_call_again()
    own.forget_call()
    return own


def slack_mark() -> bytes:
    """How code in the slack begins."""
    return _SYSCALL + _LOAD["rax"] + struct.pack("<Q", number_of("rt_sigprocmask", "x86_64"))


def slack_code(slot: int, registers: Registers, mask: int, harbour: Harbour) -> bytes:
    """Code for the slack at `slot`: one system call, then the thread's own state again.

    The slot ends with the place of the harbour that the call maps or unmaps.
    """
    own = as_if_restarted(registers)
    head = _SYSCALL
    body = _restore(own)
    length = len(head) + len(_set_mask(0)) + len(body)
    code = head + _set_mask(slot + length) + body + struct.pack("<Q", mask)
    assert len(code) <= SLACK_BYTES - 16
    return code.ljust(SLACK_BYTES - 16, b"\0") + struct.pack(
        "<QQ", harbour.address, harbour.size_bytes
    )


@dataclass(frozen=True)
class Harbour:
    """Where everything lies in a process's harbour."""

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
        return self.address + len(_SYSCALL)

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
        """The code pages. A thread in the wait loop has its cells in r14, its exit in r15.

        The loop makes no call that has the kernel forget an interrupted one: ppoll(2) sleeps,
        where nanosleep(2) and poll(2) would spoil restart_syscall(2).
        """
        is_parked = b"\x48\xa1" + struct.pack("<Q", self.data) + b"\x85\xc0"  # test eax, eax
        look = b"".join(
            (
                _load("rax", number_of("clock_gettime", "x86_64")),
                _load("rdi", _CLOCK_MONOTONIC),
                b"\x49\x8d\x76\x10",  # lea rsi, [r14+16]
                _SYSCALL,
                b"\x85\xc0",  # test eax, eax: a filter may forbid it, and it must not wait for ever
            )
        )
        compare = b"".join(
            (
                b"\x49\x8b\x46\x10",  # mov rax, [r14+16]
                b"\x48\x69\xc0" + struct.pack("<i", 10**9),  # imul rax, rax, 10^9
                b"\x49\x03\x46\x18",  # add rax, [r14+24]
                _load("rdx", self.clock_offset_ns & _WORD),
                b"\x48\x29\xd0",  # sub rax, rdx: now it is our time
                _load("rdx", self.data + 8),
                b"\x48\x3b\x02",  # cmp rax, [rdx]
            )
        )
        sleep = b"".join(
            (
                b"\x49\xc7\x46\x10" + struct.pack("<i", 0),  # mov qword [r14+16], 0
                b"\x49\xc7\x46\x18" + struct.pack("<i", _TICK_NS),  # mov qword [r14+24], tick
                _load("rax", number_of("ppoll", "x86_64")),
                b"\x31\xff",  # xor edi, edi
                b"\x31\xf6",  # xor esi, esi
                b"\x49\x8d\x56\x10",  # lea rdx, [r14+16]
                b"\x45\x31\xd2",  # xor r10d, r10d
                b"\x41\xb8\x08\x00\x00\x00",  # mov r8d, 8
                _SYSCALL,
            )
        )
        again_bytes = 5
        after_look = len(compare) + 2 + len(sleep) + again_bytes
        is_late = look + b"\x75" + struct.pack("<b", after_look) + compare  # jnz leave
        after_late = len(sleep) + again_bytes
        after_parked = len(is_late) + 2 + after_late
        loop = b"".join(
            (
                is_parked,
                b"\x74" + struct.pack("<b", after_parked),  # jz leave
                is_late,
                b"\x7d" + struct.pack("<b", after_late),  # jge leave
                sleep,
            )
        )
        again = b"\xe9" + struct.pack("<i", -(len(loop) + again_bytes))
        code = _SYSCALL + loop + again + b"\x41\xff\xe7"  # leave: jmp r15
        assert len(code) <= _CODE_START
        parts = [code.ljust(_CODE_START, b"\xcc")]
        for thread_id in self.thread_ids:
            parts.append(self._exit(registers[thread_id], self.cells_of(thread_id)))
        return b"".join(parts).ljust(self.code_bytes, b"\xcc")

    def _exit(self, registers: Registers, cells: int) -> bytes:
        own = as_if_restarted(registers)
        code = b"".join(
            (
                _load("rsp", cells + 8),
                b"\x9d",  # popfq
                _load("rsp", own.stack_pointer),
                _set_mask(cells),
                _restore(own),
            )
        )
        assert len(code) <= EXIT_BYTES
        return code.ljust(EXIT_BYTES, b"\xcc")

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
    """An address where a harbour can be mapped: nothing is near it. 0: there is none."""
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
