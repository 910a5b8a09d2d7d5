"""Freeze: stop every process that uses the volume, and those that begin to meanwhile.

They are stopped by ptrace and wait in the harbour; from there their handles can be moved. A process
that serves the volume was found by `assess` and is never stopped. Must never leave anybody stopped
beyond the deadline: the harbour continues them even when every process of ours is dead.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

from holdfast.applications.asked import goes_on
from holdfast.applications.freezers.servers import Protection, ourselves, servers_below
from holdfast.applications.places import is_below
from holdfast.applications.rebind.rebind import Rebind
from holdfast.applications.users import find_users
from holdfast.errors import Blocked, StorageFailed
from holdfast.model.handle import Handle, User
from holdfast.model.mountpoint import MountPoint
from holdfast.model.plan import StepName
from holdfast.model.restoration import Mode, StepState
from holdfast.mountpoints.covering import can_be_covered
from holdfast.mountpoints.dead import abort, is_fuse
from holdfast.restoration.records.record import FreezeResult
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps.parked import keep, parked, record_directory
from holdfast.restoration.storage.swap_files import goes_along


class FreezeStep:
    """Stops all users until the step Thaw, or the deadline."""

    name = StepName.FREEZE

    def is_done(self, work: Work) -> bool:
        """Whether they are stopped now."""
        return parked(work) is not None

    def do(self, work: Work) -> str:
        """Stop them all; which and how many, in words. Raises Blocked with nobody stopped."""
        intent = work.intent
        stale = intent.mode is Mode.STALE
        points = intent.stale_points if stale else work.points
        protection = Protection(servers_below(points), ourselves())

        # Whoever hangs in what is dead is asked again, when that has been aborted.
        silent = None if intent.is_broken else set[int]()

        def find_all() -> list[User]:
            return users_of(points, work.own_pids, protection, stale=stale, silent=silent)

        def find() -> list[User]:
            return [user for user in find_all() if not (user.pid in asked and goes_on(user))]

        seconds = intent.deadline_seconds
        found = find_all()
        # Who is asked from later on only is not among them, and is in the way.
        may_go_on = goes_along(intent.mode, is_broken=intent.is_broken) and can_be_covered(points)
        asked = {each.pid: each.start_time for each in found if may_go_on and goes_on(each)}
        work.live.asked = asked
        users = [user for user in found if user.pid not in asked]
        deadline_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + int(seconds * 1e9)
        rebind = Rebind(
            record_directory(work),
            users,
            deadline_ns,
            points,
            find,
            storage_answers=not intent.is_dead,
            seized=partial(abort, points) if intent.is_broken and not stale else None,
            # A FUSE server has all that was written, unless it asked for a write-back cache, which
            # few do and nobody outside can see.
            refuses_confined=intent.refuses_confined,
            written_through=work.new is None and is_fuse(work.old.mount.filesystem),
        )
        rebind.prepare()
        try:
            work.begin_waiting(deadline_ns, deadline_seconds=seconds, frozen_at=time.time())
        except BaseException:
            rebind.give_up()
            raise
        rebind.stop()
        keep(work, rebind)
        return remember_stopped(work, rebind)

    def undo(self, work: Work) -> str:
        """Let them go on, with what they had.

        Raises StorageFailed where their handles could not be moved back: they wait until the
        deadline, and what is written down of them stays, so that a later process tries again.
        """
        rebind, dismount = parked(work), work.restoration.record_of(StepName.DISMOUNT)
        keep(work, None)
        if rebind is None:
            return "released"
        if dismount is not None and dismount.state is StepState.FAILED:
            rebind.leave()
            raise StorageFailed("its users wait until the deadline for what they had open")
        rebind.release()
        return "released"


def remember_stopped(work: Work, rebind: Rebind) -> str:
    """Write down who stands, for the receipt and for a later process; how many, in words."""
    stopped = [user for user in rebind.users if user.pid in rebind.pids]
    work.remember(
        frozen=FreezeResult(
            tuple((user.pid, user.name) for user in stopped),
            rebind.calls_made_again,
            tuple(rebind.calls_failed),
        )
    )
    handles = sum(len(user.handles) for user in stopped)
    return f"{len(stopped)} processes, {handles} handles"


def users_of(
    points: Sequence[MountPoint],
    own_pids: Collection[int],
    protection: Protection,
    *,
    stale: bool = False,
    silent: set[int] | None = None,
) -> list[User]:
    """The users that are to be stopped. Raises Blocked for one that must not be.

    Suspects are left alone: where one has mapped something of the volume after all, the dismount
    is refused, and undone. `silent`: suspects of earlier looks, who are not waited for once more
    while others stand still; new ones are added. `stale`: only handles that lead through these very
    mounts count; the file system may be mounted elsewhere, too.
    """
    found = find_users(points, unasked=silent or ())
    if silent is not None:
        silent.update(user.pid for user in found if user.is_suspect)
    users = [user for user in found if user.pid not in own_pids and not user.is_suspect]
    if stale:
        gone = {point.id: point for point in points}
        users = [
            replace(
                user,
                handles=tuple(
                    _through(gone[each.mount_id], each)
                    for each in user.handles
                    if each.mount_id in gone
                ),
            )
            for user in users
        ]
        users = [user for user in users if user.handles]
    for user in users:
        reason = protection.reason(user.pid)
        if reason and reason != "has ended":
            raise Blocked(
                f"{user.name} (process {user.pid}) uses the volume and {reason}",
                "Let it use another volume.",
            )
    return users


def _through(point: MountPoint, handle: Handle) -> Handle:
    """The handle with its path inside the file system. Of a mount that is in no table any more, the
    kernel shows paths from the root of that mount, not from the mount point."""
    if is_below(handle.path, point.path):
        return handle
    inside = "/".join(filter(None, (point.inside, handle.path.strip("/"))))
    return replace(handle, inside=inside)
