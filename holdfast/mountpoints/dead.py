"""Getting rid of a mount whose server is dead or hangs: calls in flight return, then it goes.

Invariant: an orderly dismount is tried first, a forced one next; a lazy one is the last resort, and
the answer says so. Every attempt has a deadline. Must never be used on a file system that serves:
what its users have not written yet is lost.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

from holdfast.errors import CommandFailed, DeadlinePassed, HoldfastError, InUse
from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.busy import users_in_words
from holdfast.mountpoints.capture import is_there
from holdfast.mountpoints.covering import cover_dead
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.fuse.connections import abort_connection, connection_number
from holdfast.system.fuse.cover import Covers
from holdfast.system.mounts.all_namespaces import all_mount_points
from holdfast.system.mounts.mount_table import MNT_DETACH, MNT_FORCE, unmount
from holdfast.system.mounts.visitor import Visitor, ways_to

ATTEMPT_SECONDS = 5.0
"""What hangs is not waited for: an attempt that takes longer is given up, and the next one made."""

_DISMOUNT_SECONDS = 20.0

_FORCED_TYPES = ("fuse", "nfs", "cifs", "smb3", "ceph", "9p")
"""Where MNT_FORCE (umount2(2)) ends the requests in flight."""


def is_fuse(filesystem: str) -> bool:
    """Whether a FUSE server stands behind mounts of this type (`fuse.sshfs`, `fuseblk`)."""
    return filesystem.partition(".")[0] in ("fuse", "fuseblk")


def abort(points: Sequence[MountPoint]) -> list[Finding]:
    """Let every call that waits for a FUSE server fail (ECONNABORTED), now and from now on.

    Not to be undone: the connection is dead afterwards. Idempotent; for other file systems it does
    nothing, nor for mounts that are gone: their number may be another connection's by now.
    Findings say where it could not be done.
    """
    findings = []
    served = [point for point in points if is_fuse(point.filesystem)]
    there = all_mount_points() if served else []
    connections = {point.device: point for point in served if any(map(point.is_same_mount, there))}
    for device_number, point in connections.items():
        try:
            abort_connection(device_number)
        except (HoldfastError, OSError) as error:
            findings.append(
                Finding(
                    point.path,
                    Verdict.LIMITED,
                    f"the FUSE connection {connection_number(device_number)} cannot be aborted:"
                    f" {error}",
                    "Calls that wait for its server go on waiting.",
                    "End the server's processes.",
                )
            )
    return findings


def dismount_dead(points: Sequence[MountPoint], covers: Covers | None = None) -> list[Finding]:
    """Dismount all of them whatever it takes, in this order; idempotent. `covers`: see `dismount`.

    Returns what could not be done in order: forced or lazy dismounts. A file system that was
    detached lazily lives on, unreachable, until its last user lets go. Blocks a few seconds per
    mount at most. Raises InUse when one is still there, naming its users.
    """
    findings = abort(points)
    if covers is not None and points:
        with suppress(HoldfastError, OSError):
            cover_dead(points, covers, ATTEMPT_SECONDS)
    left: list[MountPoint] = []
    with ways_to(points) as ways:
        for point in points:
            if point.namespace in ways:
                finding, gone = _dismount(point, ways)
                findings += finding
                left += () if gone else (point,)
    if left:
        raise InUse(
            f"{left[0].path} cannot be dismounted, not even lazily: {users_in_words(left)}",
            "Stop the container or service that has it as its root.",
        )
    return findings


def dismount_dead_path(path: str) -> str:
    """Dismount what is dead at this path of our own mount namespace; a sentence that says how.

    Lazily where the orderly dismount was refused: its users can reach nothing any more. Blocks 20
    seconds at most. Raises CommandFailed, InUse.
    """
    try:
        in_expendable_child(lambda: unmount(path), _DISMOUNT_SECONDS, path)
    except (InUse, DeadlinePassed, CommandFailed):
        unmount(path, lazy=True)
        return f"dismounted the dead {path}; processes still have it open"
    return f"dismounted the dead {path}"


def _dismount(point: MountPoint, ways: Mapping[int, int]) -> tuple[list[Finding], bool]:
    """What has to be said of it, and whether it is gone."""
    attempts = [(0, "")]
    if point.filesystem.startswith(_FORCED_TYPES):
        attempts.append((MNT_FORCE, "dismounted by force"))
    attempts.append((MNT_DETACH, "detached lazily"))
    why = ""
    for flags, words in attempts:
        try:
            number = in_expendable_child(
                partial(_attempt, point, ways[point.namespace], flags), ATTEMPT_SECONDS, point.path
            )
            if number == 0:
                return ([_said(point, words, why)] if words else []), True
            why = os.strerror(number)
        except DeadlinePassed:
            why = "no answer"
    return [], False


def _said(point: MountPoint, words: str, why: str) -> Finding:
    lazily = words == "detached lazily"
    return Finding(
        point.path,
        Verdict.LIMITED,
        f"{words}, because the orderly dismount was refused ({why})",
        "The old file system lives on until its last user lets go." if lazily else "",
        "holdfast users names who still has it, while they are there." if lazily else "",
    )


def _attempt(point: MountPoint, way: int, flags: int) -> int:
    """Try to dismount, in the child: the error number, 0 when the mount is gone."""
    visitor = Visitor()
    visitor.enter(way)
    mounts = visitor.mounts()
    if not is_there(point, mounts):
        return 0
    if any(each.parent == point.id and each.path == point.path for each in mounts):
        return errno.EBUSY  # the wrong one would go
    try:
        visitor.dismount(point.path, flags)
    except OSError as error:
        return error.errno or errno.EIO
    return 0
