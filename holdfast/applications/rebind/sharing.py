"""Which handles are one: open file descriptions, memories and directories that are shared.

Asks kcmp(2), which compares kernel objects and touches no storage. Objects are sorted, not compared
in pairs, after everything that differs visibly was told apart: cost n log n.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cmp_to_key
from typing import TypeVar

from holdfast.model.handle import Handle
from holdfast.system.kcmp import Shared, order

Item = TypeVar("Item")


def same_descriptions(handles: Sequence[Handle]) -> list[list[Handle]]:
    """Descriptors of stopped processes, grouped by open file description. Raises OSError."""

    def compare(one: Handle, other: Handle) -> int:
        return order(
            Shared.FILE,
            one.thread_id or one.pid,
            other.thread_id or other.pid,
            one.number or 0,
            other.number or 0,
        )

    return _grouped(handles, _look, compare)


def same_memory(pids: Sequence[int]) -> list[list[int]]:
    """Processes, grouped by the memory that they share (vfork(2), clone(2) with CLONE_VM)."""
    return _grouped(pids, lambda _: 0, lambda one, other: order(Shared.MEMORY, one, other))


def same_table(what: Shared, tasks: Sequence[int]) -> list[list[int]]:
    """Processes and threads, grouped by descriptor tables or directories that they share."""
    return _grouped(tasks, lambda _: 0, lambda one, other: order(what, one, other))


def _look(handle: Handle) -> Hashable:
    """What is the same of every descriptor of one description."""
    return handle.kind, handle.mount_id, handle.inode, handle.offset, handle.flags & ~0o2000000


def _grouped(
    items: Sequence[Item], look: Callable[[Item], Hashable], compare: Callable[[Item, Item], int]
) -> list[list[Item]]:
    alike: dict[Hashable, list[Item]] = {}
    for item in items:
        alike.setdefault(look(item), []).append(item)
    groups: list[list[Item]] = []
    for candidates in alike.values():
        if len(candidates) == 1:
            groups.append(candidates)
            continue
        last: list[Item] = []
        for item in sorted(candidates, key=cmp_to_key(compare)):
            if last and compare(last[0], item) == 0:
                last.append(item)
            else:
                last = [item]
                groups.append(last)
    return groups
