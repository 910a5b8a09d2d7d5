"""Ends of connections whose other ends a look for users has not found.

Connections come and go between the list of the kernel's sockets and the look at who has them. So
what is missing is looked for once more. Reads /proc, and asks expendable children; stops nobody.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress

from holdfast.model.handle import Handle
from holdfast.system.children.expendable import who_asks
from holdfast.system.children.expendable_batch import ask_each
from holdfast.system.files.unix_sockets import other_ends
from holdfast.system.mounts.namespace import (
    enter_network_namespace,
    namespace_of,
    open_namespace,
)
from holdfast.system.proc import link, names

_LOOKS = 3
"""Whoever forks and closes hands an end on past a look: its child is newer than the list of
processes, and it has closed when its turn comes."""


def without_holder(ends: Sequence[Handle]) -> set[int]:
    """Of these ends the numbers of the other ones that nobody has who can be stopped, and that are
    not closed. Blocks for seconds at most."""
    missing = {each.start for each in ends}
    for _ in range(_LOOKS):
        if not missing:
            break
        now = _other_ends_of({each.pid for each in ends})
        missing &= {each.start for each in ends if now.get(each.inode) == each.start}
        missing -= set(_held(missing)) if missing else set()
    return missing


def _other_ends_of(pids: Collection[int]) -> dict[int, int]:
    ways: dict[int, int] = {}
    found: dict[int, int] = {}
    try:
        for pid in (*pids, os.getpid()):
            with suppress(OSError):  # it has ended
                number = namespace_of(pid, "net")
                if number not in ways:
                    ways[number] = open_namespace(pid, "net")
        for answer in ask_each(_other_ends_in, list(ways.values())):
            found.update(answer or {})
    finally:
        for way in ways.values():
            os.close(way)
    return found


def _other_ends_in(network_namespace: int) -> dict[int, int]:
    """Runs in an expendable child."""
    enter_network_namespace(network_namespace)
    return other_ends()


def _held(missing: Collection[int]) -> Iterator[int]:
    """Those that any process has but us."""
    wanted = {f"socket:[{number}]": number for number in missing}
    ours = who_asks()
    for name in names("/proc"):
        if not name.isdigit() or int(name) in ours:
            continue
        with suppress(OSError):
            for descriptor in names(f"/proc/{name}/fd"):
                with suppress(OSError):
                    number = wanted.get(link(f"/proc/{name}/fd/{descriptor}"))
                    if number is not None:
                        yield number
