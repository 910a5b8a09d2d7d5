"""Legs are opened side by side when a worker starts, and none keeps the others waiting.

Invariant: whoever is late closes itself what it opens then; a container behind a dead worker, which
hangs in it, is taken over with its lock or not at all.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from time import monotonic, monotonic_ns

from holdfast.containers import path_of
from holdfast.containers.back_end import identity_of
from holdfast.errors import HoldfastError
from holdfast.gate.data.task import LegTask
from holdfast.gate.members.configuration import LegEntry
from holdfast.gate.members.leg import Leg
from holdfast.gate.members.superblock import Superblock
from holdfast.gate.repair.earlier import Earlier, EarlierWorker
from holdfast.gate.repair.recovery import Recovery
from holdfast.gate.runtime.claims import GivenUp, Hand
from holdfast.gate.runtime.shared_page import remembered_container
from holdfast.gate.runtime.watching import Patience
from holdfast.late_dataclass import dataclass
from holdfast.system.processes.left_open import LeftOpen, left_open
from holdfast.system.processes.process import close_quietly

_PAUSE_SECONDS = 0.001
"""Between two attempts to open what a process that is ending has locked."""

_LONG_PAUSE_SECONDS = 0.05
"""The same where it hangs, perhaps in that leg: each attempt looks at all of its threads."""

Opened = tuple[Leg, Superblock | None]


@dataclass(frozen=True)
class Before:
    """The workers before, and what the keeper kept of their legs for the one that takes over."""

    earlier: Earlier = field(default_factory=Earlier)
    kept: Mapping[int, int] = field(default_factory=dict)
    """Descriptors by leg, with their locks, of containers that are not found by their names."""


FIRST = Before()
"""Of a worker that none came before."""


def open_members(recovery: Recovery, entries: list[LegEntry], before: Before) -> dict[int, Opened]:
    """Open legs side by side, for at most the hang time-out; those that cannot be are left out.

    Workers that were killed while a thread of them hangs in one leg still have the locks of all:
    the others are taken over with their locks.
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


def _open(recovery: Recovery, hand: Hand, entry: LegEntry, before: Before) -> Opened:
    """As soon as those have let go of it that are ending; behind those that hang.

    Raises as `Recovery.open`.
    """
    if entry.number in before.kept:
        return recovery.open(hand, entry, os.dup(before.kept[entry.number]))
    ending, hanging = before.earlier.ending, before.earlier.hanging
    deadline = monotonic() + recovery.roster.configuration.hang_timeout_seconds / 2
    while True:
        try:
            return recovery.open(hand, entry)
        except BlockingIOError:
            if not ending:  # one that hung may have got its answer
                ending = tuple(each for each in hanging if each.is_at_rest())
                hanging = tuple(each for each in hanging if each not in ending)
            is_late = monotonic() >= deadline
            if is_late or not ending:
                opened = _open_behind_any(recovery, hand, entry, (*ending, *hanging))
                if opened is not None:
                    return opened
                if is_late or not hanging:
                    raise
        if ending:
            ending = tuple(each for each in ending if not each.has_ended(_PAUSE_SECONDS))
        else:
            hanging[0].has_ended(_LONG_PAUSE_SECONDS)


def _open_behind_any(
    recovery: Recovery, hand: Hand, entry: LegEntry, workers: Sequence[EarlierWorker]
) -> Opened | None:
    """Open a container that one of these has locked. None: none of them has, or one may still
    write to it. Raises as `Recovery.open`, but BlockingIOError."""
    for each in _left_open(hand, entry, workers):
        inherited = each.take()
        if inherited is not None:
            with suppress(BlockingIOError):
                return open_behind(recovery, hand, entry, inherited)
    return None


def _left_open(hand: Hand, entry: LegEntry, workers: Sequence[EarlierWorker]) -> list[LeftOpen]:
    """Descriptors of these that lead to what has the leg's name, none while one may be in use."""
    path = path_of(entry.url)
    if not path:
        return []
    with hand.inside(entry.number):
        there = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            shown_as = os.readlink(f"/proc/self/fd/{there}")  # noqa: PTH115 - a system call
        finally:
            os.close(there)
    found: list[LeftOpen] = []
    for each in workers:
        numbers = left_open(each.pid, shown_as)
        if numbers is None:
            return []
        found += numbers
    return found


def open_behind(recovery: Recovery, hand: Hand, entry: LegEntry, inherited: int) -> Opened:
    """Open a container that a dead worker, which hangs in it, still has locked; by a descriptor of
    that worker, owned from now on. Raises as `Recovery.open`, with nothing left open; where the
    descriptor leads to another container than the leg was, BlockingIOError."""
    _check_same(recovery, hand, entry, inherited)
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


def _check_same(recovery: Recovery, hand: Hand, entry: LegEntry, inherited: int) -> None:
    """Raise BlockingIOError where this leads to another container than the leg was; closed then."""
    try:
        with hand.inside(entry.number):
            identity = identity_of(os.fstat(inherited))
            if identity != remembered_container(recovery.mirror.cells, entry.number):
                raise BlockingIOError(errno.EWOULDBLOCK, "somebody else has it", entry.url)
    except BaseException:
        close_quietly(inherited)
        raise


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
