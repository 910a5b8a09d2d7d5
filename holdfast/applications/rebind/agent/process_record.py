"""What is written down of a stopped process, and the taking over of one whose agent has died.

Owns the form of that record: where the harbour is, every thread's own registers and signal mask,
and what the tables of descriptors held. Invariant: threads are taken over only when all of them are
in that very harbour; otherwise they run already, and what the record says of them is history.
"""

from __future__ import annotations

from holdfast.applications.rebind.agent.calls import Calls
from holdfast.applications.rebind.agent.harbour import Harbour
from holdfast.applications.rebind.agent.leftovers import abandoned_harbour_at
from holdfast.applications.rebind.tracing.threads import LAYOUT, Threads
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import Number, Signed, Word
from holdfast.system.processes.registers import Registers


@dataclass(frozen=True)
class ThreadRecord:
    """One thread, as it is to go on."""

    id: Number
    mask: Word
    """Its blocked signals."""
    registers: dict[str, Word]

    def __post_init__(self) -> None:
        """Raises ValueError when a register is missing, or is none."""
        if set(self.registers) != set(LAYOUT.names):
            raise ValueError(f"thread {self.id} does not have the registers of {LAYOUT.machine}")


@dataclass(frozen=True)
class ProcessRecord:
    """One stopped process."""

    pid: Number
    start_time: Word
    """Clock ticks after boot; with the pid it names the process for good."""
    harbour: Word
    """Its address."""
    token: Word
    """Tells this harbour from any other."""
    threads: tuple[ThreadRecord, ...]
    descriptor_limit: tuple[Word, Word]
    """RLIMIT_NOFILE, soft and hard."""
    descriptors: tuple[tuple[Number, tuple[Number, ...]], ...]
    """Of each table by a thread that uses it: the numbers in it when the process stopped."""
    clock_offset_ns: Signed = 0
    """How far CLOCK_MONOTONIC is ahead of ours where it lives."""


def thread_records(threads: Threads) -> tuple[ThreadRecord, ...]:
    """The record of each thread, with which it is to go on."""
    return tuple(
        ThreadRecord(thread_id, threads.masks[thread_id], registers.values)
        for thread_id, registers in threads.registers.items()
    )


def take_over(threads: Threads, record: ProcessRecord) -> Calls | None:
    """The calls of stopped threads that are in the harbour of the record; None when they are not.

    `threads` have their own registers and masks then, not those with which they wait.
    """
    saved = {each.id: each for each in record.threads}
    harbour = Harbour(record.harbour, tuple(saved), record.clock_offset_ns)
    if not all(
        thread_id in saved and harbour.holds(registers.instruction_pointer)
        for thread_id, registers in threads.registers.items()
    ):
        return None
    found = abandoned_harbour_at(threads.memory, harbour.address)
    if found is None or found.token != record.token:
        return None
    calls = Calls(threads, harbour)
    for thread_id in list(threads.registers):
        threads.registers[thread_id] = Registers(LAYOUT, dict(saved[thread_id].registers))
        threads.masks[thread_id] = saved[thread_id].mask
        calls.wait(thread_id)
    return calls
