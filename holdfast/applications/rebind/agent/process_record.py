"""What is written down of a stopped process, and the taking over of one whose agent has died.

Owns the form of that record: where the harbour is, and every thread's own registers and signal
mask. Invariant: threads are taken over only when all of them are in that very harbour; otherwise
they run already, and what the record says of them is history.
"""

from __future__ import annotations

from typing import Any

from holdfast.applications.rebind.agent.calls import Calls
from holdfast.applications.rebind.agent.harbour import Harbour
from holdfast.applications.rebind.agent.leftovers import abandoned_harbour_at
from holdfast.applications.rebind.agent.threads import LAYOUT, Threads
from holdfast.system.registers import Registers


def as_json(threads: Threads, harbour: Harbour, token: int) -> dict[str, Any]:
    """The record, as plain values. `token`: tells this harbour from any other."""
    return {
        "pid": threads.pid,
        "start_time": threads.start_time,
        "harbour": harbour.address,
        "clock_offset_ns": harbour.clock_offset_ns,
        "token": token,
        "threads": [
            {"id": thread_id, "mask": threads.masks[thread_id], "registers": registers.values}
            for thread_id, registers in threads.registers.items()
        ],
    }


def take_over(threads: Threads, record: dict[str, Any]) -> Calls | None:
    """The calls of stopped threads that are in the harbour of the record; None when they are not.

    `threads` have their own registers and masks then, not those with which they wait.
    """
    saved = {each["id"]: each for each in record["threads"]}
    harbour = Harbour(record["harbour"], tuple(saved), record.get("clock_offset_ns", 0))
    if not all(
        thread_id in saved and harbour.holds(registers.instruction_pointer)
        for thread_id, registers in threads.registers.items()
    ):
        return None
    found = abandoned_harbour_at(threads, harbour.address)
    if found is None or found.token != record["token"]:
        return None
    calls = Calls(threads, harbour)
    for thread_id in list(threads.registers):
        values = saved[thread_id]
        threads.registers[thread_id] = Registers(LAYOUT, dict(values["registers"]))
        threads.masks[thread_id] = values["mask"]
        calls.wait(thread_id)
    return calls
