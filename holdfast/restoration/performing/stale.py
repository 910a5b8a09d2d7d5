"""Handles on a mount that is in no table any more, moved to the mount that is in its place.

Somebody dismounted the volume lazily and mounted it again, or mounted something over it. Works for
adopted volumes only: the catalog has the ids of their mounts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from holdfast.applications.freezers.servers import Protection, ourselves, servers_below
from holdfast.applications.rebind.scan import blockers, judge
from holdfast.applications.users import find_users
from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.errors import Blocked, NotAttached, NotFound
from holdfast.model.handle import User
from holdfast.model.mountpoint import MountPoint
from holdfast.model.plan import StepName, Strategy
from holdfast.model.restoration import Mode, RestorationStage
from holdfast.model.volume import Volume
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.surplus.recording import recordable
from holdfast.restoration.performing.finish import finish, undone
from holdfast.restoration.performing.prepare import begin
from holdfast.restoration.performing.runner import Runner
from holdfast.restoration.records.record import Intent
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps import STEPS
from holdfast.restoration.steps.freeze import users_of
from holdfast.system.mounts.all_namespaces import all_mount_points

_STEPS = (StepName.FREEZE, StepName.DISMOUNT, StepName.REPLAY, StepName.THAW)


def rebind_stale(
    settings: Settings,
    catalog: Catalog,
    volume: Volume,
    deadline_seconds: float,
    dry_run: bool,
    checkpoint: Callable[[str], None] = lambda place: None,
) -> tuple[str, ...]:
    """Move the handles; one sentence for each process.

    Raises Blocked, NotAttached with nothing touched. `checkpoint`: see Runner.
    """
    now = _present(volume)
    recorded = volume.adoption.points if volume.adoption else ()
    ids = {point.id for point in now}
    old = [point for point in recorded if point.id not in ids]
    old += _out_of_sight(now, {point.id for point in (*now, *old)})
    users = users_of(old, (), Protection(servers_below(now), ourselves()), stale=True)
    _refuse(users)
    words = tuple(_words(user) for user in users)
    if dry_run or not users:
        return words
    intent = Intent(
        mode=Mode.STALE,
        old=volume,
        points=recordable(now),
        stale_points=tuple(old),
        deadline_seconds=deadline_seconds,
        # The same super block is mounted again: what is stale is the mount alone.
        is_dead=not all(any(map(each.is_on_same_as, now)) for each in old),
        is_broken=True,
    )
    restoration = begin(
        settings,
        catalog,
        intent,
        Strategy.REMOUNT,
        "handles lead to a mount that is gone",
        RestorationStage.RUNNING,
        _STEPS,
    )
    work = Work(settings, catalog.restorations, restoration)
    try:
        Runner(work, STEPS, checkpoint=checkpoint).run()
    except BaseException as error:
        undone(catalog, work, str(error) or type(error).__name__)
        raise
    finish(catalog, work)
    return words


def _out_of_sight(now: Sequence[MountPoint], known: Collection[int]) -> list[MountPoint]:
    """Mounts of the same file system that are in no table any more, as its users still have them.

    Their properties are assumed to be those of the present mount: the kernel tells only their ids.
    """
    primary = now[-1]
    own = [point for point in now if not point.inside] or [primary]
    tables = {each.id for each in all_mount_points()}
    numbers = {
        handle.mount_id
        for user in find_users(now)
        for handle in user.handles
        if handle.mount_id and handle.mount_id not in known and handle.mount_id not in tables
    }
    return [replace(own[-1], id=number) for number in sorted(numbers)]


def _present(volume: Volume) -> tuple[MountPoint, ...]:
    try:
        return capture(volume.mount.path)
    except NotFound:
        raise NotAttached(
            f"nothing is mounted at {volume.mount.path}", f"holdfast volume attach {volume.name}"
        ) from None


def _refuse(users: Sequence[User]) -> None:
    found = blockers(judge(users))
    if found:
        first = found[0]
        raise Blocked(
            f"process {first.handle.pid}: {first.handle.kind} {first.handle.path}: {first.reason}",
            "End this process, or have it close the handle.",
        )


def _words(user: User) -> str:
    counts = Counter(str(handle.kind) for handle in user.handles)
    handles = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    return f"{user.name} (process {user.pid}): {handles}"
