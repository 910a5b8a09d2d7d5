"""Dismounting once more: somebody began to use the volume after everybody was looked for.

A command that is started from outside, goes into the volume by its path and stays there for a while
keeps it from being dismounted. That is no reason to refuse: he is a user like any other, and is
stopped with all of them in another turn. Invariant: between two turns everybody has what he had,
and runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from holdfast.applications.users import busy_processes
from holdfast.errors import HoldfastError
from holdfast.model.handle import HandleOutcome
from holdfast.model.listing import first_of
from holdfast.model.restoration import Mode
from holdfast.mountpoints.capture import capture
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps.capture import CaptureStep
from holdfast.restoration.steps.freeze import FreezeStep
from holdfast.restoration.steps.parked import keep, parked
from holdfast.system.messages.printable import printable
from holdfast.system.proc import name_of

_MOST_TURNS = 5
"""Each costs the users a pause; who comes by path in between belongs to the next one."""

SOMEBODY = "somebody who has gone"

_NAMED_AT_MOST = 3


def came_meanwhile(work: Work) -> str | None:
    """Who keeps the volume busy and has come after the others were stopped, whose handles are
    parked; in words, empty when it was somebody who has gone. None: there is no sense in another
    turn, or they cannot all go on and be stopped once more."""
    if not _may_go_on(work):
        return None
    pids = list[int]()
    with suppress(HoldfastError):
        pids = busy_processes(capture(work.old.mount.path), skip=work.own_pids)
    frozen = work.record.frozen
    stopped = {pid for pid, _ in frozen.processes} if frozen is not None else set()
    if not stopped.isdisjoint(pids):
        return None
    return first_of([_in_words(pid) for pid in pids], _NAMED_AT_MOST)


def may_be_another(came: Sequence[str], newcomers: str, seconds_left: float) -> bool:
    """Whether another turn makes sense. `came`: because of whom there were turns before. Nobody to
    be seen twice may as well be something that does not go. Pure."""
    is_nothing = not newcomers and "" in came
    return len(came) + 1 < _MOST_TURNS and not is_nothing and seconds_left > 0


def _may_go_on(work: Work) -> bool:
    """Whether nothing is lost when they run a little more: what they change then is still copied
    afterwards, and was not saved from storage that has failed."""
    intent = work.intent
    is_copied_later = intent.mode is not Mode.MOVE or intent.device is not None
    is_well = not intent.is_broken and work.record.saved is None
    return is_well and is_copied_later and intent.mode is not Mode.STALE


def _in_words(pid: int) -> str:
    with suppress(OSError):
        return f"{printable(name_of(pid))} (process {pid})"
    return f"process {pid}"


def have_what_they_had(work: Work) -> bool:
    """Whether the undoing of the dismount has cost nobody anything."""
    replayed = work.record.replayed
    kinds = [] if replayed is None else [each.values() for each in replayed.outcomes.values()]
    outcomes = {name for values in kinds for counts in values for name in counts}
    return outcomes <= {str(HandleOutcome.IDENTICAL)} and not work.live.left_out


def stop_once_more(work: Work) -> None:
    """Let everybody go on, and stop all users, those who came included. The volume is mounted.

    Raises as Freeze; everybody goes on then.
    """
    rebind, capture_step = parked(work), CaptureStep()
    keep(work, None)
    if rebind is not None:
        rebind.release(keeps_copies=True)
    capture_step.do(work)
    FreezeStep().do(work)
    capture_step.do(work)
