"""Freezing and thawing the processes that use a volume, from its catalog entry.

Brings together what the mount table, the list of users and the freezers say. Must never freeze by
itself: the watchdog does.
"""

from __future__ import annotations

from contextlib import suppress

from holdfast.applications.freezers import FREEZERS
from holdfast.applications.freezers.freezing import Frozen, begin, end, frozen
from holdfast.applications.freezers.policy import FreezePlan, plan_freeze
from holdfast.applications.freezers.protocol import Occasion
from holdfast.applications.freezers.servers import Protection, ourselves, servers_below
from holdfast.applications.users import find_users
from holdfast.config import Settings
from holdfast.containers import path_of
from holdfast.errors import (
    AlreadyFrozen,
    InvalidOption,
    NoSuchReceipt,
    NotFrozen,
)
from holdfast.late_dataclass import dataclass
from holdfast.model.mountpoint import MountPoint
from holdfast.model.receipt import Receipt
from holdfast.model.volume import Volume, check_name
from holdfast.mountpoints.capture import mounts_of
from holdfast.service.host import Host
from holdfast.service.rights import need_root

FREEZE_SECONDS = 60.0
"""Of an administrator who names no time: half of the kernel's hung-task watchdog (120 s)."""

LONGEST_SECONDS = 24 * 3600.0
"""Nobody means to freeze an application for longer than a day."""


@dataclass(frozen=True)
class Prepared:
    """A freeze that has been checked and not begun."""

    plan: FreezePlan
    mounts: tuple[MountPoint, ...]
    protection: Protection


def prepare_freeze(settings: Settings, volume: Volume, wanted: str | None = None) -> Prepared:
    """Check everything and decide whom to freeze, and how; changes nothing.

    Raises NotAttached, AlreadyFrozen, CannotFreeze, InvalidOption.
    """
    if wanted is not None and wanted not in FREEZERS:
        raise InvalidOption(f"{wanted!r} is no way to freeze", f"Use {', '.join(FREEZERS)}.")
    if frozen(settings.run_directory, volume.name) is not None:
        raise AlreadyFrozen(f"{volume.name} is frozen already", f"holdfast thaw {volume.name}")
    mounts = mounts_of(volume)
    containers = [path_of(url) for url in (*volume.leg_urls, *volume.spare_urls)]
    protection = Protection(servers_below(mounts, containers), ourselves())
    gate = settings.gate_run_directory(volume.name) if volume.kind == "gated" else None
    occasion = Occasion("0" * 32, volume.name, 0, gate_run_directory=gate)
    freezers = {name: make(occasion) for name, make in FREEZERS.items()}
    # A suspect is frozen as a newcomer, as soon as its maps say that it uses the volume.
    found = find_users(mounts, ourselves=True)
    users = [user for user in found if not (user.is_suspect or user.only_talks)]
    plan = plan_freeze(volume.name, volume.kind, users, protection, freezers, wanted)
    return Prepared(plan, mounts, protection)


def freeze_volume(
    settings: Settings,
    volume: Volume,
    prepared: Prepared,
    seconds: float | None = None,
    cause: str = "asked for by the administrator",
) -> Frozen:
    """Freeze what was prepared, for so long at most; see freezers.freezing.begin."""
    seconds = FREEZE_SECONDS if seconds is None else seconds
    if not 0 < seconds <= LONGEST_SECONDS:
        raise InvalidOption(
            f"a freeze cannot last {seconds:g} s", "Between 1ms and 24h; see --for."
        )
    gate = settings.gate_run_directory(volume.name) if volume.kind == "gated" else None
    return begin(
        (settings.state_directory, settings.run_directory),
        prepared.plan,
        prepared.mounts,
        prepared.protection,
        seconds,
        gate_run_directory=gate,
        cause=cause,
    )


class Freezes:
    """Freezing and thawing on this host. Reached through `Holdfast.freezes`."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def plan(self, name: str, by: str | None = None) -> FreezePlan:
        """Whom `freeze` would freeze, and how. Changes nothing. Raises what `freeze` raises."""
        need_root()
        volume = self._host.volume(name)
        return prepare_freeze(self._host.settings, volume, by).plan

    def freeze(self, name: str, seconds: float | None = None, by: str | None = None) -> Frozen:
        """Freeze the processes that use a volume, for `seconds` (None: 60) at most.

        They stand still on return, and continue at the deadline whatever happens. Raises
        NotAttached, AlreadyFrozen, CannotFreeze: then nobody is frozen.
        """
        need_root()
        volume = self._host.volume(name)
        with self._host.turn(name, f"freeze the processes of {name}"):
            prepared = prepare_freeze(self._host.settings, volume, by)
            return freeze_volume(self._host.settings, volume, prepared, seconds)

    def thaw(self, name: str) -> Receipt | None:
        """Continue everybody who is frozen for a volume; the receipt, when it could be written.

        Never waits for another command. Raises NotFrozen.
        """
        need_root()
        record = frozen(self._host.settings.run_directory, check_name(name))
        if record is None:
            self._host.catalog.volume(name)
            raise NotFrozen(f"{name} is not frozen", f"holdfast freeze {name}")
        receipt = end(self._host.settings.run_directory, name)
        self._host.ingest()
        with suppress(NoSuchReceipt):
            return self._host.catalog.receipt(record.id)
        return receipt
