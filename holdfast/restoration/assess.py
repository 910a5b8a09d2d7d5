"""Assessing: everything that speaks for or against a restoration, found without touching anything.

Reads /proc, /sys and mount tables; asks storage in expendable children only. Invariant: what is
found here as a blocker keeps a restoration from being begun; nothing is stopped, made or changed.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from holdfast.applications.freezers.freezing import frozen
from holdfast.applications.freezers.servers import Protection, ourselves, servers_below
from holdfast.applications.kernel_users import held_by_kernel
from holdfast.applications.rebind.scan import judge
from holdfast.applications.users import find_users
from holdfast.config import Settings
from holdfast.errors import BadInput, Blocked, HoldfastError
from holdfast.model.finding import Finding, Verdict
from holdfast.model.handle import HandleKind, HandleVerdict, JudgedHandle, User
from holdfast.model.mountpoint import MountPoint
from holdfast.model.plan import Cause, Plan, Strategy
from holdfast.model.volume import ADOPTED, LegState, Volume, VolumeReport
from holdfast.restoration.databases import databases_among
from holdfast.restoration.inode_numbers import about_inode_numbers
from holdfast.restoration.not_kept import about_the_copy
from holdfast.restoration.origin import about_mounts_below, origin_of_contents, origin_of_mount
from holdfast.restoration.plan import Situation, make_plan
from holdfast.restoration.prediction import pause_seconds
from holdfast.restoration.target import NewStorage, check_room, design
from holdfast.system.expendable import in_expendable_child
from holdfast.system.filesystem import KINDS as KINDS_OF_FILE_SYSTEMS
from holdfast.system.filesystem import kind_of
from holdfast.system.run import find_tool
from holdfast.volumes.adopt import MEMORY_TYPES
from holdfast.volumes.chain import file_systems_below
from holdfast.volumes.health import Condition, health
from holdfast.volumes.mountpoints import mounts_of, obstacles

_ANSWER_SECONDS = 5.0
_DEAD = {Condition.DEAD: Cause.DEAD_MOUNT, Condition.HUNG: Cause.HANG}
_BY_CONDITION = {**_DEAD, Condition.READ_ONLY: Cause.READ_ONLY}


@dataclass(frozen=True)
class Request:
    """What is asked for. Times in seconds."""

    volume: Volume
    strategy: Strategy | None = None
    cause: Cause = Cause.PLANNED
    url: str = ""
    """The container that is to take the place of the present storage."""
    filesystem: str = ""
    """Its type; empty: as now."""
    size_bytes: int = 0
    contents: str = ""
    """Directory or container that the contents come from; empty: the volume itself."""
    deadline_seconds: float = 60.0
    pause_budget_seconds: float = 30.0
    forced: bool = False


@dataclass(frozen=True)
class Assessment:
    """What was found, and what would be done."""

    request: Request
    plan: Plan
    points: tuple[MountPoint, ...] = ()
    users: tuple[User, ...] = ()
    judged: tuple[JudgedHandle, ...] = ()
    new: NewStorage | None = None
    look_seconds: float = 0.0
    """How long it took to find the users and judge their handles."""
    dead: bool = False
    """Whether nothing can be read from the mount: its server is gone, or hangs."""
    broken: bool = False
    """Whether nothing can be written to it: dead, or turned read-only."""
    refusal: HoldfastError | None = None
    """The error behind a finding about the container, for a command that was asked to act."""
    verdicts: dict[int, dict[str, int]] = field(default_factory=dict)
    """Handles by verdict, for each process."""

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `assess --json` prints them."""
        names = {user.pid: user.name for user in self.users}
        return {
            "volume": self.plan.volume,
            "plan": self.plan.as_json(),
            "possible": not self.plan.refuses,
            "processes": [
                {"pid": pid, "name": names.get(pid, ""), "handles": counts}
                for pid, counts in self.verdicts.items()
            ],
            "mounts": len(self.points),
        }


def assess(
    settings: Settings, request: Request, report: VolumeReport | None, others: Sequence[Volume]
) -> Assessment:
    """Find out everything, decide, change nothing. Blocks some seconds where storage hangs.

    `report`: of a gated volume, what its gate says; `others`: the other volumes of this host.
    Raises NotAttached when it is not mounted, BadInput for what cannot be meant.
    """
    volume = request.volume
    legs = report.legs if report is not None else ()
    points = mounts_of(volume)
    condition = health(points[-1])
    cause = request.cause
    if cause is Cause.PLANNED:
        cause = _BY_CONDITION.get(condition.condition, cause)
    dead = condition.condition in _DEAD
    findings = [] if condition.is_ok else [_told(condition.finding)]
    begun = time.monotonic()
    users = tuple(find_users(points))
    judged = tuple(judge(users))
    look_seconds = time.monotonic() - begun
    findings += obstacles(points)
    if frozen(settings.run_directory, volume.name) is not None:
        findings.append(_is_frozen(volume))
    findings += _about_users(users, judged, points)
    findings += _about_us(settings, points)
    new, refusal = None, None
    if request.url:
        new, refusal = _design(settings, request, points, others, dead)
    if refusal is not None:
        words = Finding(request.url, Verdict.BLOCKS, refusal.message, "", refusal.mend)
        findings.append(words)
    if new is not None:
        findings += new.findings
        if volume.mount.fstab:
            findings.append(_in_fstab(volume))
        findings += _about_tools(new.volume.mount.filesystem)
    older = bool(request.contents)
    if older:
        findings += databases_among(users)
    same_bytes = new is None or new.volume.mount.filesystem == volume.mount.filesystem
    if new is not None and (older or volume.is_adopted or not same_bytes):
        findings += about_inode_numbers(users, answers=not dead)
        if older or not dead:
            findings += _about_origin(request, points, new)
    if volume.mount.filesystem in MEMORY_TYPES:
        findings.append(_in_memory(volume))
    situation = Situation(
        volume=volume.name,
        kind=volume.kind,
        cause=cause,
        asked=request.strategy,
        same_bytes=same_bytes,
        source_given=bool(request.url or request.contents),
        older_contents=older,
        in_sync_legs=sum(leg.state is LegState.IN_SYNC for leg in legs),
        spares=sum(leg.state is LegState.SPARE for leg in legs),
        processes=len(users),
        handles=len(judged),
        mount_points=len(points),
        findings=tuple(findings),
        forced=request.forced,
        deadline_seconds=request.deadline_seconds,
        pause_budget_seconds=request.pause_budget_seconds,
        predicted_pause_seconds=pause_seconds(
            len(users), len(judged), len(points), look_seconds, gate=volume.kind != ADOPTED
        ),
        target=_target_words(request, new),
        path=volume.mount.path,
    )
    return Assessment(
        request=request,
        plan=make_plan(situation),
        points=points,
        users=users,
        judged=judged,
        new=new,
        look_seconds=look_seconds,
        dead=dead,
        broken=condition.condition in _BY_CONDITION,
        refusal=refusal,
        verdicts=_counted(users, judged),
    )


def _target_words(request: Request, new: NewStorage | None) -> str:
    if new is None:
        return ""
    words = f"{new.volume.mount.filesystem} on {new.url}"
    return f"{words} with the contents of {request.contents}" if request.contents else words


def _told(finding: Finding) -> Finding:
    """That a mount is broken is why we act, and keeps nobody from it."""
    return Finding(finding.subject, Verdict.LIMITED, finding.found, finding.meaning, finding.mend)


def _about_users(
    users: Sequence[User], judged: Sequence[JudgedHandle], points: Sequence[MountPoint]
) -> list[Finding]:
    names = {user.pid: f"{user.name} (process {user.pid})" for user in users}
    found = []
    for each in judged:
        if each.verdict in (HandleVerdict.BLOCKS, HandleVerdict.LOST):
            blocks = each.verdict is HandleVerdict.BLOCKS
            found.append(
                Finding(
                    names.get(each.handle.pid, str(each.handle.pid)),
                    Verdict.BLOCKS if blocks else Verdict.NEEDS_FORCE,
                    f"{each.handle.kind} {each.handle.path}: {each.reason}",
                    "It cannot be moved." if blocks else "It would be lost.",
                    "End this process, or let it close that.",
                )
            )
    protection = Protection(servers_below(points), ourselves())
    for user in users:
        reason = protection.reason(user.pid)
        if reason and reason != "has ended":
            found.append(
                Finding(
                    names[user.pid], Verdict.BLOCKS, f"uses the volume and {reason}",
                    "Stopping it would stop the volume itself, or the command.",
                    "Let it use another volume; run the command from a shell outside of it.",
                )
            )  # fmt: skip
    for handle in held_by_kernel(points):
        if handle.kind is not HandleKind.MOUNT:  # obstacles() has told of those
            found.append(
                Finding(
                    f"the kernel's {handle.kind}", Verdict.BLOCKS, handle.path,
                    "It keeps the file system busy, and no process can be stopped for it.",
                    "Let it go: losetup --detach, swapoff, umount.",
                )
            )  # fmt: skip
    return found


def _about_us(settings: Settings, points: Sequence[MountPoint]) -> list[Finding]:
    """Holdfast's own state must not lie on what is dismounted."""
    devices = {point.device for point in points}
    found = []
    for folder in (settings.state_directory, settings.run_directory):
        try:
            ask = partial(file_systems_below, str(folder))
            below = in_expendable_child(ask, _ANSWER_SECONDS, str(folder))
        except (HoldfastError, OSError) as error:
            found.append(Finding(str(folder), Verdict.BLOCKS, f"cannot be examined: {error}"))
            continue
        if not devices.isdisjoint(below):
            found.append(
                Finding(
                    "Holdfast's own state", Verdict.BLOCKS, f"{folder} lies on this volume",
                    "What is parked could not be found again.", "Move it with HOLDFAST_HOME.",
                )
            )  # fmt: skip
    return found


def _about_origin(request: Request, points: Sequence[MountPoint], new: NewStorage) -> list[Finding]:
    """What files lose on their way to the new file system."""
    if not request.contents:
        origin = origin_of_mount(points[-1], request.volume.mount.path)
        return about_the_copy(origin, new.volume.mount.filesystem)
    try:
        origin = origin_of_contents(request.contents)
    except (HoldfastError, OSError) as error:
        return [Finding(request.contents, Verdict.BLOCKS, f"cannot be examined: {error}")]
    return about_mounts_below(origin) + about_the_copy(origin, new.volume.mount.filesystem)


def _about_tools(filesystem: str) -> list[Finding]:
    return [
        Finding(tool, Verdict.BLOCKS, "is not installed", "", "holdfast doctor names its package.")
        for tool in kind_of(filesystem).tool_names[:1]
        if find_tool(tool) is None
    ]


def _in_memory(volume: Volume) -> Finding:
    return Finding(
        "contents in memory", Verdict.BLOCKS,
        f"{volume.mount.filesystem} keeps its files in memory, and loses them with the dismount",
        "", "Copy them to another file system by hand.",
    )  # fmt: skip


def _is_frozen(volume: Volume) -> Finding:
    return Finding(
        "frozen", Verdict.BLOCKS, f"the users of {volume.name} are frozen",
        "A frozen process cannot be moved: it must run a little.", f"holdfast thaw {volume.name}",
    )  # fmt: skip


def _in_fstab(volume: Volume) -> Finding:
    return Finding(
        "fstab", Verdict.LIMITED, f"it says: {volume.mount.fstab}",
        "After a restart of the host the old storage would be mounted.",
        "Take that line out: holdfast volume attach --wanted mounts the new one at boot.",
    )  # fmt: skip


def _design(
    settings: Settings,
    request: Request,
    points: Sequence[MountPoint],
    others: Sequence[Volume],
    dead: bool,
) -> tuple[NewStorage | None, HoldfastError | None]:
    volume = request.volume
    present = volume.mount.filesystem
    filesystem = request.filesystem or (present if present in KINDS_OF_FILE_SYSTEMS else "ext4")
    try:
        new = design(settings, volume, points, request.url, filesystem, others, request.size_bytes)
        if not dead and not request.contents:
            check_room(new, _used_bytes(volume.mount.path))
    except BadInput:
        raise
    except HoldfastError as error:
        return None, error
    return new, None


def _used_bytes(path: str) -> int:
    def ask() -> int:
        found = os.statvfs(path)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    return in_expendable_child(ask, _ANSWER_SECONDS, path)


def _counted(users: Sequence[User], judged: Sequence[JudgedHandle]) -> dict[int, dict[str, int]]:
    counts: dict[int, Counter[str]] = {user.pid: Counter() for user in users}
    for each in judged:
        counts.setdefault(each.handle.pid, Counter())[str(each.verdict)] += 1
    return {pid: dict(counter) for pid, counter in counts.items()}


def refuse(assessment: Assessment) -> None:
    """Raise what keeps it from being begun: the container's own error, else Blocked."""
    if not assessment.plan.refuses:
        return
    if assessment.refusal is not None:
        raise assessment.refusal
    raise Blocked(
        f"{assessment.plan.volume} was not touched: {assessment.plan.reason}",
        f"holdfast assess {assessment.plan.volume} shows every finding.",
    )
