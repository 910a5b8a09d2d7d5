"""Mounting old or new storage at every captured mount point: for Remount, and to undo Dismount."""

from __future__ import annotations

import os
from collections.abc import Sequence

from holdfast.adopted.nameless_image import renamed_image
from holdfast.errors import HoldfastError, NotAttached
from holdfast.gate.outside.launch import START_SECONDS
from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.model.restoration import Mode
from holdfast.model.volume import Volume
from holdfast.mountpoints.capture import by_somebody_else, newcomers
from holdfast.mountpoints.copied import is_of
from holdfast.mountpoints.options import carry_options, wanted_super_options
from holdfast.mountpoints.placing import Manner
from holdfast.mountpoints.remount import Covered, mount_covered, reached_already
from holdfast.mountpoints.uncovering import uncover
from holdfast.restoration.records.record import MOST_TOLD
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps.mounts_below import put_mounts_back
from holdfast.restoration.storage.old_and_new import bring_up
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.fuse.cover import Covers, make_covers
from holdfast.system.fuse.cover_server import release
from holdfast.system.mounts.all_namespaces import all_mount_points
from holdfast.system.mounts.mount_api import open_place
from holdfast.system.mounts.mount_table import mount_at


def mount_storage(work: Work, volume: Volume, *, undoing: bool = False) -> Covered:
    """Bring the storage up and mount it at every point, where covers stay until `open_up`.

    `undoing`: what cannot be mounted is left out, and told. Idempotent: points where it is mounted
    already are taken as they are. Raises HoldfastError.
    """
    points = work.points
    if work.intent.mode is Mode.STALE:
        return reached_already({each.id: in_place(each) for each in work.intent.stale_points})
    source, options = source_and_options(work, volume, undoing=undoing)
    notes: list[Finding] = []
    manner = Manner(undoing=undoing)
    covered = mount_covered(
        points,
        source,
        volume.mount.filesystem,
        options,
        notes.append,
        manner,
        work.record.cover,
    )
    work.tell(notes)
    return covered


def open_up(work: Work, covered: Covered, *, undoing: bool = False) -> None:
    """Let those go on who wait at covers; after the handles have been moved: what a newcomer locks
    would be lost to whoever had it. The roots are closed."""
    notes: list[Finding] = []
    covered.tell = notes.append
    put_mounts_back(work, covered)
    try:
        covered.open_up()
    except (HoldfastError, OSError) as error:
        words = f"not every mount point could be uncovered: {error}"
        notes.append(Finding("cover", Verdict.LIMITED, words))
    finally:
        close_roots(covered)
        release_covers(work)
    if undoing:
        work.live.left_out = tuple(
            f"{each.subject}: {each.found}" for each in notes if each.subject != "propagation"
        )
    work.tell(notes)


def close_roots(covered: Covered) -> None:
    """Keep its mounts busy no more. Idempotent."""
    while covered.roots:
        os.close(covered.roots.popitem()[1])


def uncover_all(work: Work) -> None:
    """Take the covers of this restoration away wherever they are; who waits goes on waiting."""
    cover = work.record.cover
    if cover is not None:
        for device in {each.device for each in all_mount_points() if is_of(cover, each)}:
            uncover(device)


def name_of_image(work: Work) -> str:
    """What the old storage was recorded to be, where it works: its image may lose the name."""
    adoption = work.old.adoption
    return adoption.source if adoption and work.points and not work.intent.is_broken else ""


def source_and_options(work: Work, volume: Volume, *, undoing: bool = False) -> tuple[str, str]:
    """Bring the storage up: what can be mounted, with which options. Idempotent.

    `undoing`: it was in use a moment ago, and its device is, if that has it still, whatever lies
    under the image's name by now.
    """
    points = work.points
    if undoing and renamed_image(name_of_image(work), points[-1]):
        source, more = points[-1].source, ""
    else:
        source, more = bring_up(work.settings, volume, _start_seconds(work, volume))
    old_type = points[-1].filesystem if points else volume.mount.filesystem
    words, _ = carry_options(wanted_super_options(points), old_type, volume.mount.filesystem)
    return source, ",".join(filter(None, (words, more)))


def _start_seconds(work: Work, volume: Volume) -> float:
    """How long a gate may take to start: new storage until there is just time to undo it all. The
    old one has as long as any gate: there is nothing else to go back to."""
    if volume is work.old:
        return START_SECONDS
    return min(START_SECONDS, max(work.seconds_left(), 0.0))


def make_covers_for(work: Work) -> Covers | None:
    """Covers for the mount points of the volume; durably recorded, so that a later process finds
    their server.

    None where the users wait for another command (detach): an administrator is to see that the
    volume is dismounted. None, with a finding, where the host cannot make them.
    """
    if work.intent.mode in (Mode.PARK, Mode.STALE):
        return None
    try:
        covers = make_covers(work.restoration.deadline_ns)
    except (HoldfastError, OSError) as error:
        words = f"the mount point cannot be covered: {error}"
        work.tell([Finding("cover", Verdict.LIMITED, words)])
        return None
    try:
        work.remember(cover=covers.server)
    except BaseException:
        covers.close()
        raise
    return covers


def tell_of_lost(work: Work, findings: Sequence[Finding]) -> None:
    """Add to the receipt what it does not say yet of mounts that will not be made again."""
    known = {each.found for each in (*work.intent.findings, *work.record.findings)}
    work.tell([each for each in findings if each.found not in known][:MOST_TOLD])


def release_covers(work: Work) -> None:
    """Let everybody who waits at a cover look up the path again. Idempotent."""
    if work.record.cover is not None:
        release(work.record.cover)


def refuse_newcomers(work: Work) -> None:
    """Raise InUse when somebody has mounted the dismounted storage, or something at its mount
    points: what is written there would be lost, or hidden."""
    if work.new is None or not work.points:
        return
    for each in newcomers(work.points):
        raise by_somebody_else(each)


def in_place(point: MountPoint) -> int:
    """The root of the mount that is at this point's place now (O_PATH); caller closes."""
    if mount_at(point.path) is None:
        raise NotAttached(f"nothing is mounted at {point.path} now", "Mount it there first.")
    in_expendable_child(lambda: os.close(open_place(point.path)), doing=point.path)
    return open_place(point.path)
