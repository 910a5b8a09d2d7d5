"""Unused bytes in the executable memory of a process: room for the first and the last call there.

The zeros behind the last instruction of an executable mapping, up to the end of its page, are never
executed: they pad the file. The vDSO comes first: every process has it, and it is on no volume.
The slots are always the same, so code that a dead agent has left in one is found again.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from holdfast.applications.rebind.agent.harbour import PAGE, SLOT_BYTES
from holdfast.applications.rebind.agent.x86_64 import SLOT_START
from holdfast.applications.rebind.tracing.threads import Threads
from holdfast.errors import Refused
from holdfast.system.proc_text import Map


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


_STARTS = range(PAGE - SLOT_BYTES, -1, -SLOT_BYTES)


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
