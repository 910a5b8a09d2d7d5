"""A small assembler: turns a readable listing into machine code with operands to be filled in.

A listing is text in the Intel syntax of GNU as: one instruction a line, `name:` a label, # begins a
comment, `{name}` an operand that is filled in later, `SYS_name` the number of a system call. It
knows the instructions of one table only; anything else is a ValueError when our module is loaded.
The unit tests let GNU as assemble the same listings, and compare. Pure.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from holdfast.late_dataclass import dataclass
from holdfast.system.processes.syscalls import number_of

_SYSTEM_CALL = re.compile(r"\bSYS_(\w+)")
_OPERAND = re.compile(r"\{(\w+)\}|(?<![+\w])(\d+)\b")
"""A name in braces, or a number that is not part of a register or an address like [r14+16]."""
_SHORT_BYTES, _NEAR_BYTES = 2, 5
"""Of a jump whose distance has 8 bits, and of one whose distance has 32."""


@dataclass(frozen=True)
class Machine:
    """The instructions that our listings need."""

    name: str
    """As uname -m says."""
    plain: Mapping[str, bytes]
    """Instructions as a whole."""
    with_number: Mapping[str, tuple[bytes, str]]
    """Those with a number, which is written `#`: the bytes before it, and its format (struct)."""
    short_jumps: Mapping[str, bytes]
    """The bytes before a distance of 8 bits."""
    near_jump: bytes
    """`jmp` with a distance of 32 bits."""


class Program:
    """A listing, assembled."""

    def __init__(self, machine: Machine, listing: str) -> None:
        """Raises ValueError for what is no instruction of the table."""
        self.machine = machine
        self.listing = _SYSTEM_CALL.sub(
            lambda found: str(number_of(found[1], machine.name)), listing
        )
        """With the numbers of system calls."""
        self._code = bytearray()
        self._holes: list[tuple[str, int, str]] = []
        """Operands that are filled in: name, place, format."""
        self._labels: dict[str, int] = {}
        self._jumps: list[tuple[str, int]] = []
        """Labels further down, and the place of the distance to them."""
        for line in self.listing.split("\n"):
            self._add(line.partition("#")[0].strip())
        for label, place in self._jumps:
            struct.pack_into("<b", self._code, place, self._labels[label] - place - 1)

    @property
    def size_bytes(self) -> int:
        """Length of the code."""
        return len(self._code)

    @property
    def operands(self) -> frozenset[str]:
        """Names of the operands that are filled in."""
        return frozenset(name for name, _, _ in self._holes)

    @property
    def start(self) -> bytes:
        """What comes before the first operand that is filled in."""
        return bytes(self._code[: self._holes[0][1]] if self._holes else self._code)

    def offset_of(self, label: str) -> int:
        """The offset of a label from the first byte."""
        return self._labels[label]

    def with_values(self, values: Mapping[str, int]) -> bytes:
        """The code with these operands; words are unsigned. Raises KeyError, struct.error."""
        code = self._code.copy()
        for name, place, form in self._holes:
            struct.pack_into(form, code, place, values[name])
        return bytes(code)

    def _add(self, line: str) -> None:
        mnemonic, _, rest = line.partition(" ")
        if not line:
            return
        if line.endswith(":"):
            self._labels[line[:-1]] = len(self._code)
        elif line in self.machine.plain:
            self._code += self.machine.plain[line]
        elif mnemonic in self.machine.short_jumps:
            self._jump(mnemonic, rest)
        else:
            self._add_with_number(line)

    def _add_with_number(self, line: str) -> None:
        found = _OPERAND.search(line)
        form = _OPERAND.sub("#", line, count=1)
        if found is None or form not in self.machine.with_number:
            raise ValueError(f"{self.machine.name} has no instruction {line!r} here")
        before, packing = self.machine.with_number[form]
        self._code += before
        name, number = found.groups()
        if name:
            self._holes.append((name, len(self._code), packing))
        self._code += struct.pack(packing, int(number or 0))

    def _jump(self, mnemonic: str, label: str) -> None:
        """A jump back is as short as it can be; a jump forward must be a short one."""
        here = len(self._code)
        if label not in self._labels:
            self._code += self.machine.short_jumps[mnemonic] + b"\0"
            self._jumps.append((label, here + _SHORT_BYTES - 1))
            return
        distance = self._labels[label] - here
        if distance - _SHORT_BYTES >= -128:
            back = struct.pack("<b", distance - _SHORT_BYTES)
            self._code += self.machine.short_jumps[mnemonic] + back
        elif mnemonic == "jmp":
            self._code += self.machine.near_jump + struct.pack("<i", distance - _NEAR_BYTES)
        else:
            raise ValueError(f"{label} is too far away for {mnemonic}")
