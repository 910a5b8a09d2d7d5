"""Legs are opened side by side when a worker starts, and none keeps the others waiting.

Invariant: whoever is late closes itself what it opens then; a container behind a dead worker, which
hangs in it, is taken over with its lock or not at all.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic, monotonic_ns

from holdfast.errors import HoldfastError
from holdfast.gate.data.task import LegTask
from holdfast.gate.members.configuration import LegEntry
from holdfast.gate.members.leg import Leg
from holdfast.gate.members.superblock import Superblock
from holdfast.gate.repair.recovery import Recovery
from holdfast.gate.runtime.claims import GivenUp, Hand
from holdfast.gate.runtime.shared_page import remembered_container
from holdfast.gate.runtime.watching import Patience
from holdfast.system.processes.process import (
    close_quietly,
    has_ended,
    inherit_descriptor,
    watch_process,
)

_PAUSE_SECONDS = 0.001
"""Between two attempts to open what a process that is ending has locked."""

Opened = tuple[Leg, Superblock | None]


@dataclass(frozen=True)
class Predecessor:
    """The worker before, and what the keeper kept of its legs for the one that takes over."""

    pid: int = 0
    kept: Mapping[int, int] = field(default_factory=dict)
    """Descriptors by leg, with their locks, of containers that are not found by their names."""
    is_ending: bool = False
    """No thread of it runs code any more: it lets go of its locks at once, or in milliseconds."""


FIRST = Predecessor()
"""Of a worker that none came before."""


def open_members(
    recovery: Recovery, entries: list[LegEntry], before: Predecessor
) -> dict[int, Opened]:
    """Open legs side by side, for at most the hang time-out; those that cannot be are left out.

    A worker that was killed while a thread of it hangs in one leg still has the locks of all: the
    others are taken over with their locks.
    """
    patience = Patience(recovery.roster.configuration.hang_timeout_seconds)
    tasks = {
        entry.number: LegTask(
            recovery.mirror.hands,
            lambda hand, entry=entry: _open(recovery, hand, entry, before),  # type: ignore[misc]
        )
        for entry in entries
    }
    opened: dict[int, Opened] = {}
    for number, task in tasks.items():
        try:
            opened[number] = _opened_in_time(task, patience)
        except HoldfastError as error:
            recovery.roster.note(number, recovery.roster.entry(number).state, error.message)
        except OSError as error:
            reason = "another process uses it" if isinstance(error, BlockingIOError) else str(error)
            recovery.roster.note(number, recovery.roster.entry(number).state, reason)
    return opened


def _opened_in_time(task: LegTask[Opened], patience: Patience) -> Opened:
    """The task's result; when it is late it is given up, and closes itself what it opens then."""
    patience.wait_for(task)
    while task.is_alive() and not task.hand.given_up:
        if not task.hand.give_up(monotonic_ns()):
            task.join(0.001)
    return task.result(0.0)


def _open(recovery: Recovery, hand: Hand, entry: LegEntry, before: Predecessor) -> Opened:
    if entry.number in before.kept:
        return recovery.open(hand, entry, os.dup(before.kept[entry.number]))
    if before.is_ending:
        opened = _open_when_let_go(recovery, hand, entry, before.pid)
        if opened is not None:
            return opened
    try:
        return recovery.open(hand, entry)
    except BlockingIOError:
        _, descriptor = remembered_container(recovery.mirror.cells, entry.number)
        inherited = inherit_descriptor(before.pid, descriptor) if descriptor else None
        if inherited is None:
            raise
    return open_behind(recovery, hand, entry, inherited)


def _open_when_let_go(recovery: Recovery, hand: Hand, entry: LegEntry, pid: int) -> Opened | None:
    """Open a container as soon as a process that is ending has let go of it.

    None: it has ended, or has not for half the hang time-out. Raises as `Recovery.open`.
    """
    deadline = monotonic() + recovery.roster.configuration.hang_timeout_seconds / 2
    watch = watch_process(pid)
    try:
        while not has_ended(watch) and monotonic() < deadline:
            with suppress(BlockingIOError):
                return recovery.open(hand, entry)
            has_ended(watch, _PAUSE_SECONDS)
    finally:
        if watch is not None:
            os.close(watch)
    return None


def open_behind(recovery: Recovery, hand: Hand, entry: LegEntry, inherited: int) -> Opened:
    """Open a container that a dead worker, which hangs in it, still has locked; by a descriptor of
    that worker, owned from now on. Raises as `Recovery.open`, with nothing left open."""
    try:
        with hand.inside(entry.number):
            fcntl.flock(inherited, fcntl.LOCK_UN)
        opened = recovery.open(hand, entry)
    except BlockingIOError:  # a disk's exclusive claim cannot be let go of for another
        _lock_again(hand, entry.number, inherited)
        return recovery.open(hand, entry, inherited)
    except BaseException:
        close_quietly(inherited)
        raise
    try:
        with hand.inside(entry.number):
            close_quietly(inherited)
    except GivenUp:  # nobody waits for it any more, and it would keep the lock
        opened[0].discard()
        raise
    return opened


def _lock_again(hand: Hand, number: int, inherited: int) -> None:
    """Lock what was let go of, unless somebody who waited has it now: that raises BlockingIOError.

    Whatever is raised, the descriptor is closed then.
    """
    try:
        with hand.inside(number):
            fcntl.flock(inherited, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        close_quietly(inherited)
        raise
