"""The listings of machine code say what the bytes are: GNU as makes the same of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from holdfast.applications.rebind.agent import x86_64
from holdfast.applications.rebind.agent.assembler import Program

WORD = 0x1122334455667788
"""For operands of 64 bits: no byte of it is another one."""
HALF = 0x12345678

with_assembler = pytest.mark.skipif(
    not (shutil.which("as") and shutil.which("objcopy")), reason="as and objcopy are not installed"
)


def values_of(program: Program) -> dict[str, int]:
    """A value for each operand, of its size."""
    small = {"option", "second", "fourth", "fifth", "tick_ns", "directory"}
    values = {name: HALF if name in small else WORD for name in program.operands}
    return values | {"rip": HALF, "cs": 0x2345} if "cs" in values else values


def assembled(text: str, folder: Path) -> bytes:
    """What GNU as makes of it."""
    source, output, code = (folder / name for name in ("code.s", "code.o", "code"))
    source.write_text(f".intel_syntax noprefix\n{text}\n")
    subprocess.run(["as", "--64", "-o", output, source], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", output, code], check=True)
    return code.read_bytes()


@with_assembler
@pytest.mark.parametrize("number", range(len(x86_64.PROGRAMS)))
def test_as_the_assembler_of_others_does(number: int, tmp_path: Path) -> None:
    program = x86_64.PROGRAMS[number]
    values = values_of(program)
    assert assembled(program.listing.format(**values), tmp_path) == program.with_values(values)


@with_assembler
def test_every_instruction_of_the_table(tmp_path: Path) -> None:
    """Those as well that no listing uses at the moment."""
    machine = x86_64.MACHINE
    forms = [form.replace("#", str(5)) for form in machine.with_number if "imul" not in form]
    program = Program(machine, "\n".join([*machine.plain, *forms]))
    assert assembled(program.listing, tmp_path) == program.with_values({})


def test_every_program_is_checked() -> None:
    found = [each for each in vars(x86_64).values() if isinstance(each, Program)]
    assert set(map(id, found)) == set(map(id, x86_64.PROGRAMS))


def test_labels_and_marks() -> None:
    code = x86_64.WAIT.with_values(values_of(x86_64.WAIT))
    assert code.startswith(x86_64.HARBOUR_START.start)
    assert x86_64.SLOT.with_values(values_of(x86_64.SLOT)).startswith(x86_64.SLOT_START.start)
    mask = x86_64.SLOT.offset_of("mask")
    assert mask == x86_64.SLOT.size_bytes - 8


def test_what_the_table_does_not_have_is_refused() -> None:
    for line in ("mov rax, rdx", "movabs rax, {x} {y}", "add rbx, [rcx+64]"):
        with pytest.raises(ValueError, match="no instruction"):
            Program(x86_64.MACHINE, line)


def test_a_jump_that_is_too_far_is_refused() -> None:
    far = "movabs rax, 0\n" * 13
    with pytest.raises(ValueError, match="too far"):
        Program(x86_64.MACHINE, f"back:\n{far}jz back")
