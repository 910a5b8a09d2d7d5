"""The general registers of a stopped thread, behind one interface for each machine.

Layouts as NT_PRSTATUS of PTRACE_GETREGSET returns them. Source: asm/user_64.h `struct
user_regs_struct` (x86-64), asm/ptrace.h `struct user_pt_regs` (arm64). A thread of x86-64 may run
32-bit code; then its calls have other numbers, and their arguments lie in other registers.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import field

from holdfast.late_dataclass import dataclass
from holdfast.system.processes.calls_of_32_bits import IPC, number_for_64_bits
from holdfast.system.processes.syscalls import number_of

_WORD = (1 << 64) - 1

_RESTART_BLOCK = -516
_RESTART = (-512, -513, -514, _RESTART_BLOCK)
"""ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK: include/linux/errno.h."""


_RESTART_UNLESS_HANDLED = -514
"""ERESTARTNOHAND"""

_INT = (1 << 32) - 1
_WAITS = {
    "x86_64": {
        65: (2, 0, 0),  # semop: index of an argument, its bits that count, what they are
        128: (2, _WORD, 0),  # rt_sigtimedwait without a time-out
        208: (4, _WORD, 0),  # io_getevents
        220: (3, _WORD, 0),  # semtimedop
        232: (3, _INT, _INT),  # epoll_wait(…, -1)
        281: (3, _INT, _INT),  # epoll_pwait
        441: (3, _WORD, 0),  # epoll_pwait2
    }
}
"""Calls that fail with EINTR when their thread is stopped, even if no signal handler runs; when
they wait without an end (signal(7); asm/unistd_64.h)."""


_RING_WAITS = {"x86_64": 426}
"""io_uring_enter(2)"""

_RING_GET_EVENTS, _RING_MORE_ARGUMENTS = 1, 8
"""IORING_ENTER_GETEVENTS, IORING_ENTER_EXT_ARG (a time-out may be among them)."""

_SEMOP, _SEMTIMEDOP = 1, 4
"""What ipc(2) does by its first argument, linux/ipc.h."""

_CODE_64_BITS, _CODE_32_BITS = 0x33, 0x23
"""__USER_CS, __USER32_CS: asm/segment.h."""
_ARGUMENTS_32_BITS = ("rbx", "rcx", "rdx", "rsi", "rdi", "rbp")
_RESTART_SYSCALL_32_BITS = 0
"""asm/unistd_32.h"""

_OF_SOCKETS = {
    "x86_64": frozenset({0, 1, 19, 20, 40, 42, 43, 44, 45, 46, 47, 288, 299, 307}),
}
"""read, write, readv, writev, sendfile, connect, accept, sendto, recvfrom, sendmsg, recvmsg,
accept4, recvmmsg, sendmmsg: with EINTR they have done nothing. Of a socket with a time-out
(SO_RCVTIMEO, SO_SNDTIMEO) they end so although no signal handler runs (signal(7))."""


@dataclass(frozen=True)
class Layout:
    """The offsets of what is needed among the registers."""

    machine: str
    names: tuple[str, ...]
    instruction_pointer: str
    stack_pointer: str
    number: str
    """Holds the number of a system call that is about to be made."""
    result: str
    arguments: tuple[str, ...]
    interrupted: str
    """Holds the number of the system call that the thread is in, or all ones; empty: hidden."""
    call_bytes: int
    """Length of the instruction that makes a system call."""

    @property
    def size_bytes(self) -> int:
        """Size of the register set."""
        return 8 * len(self.names)


X86_64 = Layout(
    machine="x86_64",
    names=(
        *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8"),
        *("rax", "rcx", "rdx", "rsi", "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss"),
        *("fs_base", "gs_base", "ds", "es", "fs", "gs"),
    ),
    instruction_pointer="rip",
    stack_pointer="rsp",
    number="rax",
    result="rax",
    arguments=("rdi", "rsi", "rdx", "r10", "r8", "r9"),
    interrupted="orig_rax",
    call_bytes=2,
)

ARM64 = Layout(
    machine="aarch64",
    names=(*(f"x{number}" for number in range(31)), "sp", "pc", "pstate"),
    instruction_pointer="pc",
    stack_pointer="sp",
    number="x8",
    result="x0",
    arguments=("x0", "x1", "x2", "x3", "x4", "x5"),
    interrupted="",  # the kernel has prepared the restart before the thread stops
    call_bytes=4,
)

LAYOUTS = {layout.machine: layout for layout in (X86_64, ARM64)}


@dataclass
class Registers:
    """The values of one thread's registers. Words are unsigned, 64 bits."""

    layout: Layout
    values: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, layout: Layout, data: bytes) -> Registers:
        """The registers that the kernel returned. Raises struct.error when they are too short."""
        words = struct.unpack_from(f"<{len(layout.names)}Q", data)
        return cls(layout, dict(zip(layout.names, words, strict=True)))

    def to_bytes(self) -> bytes:
        """The bytes that the kernel takes."""
        words = [self.values[name] & _WORD for name in self.layout.names]
        return struct.pack(f"<{len(words)}Q", *words)

    def copy(self) -> Registers:
        """An independent copy."""
        return Registers(self.layout, dict(self.values))

    @property
    def instruction_pointer(self) -> int:
        """Address of the next instruction."""
        return self.values[self.layout.instruction_pointer]

    @property
    def stack_pointer(self) -> int:
        """Address of the top of the stack."""
        return self.values[self.layout.stack_pointer]

    @property
    def result(self) -> int:
        """What a system call returned: negative is an error number."""
        return _signed(self.values[self.layout.result])

    @property
    def has_32_bits(self) -> bool:
        """Whether the thread runs 32-bit code."""
        return self.values.get("cs") == _CODE_32_BITS

    @property
    def interrupted_call(self) -> int:
        """Number of the system call from which the thread is about to return, as a program of 64
        bits would call it; -1: none, or none of interest."""
        number = self._interrupted_number
        return number_for_64_bits(number) if self.has_32_bits else number

    @property
    def _interrupted_number(self) -> int:
        name = self.layout.interrupted
        return _signed(self.values[name]) if name else -1

    def argument(self, index: int) -> int:
        """Argument of the system call that the thread is in."""
        if self.has_32_bits:
            return self.values[_ARGUMENTS_32_BITS[index]] & _INT
        return self.values[self.layout.arguments[index]]

    def point_at(self, address: int) -> None:
        """Point the thread at code of ours, which has 64 bits."""
        self.values[self.layout.instruction_pointer] = address
        if self.has_32_bits:
            self.values["cs"] = _CODE_64_BITS

    def prepare_call(self, address: int, number: int, arguments: tuple[int, ...]) -> None:
        """Point the thread at a call instruction, with everything that it needs."""
        layout, values = self.layout, self.values
        self.point_at(address)
        for name, value in zip(layout.arguments, (*arguments, *(0,) * 6), strict=False):
            values[name] = value & _WORD
        values[layout.number] = number
        self.forget_call()

    def enters(self, wanted: Registers) -> bool:
        """Whether a thread at the entry of a call is in the very one that `wanted` prepared."""
        layout = self.layout
        return (
            self._interrupted_number == _signed(wanted.values[layout.number])
            and not self.has_32_bits
            and self.instruction_pointer == wanted.instruction_pointer + layout.call_bytes
            and all(self.values[name] == wanted.values[name] for name in layout.arguments)
        )

    def forget_call(self) -> None:
        """Whatever system call the thread was in, the kernel has nothing more to do about it."""
        if self.layout.interrupted:
            self.values[self.layout.interrupted] = _WORD

    def undo_interruption(self) -> None:
        """Let a call that waits without a time-out be made again if no signal handler runs.

        Being stopped made it end with EINTR; after a signal handler it still does.
        """
        machine = self.layout.machine
        if self.result != -errno.EINTR:
            return
        if self.has_32_bits and self._interrupted_number == IPC:
            call = self.argument(0) & 0xFFFF
            if call == _SEMOP or (call == _SEMTIMEDOP and not self.argument(5)):
                self.restart_unless_handled()
        waits = _WAITS.get(machine, {})
        if self.interrupted_call in waits:
            index, mask, endless = waits[self.interrupted_call]
            if self.argument(index) & mask == endless:
                self.restart_unless_handled()
        elif self.interrupted_call == _RING_WAITS.get(machine):
            flags = self.argument(3)
            if flags & _RING_GET_EVENTS and not flags & _RING_MORE_ARGUMENTS:
                self.restart_unless_handled()

    def restart_unless_handled(self) -> None:
        """Let the call be made again, unless a signal handler runs first: then it is EINTR."""
        self.values[self.layout.result] = _RESTART_UNLESS_HANDLED & _WORD

    @property
    def interrupted_descriptor(self) -> int:
        """The socket of a call that ended with EINTR and may have a time-out; -1: none.

        Made again, it waits for its whole time-out: nobody outside knows how much of it is left.
        """
        calls = _OF_SOCKETS.get(self.layout.machine, frozenset())
        if self.result == -errno.EINTR and self.interrupted_call in calls:
            return self.argument(0) & _INT
        return -1

    def wants_restart(self) -> bool:
        """Whether the kernel would make the interrupted system call again by itself."""
        return self._interrupted_number >= 0 and self.result in _RESTART

    def make_call_again(self) -> None:
        """Make the interrupted system call again when the thread goes on.

        One with a relative time-out is continued instead (restart_syscall(2)): the kernel knows
        how much of it is left, as long as the thread makes no call with a time-out meanwhile.
        """
        layout, values = self.layout, self.values
        number = self._interrupted_number
        if self.result == _RESTART_BLOCK and self.has_32_bits:
            number = _RESTART_SYSCALL_32_BITS
        elif self.result == _RESTART_BLOCK:
            number = number_of("restart_syscall", layout.machine)
        values[layout.number] = number
        values[layout.instruction_pointer] -= layout.call_bytes
        self.forget_call()


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word
