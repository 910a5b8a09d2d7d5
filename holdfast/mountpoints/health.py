"""Whether a mount still serves: asked of the mount table and, in an expendable child, of itself.

Never blocks the caller beyond the time-out, whatever hangs below. Must never repair anything.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from holdfast.errors import DeadlinePassed, HoldfastError
from holdfast.late_dataclass import dataclass
from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.model.plan import Cause
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.messages.printable import printable
from holdfast.system.mounts.all_namespaces import all_mount_points, read_mount_points
from holdfast.system.mounts.visitor import Visitor, ways_to

ANSWER_SECONDS = 3.0
"""A server that answers at all answers statfs and stat of its root within this time."""

_PATIENCE = 4
"""How much longer a host that is short of processor time gets."""

_DEAD = frozenset({
    errno.ENOTCONN, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ESTALE, errno.EIO, errno.ENODEV,
    errno.ENXIO, errno.ESHUTDOWN, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.EREMOTEIO,
})  # fmt: skip
"""FUSE without its server, NFS without its export, a device that left, a file system shut down."""

_REFUSES_WRITES = frozenset({"ro", "emergency_ro"})
"""Super options after errors=remount-ro; the latter is ext4's since Linux 6.15."""


class Condition(StrEnum):
    """What a mount is good for."""

    OK = "ok"
    DEAD = "dead"
    """Whoever served it is gone: every call returns an error."""
    HUNG = "hung"
    """No answer in time: calls may wait for ever."""
    READ_ONLY = "read-only"
    """Mounted for writing, and refuses to write: after an I/O error."""
    GONE = "gone"
    """Not mounted any more."""


CAUSES = {
    Condition.DEAD: Cause.DEAD_MOUNT,
    Condition.HUNG: Cause.HANG,
    Condition.READ_ONLY: Cause.READ_ONLY,
}
"""Conditions in which a mount does not take what is written, as causes of a restoration."""


@dataclass(frozen=True)
class Health:
    """The condition of a mount and what it was judged by."""

    condition: Condition
    finding: Finding
    is_asked_for: bool = False
    """Whether it may refuse to write because somebody wanted that, elsewhere: no error speaks for
    itself then, and nothing is lost."""

    @property
    def is_ok(self) -> bool:
        """Whether it serves as it should."""
        return self.condition is Condition.OK


def health(
    point: MountPoint, wanted_read_only: bool = False, timeout_seconds: float = ANSWER_SECONDS
) -> Health:
    """The condition of one mount now; blocks at most `timeout_seconds` and a moment, on a
    host without processor time to spare five times that.

    `wanted_read_only`: nobody asked for writing (fstab, catalog), so refusing to is no fault.
    """
    now = _present(point)
    if now is None:
        return _judged(Condition.GONE, point, "it is not mounted any more")
    words = set(now.super_options.split(","))
    if "shutdown" in words:
        return _judged(Condition.DEAD, point, "its file system was shut down")
    refused = _ask(now, timeout_seconds)
    if refused is not None:
        return refused
    asked_for = wanted_read_only or "ro" in now.options.split(",")
    if not asked_for and not _REFUSES_WRITES.isdisjoint(words):
        return _read_only(now, words)
    return _judged(Condition.OK, point, f"{now.filesystem} answers")


def _read_only(point: MountPoint, words: set[str]) -> Health:
    """One whose file system refuses to write: after an error, or as somebody remounted another of
    its mounts (mount -o remount,ro), which makes all of them refuse."""
    others = [
        each
        for each in all_mount_points()
        if each.device == point.device and "ro" in each.options.split(",")
    ]
    errors = _errors_noted(point)
    failed = errors > 0 if errors is not None else not others
    if failed or "emergency_ro" in words:
        return _judged(
            Condition.READ_ONLY, point, "mounted for writing, and turned read-only after an error"
        )
    whose = f", which is mounted read-only at {printable(others[0].path)}" if others else ""
    found = f"mounted for writing, and its file system was made read-only{whose}"
    return replace(_judged(Condition.READ_ONLY, point, found), is_asked_for=True)


def _errors_noted(point: MountPoint) -> int | None:
    """How many errors the file system has noted, if it says so: ext4 counts them."""
    device = Path(f"/sys/dev/block/{point.device}").resolve().name
    with suppress(OSError, ValueError):
        return int(Path(f"/sys/fs/ext4/{device}/errors_count").read_text())
    return None


def _present(point: MountPoint) -> MountPoint | None:
    """The mount as it is now, also when its witness has ended."""
    try:
        found = read_mount_points(point.witness_pid)
    except OSError:
        found = all_mount_points()
    if any(each.namespace == point.namespace for each in found):
        return next((each for each in found if each.is_same_mount(point)), None)
    return next((each for each in all_mount_points() if each.is_same_mount(point)), None)


def _ask(point: MountPoint, timeout_seconds: float) -> Health | None:
    """None when the root of the mount answers."""

    def ask() -> int:
        visitor = Visitor()
        visitor.enter(ways[point.namespace])
        try:
            os.statvfs(point.path)
            os.stat(point.path)  # noqa: PTH116 - beside statvfs
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    try:
        with ways_to([point]) as ways:
            if point.namespace not in ways:
                return _judged(Condition.GONE, point, "its mount namespace has ended")
            try:
                number = in_expendable_child(ask, timeout_seconds, point.path)
            except DeadlinePassed:
                if not _is_overloaded(timeout_seconds):
                    raise
                number = in_expendable_child(ask, _PATIENCE * timeout_seconds, point.path)
    except DeadlinePassed:
        return _judged(Condition.HUNG, point, f"no answer within {timeout_seconds:g} s")
    except HoldfastError as error:
        return _judged(Condition.DEAD, point, error.message)
    if number in _DEAD:
        return _judged(Condition.DEAD, point, f"every call fails: {os.strerror(number)}")
    return None


def _is_overloaded(timeout_seconds: float) -> bool:
    """Whether a child that asks nothing is slow as well: then silence proves nothing yet."""
    began = time.monotonic()
    with suppress(DeadlinePassed):
        in_expendable_child(lambda: None, timeout_seconds)
    return time.monotonic() - began > timeout_seconds / _PATIENCE


_MEANING = {
    Condition.OK: "",
    Condition.DEAD: "Processes that use it get errors.",
    Condition.HUNG: "Processes that use it wait, and cannot be ended.",
    Condition.READ_ONLY: "Processes that write to it get errors.",
    Condition.GONE: "Processes find what lies below the mount point.",
}


def _judged(condition: Condition, point: MountPoint, found: str) -> Health:
    verdict = Verdict.OK if condition is Condition.OK else Verdict.LIMITED
    mend = "" if condition is Condition.OK else "Mount it again; holdfast users names who uses it."
    finding = Finding(point.path, verdict, found, _MEANING[condition], mend)
    return Health(condition, finding)
