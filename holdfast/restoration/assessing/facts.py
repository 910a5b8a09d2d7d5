"""The facts of an assessment: what is asked for, and everything that was found out for it.

Reads /proc, /sys and mount tables; asks storage in expendable children only. Nothing is stopped,
made or changed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import field

from holdfast.applications.asked import goes_on
from holdfast.applications.rebind.scan import judge
from holdfast.applications.users import find_users
from holdfast.config import Settings
from holdfast.containers import is_container_url
from holdfast.errors import BadInput, HoldfastError
from holdfast.late_dataclass import dataclass
from holdfast.model.handle import JudgedHandle, User
from holdfast.model.mountpoint import MountPoint
from holdfast.model.plan import Cause, Strategy
from holdfast.model.source import NOTHING_KNOWN, Source
from holdfast.model.volume import ADOPTED, GATED, JournalMode, Volume
from holdfast.mountpoints.capture import mounts_of
from holdfast.mountpoints.covering import can_be_covered
from holdfast.mountpoints.health import CAUSES, Condition, Health, health
from holdfast.restoration.storage.carried import Carried, what_is_carried
from holdfast.restoration.storage.in_place import design_gate_in_place, design_plain_in_place
from holdfast.restoration.storage.origin import (
    check_as_known,
    check_at_rest,
    check_mountable,
    check_there,
)
from holdfast.restoration.storage.other_kind import with_gate, without_gate
from holdfast.restoration.storage.target import NewStorage, check_fits, design
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.storage.filesystem import KINDS as KINDS_OF_FILE_SYSTEMS

ANSWER_SECONDS = 5.0
_MOUNT_SECONDS = 60.0
"""As mountpoints.private_mount.REMOUNT_SECONDS."""
_DEAD = frozenset({Condition.DEAD, Condition.HUNG})


@dataclass(frozen=True)
class CheckedRequest:
    """What is asked for. Times in seconds."""

    volume: Volume
    strategy: Strategy | None = None
    cause: Cause = Cause.PLANNED
    url: str = ""
    """The container that is to take the place of the present storage."""
    more_urls: tuple[str, ...] = ()
    """Further legs of it, of a gated volume."""
    spare_urls: tuple[str, ...] = ()
    """Its spares; none: those that it has."""
    legs_in_sync: int | None = None
    """How many of a gated volume's legs are; None: all."""
    is_filled: bool = False
    """It is a clone that is in use while it is filled, and reads from a copy."""
    filesystem: str = ""
    """Its type; empty: as now."""
    size_bytes: int = 0
    in_place: bool = False
    """Whether the contents stay where they are: `url` is the present storage, or one leg of it."""
    kind: str = ""
    """gated | adopted, which it is to become; empty: it stays what it is."""
    journal: JournalMode = JournalMode.UNFLUSHED
    hold_timeout_seconds: float = 600.0
    hang_timeout_seconds: float = 5.0
    """Of the gate that it gets."""
    contents: str = ""
    """Directory or container that the contents come from; empty: the volume itself."""
    source: Source = NOTHING_KNOWN
    """What is known of them beforehand."""
    deadline_seconds: float = 60.0
    pause_budget_seconds: float = 30.0
    forced: bool = False
    saves_writes: bool = False
    """Whether what is only in memory is kept where the storage has failed."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Every container that was named."""
        return (self.url, *self.more_urls) if self.url else ()


@dataclass(frozen=True)
class Facts:
    """What was found out, before it is judged."""

    request: CheckedRequest
    points: tuple[MountPoint, ...]
    health: Health
    users: tuple[User, ...]
    suspects: tuple[User, ...]
    """Who may use the volume by maps that could not be read: nobody waits for them."""
    judged: tuple[JudgedHandle, ...]
    look_seconds: float
    """How long it took to find the users and judge their handles."""
    new: NewStorage | None
    refusal: HoldfastError | None
    """Why a container that was named cannot be taken: as new storage, or for its contents."""
    carried: Carried = field(default_factory=Carried)
    """What goes through our own state."""
    asked: tuple[User, ...] = ()
    """Of the users those who are asked for permission, and are not stopped."""

    @property
    def is_dead(self) -> bool:
        """Whether nothing can be read from the mount: its server is gone, or hangs."""
        return self.health.condition in _DEAD

    @property
    def is_broken(self) -> bool:
        """Whether nothing can be written to it: dead, or turned read-only."""
        return self.health.condition in CAUSES

    @property
    def cause(self) -> Cause:
        """Why something is to be done: as asked, else what is wrong with the mount."""
        cause = self.request.cause
        return CAUSES.get(self.health.condition, cause) if cause is Cause.PLANNED else cause

    @property
    def keeps_bytes(self) -> bool:
        """Whether the blocks below the file system can stay what they are."""
        present, new = self.request.volume, self.new
        if new is None:
            return True
        is_same_type = new.volume.mount.filesystem == present.mount.filesystem
        return is_same_type and new.volume.kind == present.kind

    @property
    def has_gate(self) -> bool:
        """Whether a gate is below it now or afterwards."""
        has_new = self.new is not None and not self.new.volume.is_adopted
        return has_new or not self.request.volume.is_adopted

    @property
    def copies_files(self) -> bool:
        """Whether files are copied to a file system that is made for them."""
        adopted = self.request.volume.is_adopted
        has_other_contents = bool(self.request.contents)
        if self.new is None or self.request.in_place:
            return False
        return has_other_contents or adopted or not self.keeps_bytes


def find_facts(settings: Settings, request: CheckedRequest, others: Sequence[Volume]) -> Facts:
    """Find out. Blocks some seconds where storage hangs.

    Raises NotAttached when the volume is not mounted, BadInput for an invalid request.
    """
    points = mounts_of(request.volume)
    condition = health(points[-1])
    begun = time.monotonic()
    found = find_users(points)
    users = tuple(user for user in found if not user.is_suspect)
    suspects = tuple(user for user in found if user.is_suspect)
    may_go_on = condition.condition not in CAUSES and request.strategy is not Strategy.DETACH
    asked_go_on = may_go_on and can_be_covered(points)
    asked = tuple(user for user in users if asked_go_on and goes_on(user))
    judged = tuple(judge(users, asked_go_on=asked_go_on))
    look_seconds = time.monotonic() - begun
    new, refusal = None, None
    if request.url:
        dead = condition.condition in _DEAD
        new, refusal = _design(settings, request, points, others, dead)
    own = request.volume.adoption.source if request.volume.adoption else ""
    if refusal is None and is_container_url(request.contents) and request.contents != own:
        refusal = _refusal_of_contents(request.contents, request.source)
    carried = Carried() if condition.condition in _DEAD else what_is_carried(users)
    return Facts(
        request, points, condition, users, suspects, judged, look_seconds, new, refusal, carried,
        asked,
    )  # fmt: skip


def _design(
    settings: Settings,
    request: CheckedRequest,
    points: Sequence[MountPoint],
    others: Sequence[Volume],
    dead: bool,
) -> tuple[NewStorage | None, HoldfastError | None]:
    volume = request.volume
    present = volume.mount.filesystem
    filesystem = request.filesystem or (present if present in KINDS_OF_FILE_SYSTEMS else "ext4")
    shape = _shape(request, points)
    try:
        if request.in_place:
            assert shape is not None
            return _design_in_place(settings, request, shape, points, others), None
        new = design(
            settings,
            volume,
            points,
            request.url,
            filesystem,
            others,
            request.size_bytes,
            more_urls=request.more_urls,
            spare_urls=request.spare_urls,
            shape=shape,
        )
        if not dead and not request.contents:
            check_fits(new, _used_bytes(volume.mount.path))
    except BadInput:
        raise
    except HoldfastError as error:
        return None, error
    return new, None


def _design_in_place(
    settings: Settings,
    request: CheckedRequest,
    shape: Volume,
    points: Sequence[MountPoint],
    others: Sequence[Volume],
) -> NewStorage:
    volume = request.volume
    if request.kind == ADOPTED:
        return design_plain_in_place(volume, shape, points, request.url)
    more, spares = request.more_urls, request.spare_urls
    return design_gate_in_place(settings, volume, shape, points, others, more, spares)


def _shape(request: CheckedRequest, points: Sequence[MountPoint]) -> Volume | None:
    """The volume as the kind that it is to become; None: it stays what it is."""
    if request.kind == GATED:
        times = (request.hold_timeout_seconds, request.hang_timeout_seconds)
        return with_gate(request.volume, points, request.journal, *times)
    return without_gate(request.volume, points) if request.kind == ADOPTED else None


def _refusal_of_contents(contents: str, known: Source) -> HoldfastError | None:
    """Why these contents cannot be taken; also when their storage hangs."""
    try:
        check_as_known(contents, known)
        if not known.is_to_come:
            in_expendable_child(lambda: check_there(contents), ANSWER_SECONDS, contents)
        in_expendable_child(lambda: check_at_rest(contents), ANSWER_SECONDS, contents)
        if not known.is_to_come:
            in_expendable_child(lambda: check_mountable(contents), _MOUNT_SECONDS, contents)
    except BadInput:
        raise
    except HoldfastError as error:
        return error
    return None


def _used_bytes(path: str) -> int:
    def ask() -> int:
        found = os.statvfs(path)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    return in_expendable_child(ask, ANSWER_SECONDS, path)
