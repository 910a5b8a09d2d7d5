"""The feasibility scan: what a rebind would do with every handle, before anything is touched.

Reads /proc, and the kernel's list of sockets. Invariant: nothing is stopped, opened on storage or
changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from holdfast.applications.asked import goes_on
from holdfast.applications.lone_ends import without_holder
from holdfast.applications.rebind.handles import DRIVERS
from holdfast.applications.rebind.handles.process_traits import ProcessTraits, gather
from holdfast.applications.rebind.handles.verdicts import blocks, recreated
from holdfast.applications.rebind.handles.verdicts import judge as judge_refused
from holdfast.model.handle import Handle, HandleKind, HandleVerdict, JudgedHandle, User

_ENDED = frozenset("ZX")
_CONNECTION = HandleKind.CONNECTION
_ALONE = "no process that could stand still has the other end of the connection"
_HEADLESS = "its main thread ended before the others"


_NOTHING: Mapping[int, ProcessTraits] = {}


def judge(
    users: Sequence[User],
    known: Mapping[int, ProcessTraits] = _NOTHING,
    *,
    asked_go_on: bool = False,
) -> list[JudgedHandle]:
    """A verdict for every handle of every user, in their order; none for processes that ended.

    `known`: by process what `traits_of` has told, where that cannot have changed. `asked_go_on`:
    those are not stopped who can be left to run because they are asked for permission.
    """
    found = []
    ends = [each for user in users for each in user.handles if each.kind is _CONNECTION]
    numbers = {each.inode for each in ends}
    alone = without_holder([each for each in ends if each.start and each.start not in numbers])
    for user in users:
        if user.state[:1] in _ENDED:
            # its main thread; what others have that go on can neither be moved nor be forgotten
            found += [
                blocks(each, _HEADLESS) for each in user.handles if each.thread_id is not None
            ]
            continue
        if asked_go_on and goes_on(user):
            found += [_of_asked(each) for each in user.handles]
            continue
        facts = known.get(user.pid)
        if facts is None or not _map_starts(user) <= (facts.maps or {}).keys():
            facts = traits_of(user)
        found += [
            blocks(handle, _ALONE)
            if handle.kind is _CONNECTION and handle.start in alone
            else judge_handle(handle, facts)
            for handle in user.handles
        ]
    return found


def _of_asked(handle: Handle) -> JudgedHandle:
    if handle.kind is HandleKind.FANOTIFY:
        return recreated(handle, "its process goes on, and is asked again before anybody can open")
    reason = "taken to be of an event: where it stays open, the dismount is refused"
    return JudgedHandle(handle, HandleVerdict.MOVED, reason)


def traits_of(user: User) -> ProcessTraits:
    """What the verdicts on its handles depend on."""
    return gather(user.pid, _map_starts(user))


def _map_starts(user: User) -> set[int]:
    return {handle.start for handle in user.handles if handle.kind is HandleKind.MAP}


def judge_handle(handle: Handle, facts: ProcessTraits) -> JudgedHandle:
    """The verdict for one handle of a process with these facts. Pure."""
    if facts.blocked:
        return blocks(handle, facts.blocked)
    driver = DRIVERS.get(handle.kind)
    judged = judge_refused(handle) if driver is None else driver.judge(handle, facts)
    return replace(judged, waiting=facts.waiting) if facts.waiting else judged


def blockers(judged: Sequence[JudgedHandle]) -> list[JudgedHandle]:
    """The judged handles that keep a rebind from being begun."""
    return [each for each in judged if each.verdict is HandleVerdict.BLOCKS]
