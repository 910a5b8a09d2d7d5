"""What an agent that died has left in a process: harbours, and code in code slots.

Threads leave both by themselves, within microseconds; but a signal handler may run in between, and
returns there. Nothing of it may be removed or written over while a thread can still come back.
"""

from __future__ import annotations

import array
import struct
import time
from collections.abc import Iterator

from holdfast.applications.rebind.agent.entry import find_left_over
from holdfast.applications.rebind.agent.harbour import PAGE, SLOT_BYTES
from holdfast.applications.rebind.agent.x86_64 import HARBOUR_START
from holdfast.applications.rebind.tracing.memory import ProcessMemory
from holdfast.applications.rebind.tracing.threads import Threads
from holdfast.errors import DeadlinePassed, InUse
from holdfast.late_dataclass import dataclass
from holdfast.system.proc_text import Map

_STACK_BYTES = 256 << 10
"""How far above the top of its stack a thread's way back is looked for."""

_USER_CODE_SEGMENT = 0x33
"""__USER_CS, asm/segment.h."""

_MOST_CODE_BYTES = 64 << 20
"""A process has at most some 100 000 threads, with 256 bytes each."""


@dataclass(frozen=True)
class AbandonedHarbour:
    """A harbour without an agent."""

    address: int
    code_bytes: int
    size_bytes: int
    token: int
    parked: bool
    """Threads wait in it. False once its deadline has passed: they leave it."""
    was_parked: bool
    """Handles of the process were parked, and nobody has given them back since."""


def find_abandoned(memory: ProcessMemory, maps: list[Map]) -> list[AbandonedHarbour]:
    """The harbours in a process, which may run."""
    found = []
    for each in maps:
        if each.mode != "r-xp" or each.inode or each.path:
            continue
        harbour = abandoned_harbour_at(memory, each.start)
        if harbour is not None:
            found.append(harbour)
    return found


def abandoned_harbour_at(memory: ProcessMemory, address: int) -> AbandonedHarbour | None:
    """The harbour that begins there, or None."""
    if not memory.is_resident(address):
        return None  # nobody has written a harbour there
    try:
        code = memory.read(address, HARBOUR_START.size_bytes)
        mark = HARBOUR_START.start
        data = struct.unpack("<Q", code[len(mark) :])[0]
        if not code.startswith(mark) or not PAGE <= data - address <= _MOST_CODE_BYTES:
            return None
        if not memory.is_resident(data):
            return None
        parked, deadline_ns, token, size = struct.unpack("<QqQQ", memory.read(data, 32))
    except OSError:
        return None
    waits = bool(parked) and time.monotonic_ns() < deadline_ns
    return AbandonedHarbour(address, data - address, size, token, waits, bool(parked))


def clear_left_over(
    threads: Threads, maps: list[Map], timeout_seconds: float, known: int | None = None
) -> list[AbandonedHarbour]:
    """Empty the slots that an agent before us has used; the harbours that can be unmapped.

    What a thread may still come back to stays as it is, for a later time. Raises InUse when handles
    are parked: that agent's record is needed, which `known` is the token of; DeadlinePassed when a
    thread does not leave.
    """
    slots = find_left_over(threads, maps)
    for slot in slots:
        _mark_empty_harbour(threads, maps, slot)
    abandoned = find_abandoned(threads.memory, maps)
    for harbour in abandoned:
        if harbour.token == known:  # some thread has left it before its time: let the others
            threads.memory.write(harbour.address + harbour.code_bytes, bytes(8))
    if any(harbour.parked and harbour.token != known for harbour in abandoned):
        raise InUse(
            f"handles of process {threads.pid} are parked by a restoration that was interrupted",
            "holdfast recover finishes it.",
        )
    ranges = [(harbour.address, harbour.address + harbour.code_bytes) for harbour in abandoned]
    ranges += [(slot, slot + SLOT_BYTES) for slot in slots]
    _let_leave(threads, ranges, timeout_seconds)
    needed = {word for each in threads.registers for word in _ways_back(threads, each, ranges)}
    for slot in slots:
        if not any(slot <= word < slot + SLOT_BYTES for word in needed):
            threads.memory.write(slot, bytes(SLOT_BYTES))
    return [
        harbour
        for harbour in abandoned
        if not any(
            harbour.address <= word < harbour.address + harbour.code_bytes for word in needed
        )
    ]


def _mark_empty_harbour(threads: Threads, maps: list[Map], slot: int) -> None:
    """Mark the harbour that was mapped from this slot, if its agent died before it wrote to it.

    Then it is found although the slot is emptied, however often agents die.
    """
    address, size = struct.unpack("<QQ", threads.memory.read(slot + SLOT_BYTES - 16, 16))
    harbour = Map(address, address + size, "r-xp", 0, 0, "", (0, 0))
    if harbour in maps and not any(threads.memory.read(address, PAGE)):
        data = address + PAGE
        threads.memory.write(data, struct.pack("<QqQQ", 0, 0, 0, size))
        threads.memory.write(address, HARBOUR_START.with_values({"data": data}))


def _let_leave(threads: Threads, ranges: list[tuple[int, int]], timeout_seconds: float) -> None:
    """Let threads run that are inside one of the ranges, until none is."""
    deadline = time.monotonic() + timeout_seconds
    while inside := [
        thread_id
        for thread_id, registers in threads.registers.items()
        if any(start <= registers.instruction_pointer < end for start, end in ranges)
    ]:
        if time.monotonic() > deadline:
            raise DeadlinePassed(
                f"thread {inside[0]} of process {threads.pid} is still on its way back from a"
                " rebind that was interrupted",
                "Try again.",
            )
        for thread_id in inside:
            threads.run_on(thread_id, deadline + timeout_seconds)


def _ways_back(threads: Threads, thread_id: int, ranges: list[tuple[int, int]]) -> Iterator[int]:
    """Addresses inside the ranges to which a signal handler of this thread may return.

    Only a signal puts such an address on a stack: as rip in its frame, with flags and segments
    behind it (struct sigcontext_64, asm/sigcontext.h).
    """
    if not ranges:
        return
    yield from _ways_back_of_32_bits(threads, thread_id, ranges)
    words = _stack(threads, threads.registers[thread_id].stack_pointer)
    for index in range(len(words) - 2):
        word = words[index]
        if any(start <= word < end for start, end in ranges):
            flags, segments = words[index + 1], words[index + 2]
            if flags & 2 and flags < 1 << 22 and segments & 0xFFFF == _USER_CODE_SEGMENT:
                yield word


def _ways_back_of_32_bits(
    threads: Threads, thread_id: int, ranges: list[tuple[int, int]]
) -> Iterator[int]:
    """The same where the handler is 32-bit code: eip, cs, flags (struct sigcontext_32)."""
    if not threads.registers[thread_id].has_32_bits:
        return
    halves = array.array("I", _stack(threads, threads.registers[thread_id].stack_pointer).tobytes())
    for index in range(len(halves) - 2):
        word = halves[index]
        if any(start <= word < end for start, end in ranges):
            flags, segments = halves[index + 2], halves[index + 1]
            if flags & 2 and flags < 1 << 22 and segments & 0xFFFF == _USER_CODE_SEGMENT:
                yield word


def _stack(threads: Threads, top: int) -> array.array[int]:
    """Words of the stack, as far up as there is memory."""
    words = array.array("Q")
    address = top & ~7
    while address < top + _STACK_BYTES:
        length = PAGE - address % PAGE
        if not threads.memory.is_resident(address):  # so no signal has written there
            words.frombytes(bytes(length))
            address += length
            continue
        try:
            words.frombytes(threads.memory.read(address, length))
        except OSError:
            break
        address += length
    return words
