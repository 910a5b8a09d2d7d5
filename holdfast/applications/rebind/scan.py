"""The feasibility scan: what a rebind would do with every handle, before anything is touched.

Reads /proc only. Invariant: nothing is stopped, opened on storage or changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.applications.rebind.handles import DRIVERS
from holdfast.applications.rebind.handles.process_traits import ProcessTraits, gather
from holdfast.applications.rebind.handles.verdicts import blocks
from holdfast.applications.rebind.handles.verdicts import judge as judge_refused
from holdfast.model.handle import Handle, HandleKind, HandleVerdict, JudgedHandle, User

_ENDED = frozenset("ZX")
_HEADLESS = "its main thread ended before the others"


def judge(users: Sequence[User]) -> list[JudgedHandle]:
    """A verdict for every handle of every user, in their order; none for processes that ended."""
    found = []
    for user in users:
        if user.state[:1] in _ENDED:
            # its main thread; what others have that go on can neither be moved nor be forgotten
            found += [
                blocks(each, _HEADLESS) for each in user.handles if each.thread_id is not None
            ]
            continue
        starts = [handle.start for handle in user.handles if handle.kind is HandleKind.MAP]
        facts = gather(user.pid, starts)
        found += [judge_handle(handle, facts) for handle in user.handles]
    return found


def judge_handle(handle: Handle, facts: ProcessTraits) -> JudgedHandle:
    """The verdict for one handle of a process with these facts. Pure."""
    if facts.blocked:
        return blocks(handle, facts.blocked)
    driver = DRIVERS.get(handle.kind)
    return judge_refused(handle) if driver is None else driver.judge(handle, facts)


def blockers(judged: Sequence[JudgedHandle]) -> list[JudgedHandle]:
    """The judged handles that keep a rebind from being begun."""
    return [each for each in judged if each.verdict is HandleVerdict.BLOCKS]
