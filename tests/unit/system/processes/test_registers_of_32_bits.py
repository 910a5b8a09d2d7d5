"""What a thread of 32-bit code is in, and how its call is made again."""

from __future__ import annotations

import errno

import pytest

from holdfast.system.processes.calls_of_32_bits import IPC, number_for_64_bits
from holdfast.system.processes.registers import X86_64, Registers

CODE_32_BITS, CODE_64_BITS = 0x23, 0x33
WORD = (1 << 64) - 1
NO_END = (1 << 32) - 1


def in_call(number: int, result: int, *arguments: int) -> Registers:
    """A thread that is about to return from this call of 32 bits."""
    values = dict.fromkeys(X86_64.names, 0)
    values |= {"cs": CODE_32_BITS, "orig_rax": number, "rax": result & WORD, "rip": 0x1002}
    values |= dict(zip(("rbx", "rcx", "rdx", "rsi", "rdi", "rbp"), arguments, strict=False))
    return Registers(X86_64, values)


@pytest.mark.parametrize(
    ("number", "other"), [(3, 0), (120, 56), (226, 188), (237, 199), (295, 257), (426, 426)]
)
def test_numbers(number: int, other: int) -> None:
    registers = in_call(number, 0, 7 | 1 << 40)
    assert number_for_64_bits(number) == registers.interrupted_call == other
    assert registers.argument(0) == 7


@pytest.mark.parametrize("result", [-512, -513, -514, -516])
def test_a_call_is_made_again_by_its_own_number(result: int) -> None:
    registers = in_call(162, result)
    assert registers.wants_restart()
    registers.make_call_again()
    assert registers.values["rax"] == (0 if result == -516 else 162)
    assert (registers.values["rip"], registers.values["orig_rax"]) == (0x1000, WORD)


@pytest.mark.parametrize(
    ("arguments", "again"), [((1,), True), ((4,), True), ((4, 0, 0, 0, 0, 8), False), ((2,), False)]
)
def test_waits_for_a_semaphore(arguments: tuple[int, ...], again: bool) -> None:
    registers = in_call(IPC, -errno.EINTR, *arguments)
    registers.undo_interruption()
    assert registers.wants_restart() == again


@pytest.mark.parametrize("end", [NO_END, 5])
def test_waits_for_events(end: int) -> None:
    registers = in_call(256, -errno.EINTR, 0, 0, 0, end)
    registers.undo_interruption()
    assert registers.wants_restart() == (end == NO_END)


def test_calls_of_ours_have_64_bits() -> None:
    registers = in_call(3, 0)
    registers.prepare_call(0x2000, 9, (1, 2))
    assert (registers.values["cs"], registers.instruction_pointer) == (CODE_64_BITS, 0x2000)
    assert not registers.has_32_bits
