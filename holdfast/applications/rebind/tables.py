"""The tables of descriptors of a stopped process: what is passed into them, and taken from them.

Owns the lines into them, and knows what they held when the process stopped. Invariant: when it goes
on nothing of ours is left in them, and its limit of descriptors is what it was. Must never close
what the process had.
"""

from __future__ import annotations

import resource
import struct
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.courier import CallableProcess, Courier, close_inside
from holdfast.applications.rebind.threads import Threads, gone
from holdfast.system.kcmp import Shared, is_shared
from holdfast.system.proc import descriptor_limit


class Tables:
    """All tables of one process: threads may have their own (clone(2) without CLONE_FILES)."""

    def __init__(self, process: CallableProcess) -> None:
        self._process = process
        self._couriers: dict[int | None, Courier] = {}
        self._limit = (0, 0)
        self._before: dict[int, set[int]] = {}
        """Numbers in each table when the process stopped, by a thread that uses it."""

    def look(self, threads: Threads) -> None:
        """Keep in mind what is there: whatever comes later is ours. Raises OSError."""
        executor = threads.executor
        for thread_id in threads.registers:
            if thread_id == executor or not is_shared(Shared.DESCRIPTORS, executor, thread_id):
                self._before[thread_id] = _numbers(self._process.pid, thread_id)
        self._limit = self._limit_now()

    def courier(self, thread_id: int | None) -> Courier:
        """The line into the process's (or a thread's own) table."""
        if thread_id not in self._couriers:
            self._couriers[thread_id] = Courier(self._process, thread_id)
        return self._couriers[thread_id]

    def allow_more(self) -> bool:
        """Raise the soft limit of descriptors until `clear`; whether it could be."""
        soft, hard = self._limit
        if soft == hard:
            return False
        self._set_limit(hard, hard)
        return True

    def _limit_now(self) -> tuple[int, int]:
        try:
            return descriptor_limit(self._process.pid)
        except FileNotFoundError as error:
            raise gone(self._process.pid) from error

    def _set_limit(self, soft: int, hard: int) -> None:
        """As the process itself: others' limits are not even root's everywhere."""
        process = self._process
        process.write(process.scratch, struct.pack("<QQ", soft, hard))
        process.call("prlimit64", 0, resource.RLIMIT_NOFILE, process.scratch, 0)

    def clear(self) -> None:
        """Close whatever was opened inside for us, and put the limit back."""
        while self._couriers:
            self._couriers.popitem()[1].close()
        for thread_id, before in self._before.items():
            # Nobody else could open any while all threads stood.
            for number in sorted(_numbers(self._process.pid, thread_id) - before):
                close_inside(self._process, number, thread_id)
        if self._limit_now() != self._limit:
            self._set_limit(*self._limit)

    def forget(self) -> None:
        """Close our ends only. Idempotent."""
        for courier in self._couriers.values():
            courier.forget()
        self._couriers.clear()

    def as_json(self) -> dict[str, Any]:
        """What a later agent needs to know of them."""
        return {
            "descriptor_limit": list(self._limit),
            "descriptors": [
                [thread_id, sorted(numbers)] for thread_id, numbers in self._before.items()
            ],
        }

    def recall(self, record: dict[str, Any], thread_ids: Collection[int]) -> None:
        """Know what the agent before us knew, of the threads that are still there."""
        soft, hard = record["descriptor_limit"]
        self._limit = (soft, hard)
        self._before = {
            thread_id: set(numbers)
            for thread_id, numbers in record["descriptors"]
            if thread_id in thread_ids
        }


def _numbers(pid: int, thread_id: int) -> set[int]:
    """Of the descriptors that a thread can use. Empty when it has ended."""
    with suppress(OSError):
        return {int(path.name) for path in Path(f"/proc/{pid}/task/{thread_id}/fd").iterdir()}
    return set()
