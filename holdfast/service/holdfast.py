"""The class that everything which asks something of Holdfast goes through.

Owns nothing but the way: each method checks rights, takes its turn on the volume where it changes
something, asks volumes or the gate, and keeps the catalog in step. Must never touch storage by
itself.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType

from holdfast.applications.freezers.freezing import (
    Frozen,
    end,
    frozen,
    recover_freezes,
    spool_of,
)
from holdfast.applications.freezers.policy import FreezePlan
from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.errors import (
    AlreadyExists,
    GateGone,
    HasNoGate,
    HoldfastError,
    InvalidOption,
    MissingRights,
    NoSuchReceipt,
    NoSuchVolume,
    NotAttached,
    NotFrozen,
)
from holdfast.gate.client import GateClient
from holdfast.gate.launch import gate_is_running
from holdfast.model.container import parse_container_url
from holdfast.model.finding import Finding
from holdfast.model.receipt import Receipt
from holdfast.model.usage import Usage
from holdfast.model.volume import LegState, Volume, VolumeReport, check_name
from holdfast.service.doctor import examine
from holdfast.service.following import Percentage, wait_until_in_sync
from holdfast.service.freezing import freeze_volume, prepare_freeze
from holdfast.service.plans import adoption, creation, deletion, enlargement, find_leg
from holdfast.service.restorations import Restorations
from holdfast.service.turn import turn
from holdfast.service.using import usage_of
from holdfast.service.wishes import NewVolume, check_socket_path
from holdfast.volumes.adopt import adopt_volume, limits_of
from holdfast.volumes.adopted import attach_adopted, detach_adopted, report_adopted
from holdfast.volumes.attach import attach_volume, rebuild_volume
from holdfast.volumes.chain import check_not_own_leg
from holdfast.volumes.checks import check_containers, check_mount_place, check_values
from holdfast.volumes.create import create_volume
from holdfast.volumes.delete import delete_volume
from holdfast.volumes.detach import detach_volume
from holdfast.volumes.progress import Progress, silent
from holdfast.volumes.recover import recover
from holdfast.volumes.report import report_volume
from holdfast.volumes.resize import resize_volume

DRILLS = ("leg-eio", "leg-hang", "leg-gone", "worker-kill")

LONGEST_HOLD_SECONDS = 600.0
"""Of an administrator who names no time, on a volume that fails at once when its storage goes."""


class Holdfast:
    """Holdfast on this host. Use it as a context manager, or call `close`."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.set_aside: tuple[Path, ...] = ()
        """Receipts of gates that could not be read, under the names they have now."""

    @cached_property
    def catalog(self) -> Catalog:
        """Opened when it is needed for the first time."""
        return Catalog(self.settings.catalog_path)

    @cached_property
    def restorations(self) -> Restorations:
        """Assess, migrate, restore, and whatever else replaces storage under its users."""
        return Restorations(self)

    def close(self) -> None:
        """Close the catalog. Idempotent."""
        if "catalog" in self.__dict__:
            self.catalog.close()

    def __enter__(self) -> Holdfast:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Volumes

    def plan_create(self, wanted: NewVolume) -> tuple[str, ...]:
        """What `create_volume` would do, after all its checks. Changes nothing."""
        self._need_root()
        volume = wanted.as_volume()
        check_socket_path(self.settings, volume.name)
        others = self.catalog.volumes()
        if any(other.name == volume.name for other in others):
            raise AlreadyExists(
                f"there is a volume named {volume.name!r} already", "Choose another name."
            )
        check_values(volume)
        place = check_mount_place(self.settings, volume, others)
        check_containers(self.settings, volume, place.path, others)
        return creation(volume)

    def create_volume(self, wanted: NewVolume, progress: Progress | None = None) -> VolumeReport:
        """Create a volume, attach and mount it; durable on return.

        The name is taken in the catalog first: killed anywhere, `delete_volume` cleans up. When a
        step fails, what was made is removed again. Blocks while the file system is made.
        """
        self._need_root()
        volume = wanted.as_volume()
        check_socket_path(self.settings, volume.name)
        with turn(self.settings, volume.name):
            others = self.catalog.volumes()
            self.catalog.add(volume)
            try:
                made = create_volume(self.settings, volume, others, progress)
            except BaseException:
                self.catalog.remove(volume.name)
                raise
            self.catalog.update(replace(made, attached=True))
        return self.show_volume(volume.name)

    def list_volumes(self) -> list[VolumeReport]:
        """Every volume in the catalog with its present state, by name."""
        return [self._report(volume) for volume in self.catalog.volumes()]

    def show_volume(self, name: str) -> VolumeReport:
        """One volume with its present state. Raises NoSuchVolume."""
        return self._report(self.catalog.volume(name))

    def plan_adopt(self, name: str, path: str) -> tuple[str, ...]:
        """What `adopt_volume` would record, after all its checks, and the limits. No change."""
        self._need_root()
        volume = adopt_volume(self.settings, name, path, self.catalog.volumes())
        return adoption(volume, limits_of(volume))

    def adopt_volume(self, name: str, path: str) -> VolumeReport:
        """Manage a mount that is there already; durable on return, nothing else is changed.

        Raises NotMounted, CannotAdopt, OwnLeg, AlreadyExists.
        """
        self._need_root()
        with turn(self.settings, check_name(name)):
            self.catalog.add(adopt_volume(self.settings, name, path, self.catalog.volumes()))
        return self.show_volume(name)

    def limits(self, name: str) -> list[Finding]:
        """What will not be possible with an adopted volume, or only with a loss."""
        return limits_of(self.catalog.volume(name))

    def plan_resize(self, name: str, size_bytes: int) -> tuple[str, ...]:
        """What `resize_volume` would do. Changes nothing."""
        self._gate(name)
        return enlargement(self.catalog.volume(name), size_bytes)

    def resize_volume(
        self, name: str, size_bytes: int, progress: Progress | None = None
    ) -> VolumeReport:
        """Enlarge legs, gate and file system of an attached volume in use; idempotent.

        Killed anywhere, the same call finishes. Raises NotAttached, TooSmall, InvalidSize.
        """
        with turn(self.settings, name):
            self._gate(name)
            volume = self.catalog.volume(name)
            enlargement(volume, size_bytes)
            self.catalog.update(resize_volume(self.settings, volume, size_bytes, progress))
        return self.show_volume(name)

    def attach_volume(
        self,
        name: str,
        leg_urls: tuple[str, ...] = (),
        force: bool = False,
        progress: Progress | None = None,
    ) -> VolumeReport:
        """Attach and mount a volume; idempotent. With `leg_urls` the superblocks say what it is.

        `force` accepts a leg although one that is away may be newer. Raises NoSource otherwise.
        """
        self._need_root()
        check_socket_path(self.settings, check_name(name))
        with turn(self.settings, name):
            if leg_urls:
                self._refuse_adopted(name)
            if leg_urls and not gate_is_running(self.settings.gate_run_directory(name)):
                urls = tuple(str(parse_container_url(url)) for url in leg_urls)
                self._enter(rebuild_volume(self.settings, name, urls))
            volume = self.catalog.volume(name)
            if self.restorations.waiting(name):
                self.restorations.go_on(name, progress or silent)
                return self.show_volume(name)
            if volume.is_adopted:
                mounted = attach_adopted(self.settings, volume, progress)
                self.catalog.update(replace(mounted, attached=True))
                return self.show_volume(name)
            attached = attach_volume(self.settings, volume, force=force, progress=progress)
            self.catalog.update(replace(attached, attached=True))
        return self.show_volume(name)

    def wanted_volumes(self) -> list[str]:
        """Names of the volumes that were attached and not detached on purpose."""
        return [volume.name for volume in self.catalog.volumes() if volume.attached]

    def detach_volume(self, name: str, progress: Progress | None = None) -> VolumeReport:
        """Dismount a volume and stop its gate; idempotent. Blocks while dirty pages are written.

        Raises InUse when processes use it, VolumeHeld when its requests are withheld.
        """
        self._need_root()
        with turn(self.settings, check_name(name)):
            volume = self.catalog.volume(name)
            if volume.is_adopted:
                dismounted = detach_adopted(self.settings, volume, progress)
                self.catalog.update(replace(dismounted, attached=False))
                return self.show_volume(name)
            detach_volume(self.settings, volume, progress)
            self.catalog.update(replace(volume, attached=False))
            self._note_legs(name)
            self._ingest()
        return self.show_volume(name)

    def plan_delete(self, name: str, keep_images: bool = False) -> tuple[str, ...]:
        """What `delete_volume` would do. Changes nothing."""
        self._need_root()
        return deletion(self.catalog.volume(name), keep_images)

    def delete_volume(
        self, name: str, keep_images: bool = False, progress: Progress | None = None
    ) -> list[str]:
        """Delete a volume and its data; durable on return. What could not be cleaned, in words.

        An adopted volume is forgotten: mount and data stay. Receipts stay. Raises InUse while
        processes use it. Killed anywhere, the same call finishes.
        """
        self._need_root()
        with turn(self.settings, check_name(name)):
            if self.catalog.volume(name).is_adopted:
                self.catalog.remove(name)
                return []
            detach_volume(self.settings, self.catalog.volume(name), progress)
            self._note_legs(name)
            self._ingest()
            volume = self.catalog.volume(name)
            left = delete_volume(self.settings, volume, keep_images=keep_images, progress=progress)
            self.catalog.remove(name)
        return left

    def hold(self, name: str, seconds: float | None, reason: str) -> VolumeReport:
        """Withhold the volume's requests, at most `seconds` (None: its hold time-out)."""
        gate = self._gate(name)
        deadline = self.catalog.volume(name).hold_timeout_seconds or LONGEST_HOLD_SECONDS
        gate.hold(seconds or deadline, reason)
        return self.show_volume(name)

    def release(self, name: str) -> VolumeReport:
        """Let withheld requests go on; idempotent. Never waits for another command."""
        self._gate(name).release()
        return self.show_volume(name)

    # Freezing

    def plan_freeze(self, name: str, by: str | None = None) -> FreezePlan:
        """Whom `freeze` would freeze, and how. Changes nothing. Raises what `freeze` raises."""
        self._need_root()
        volume = self.catalog.volume(check_name(name))
        return prepare_freeze(self.settings, volume, by).plan

    def freeze(self, name: str, seconds: float | None = None, by: str | None = None) -> Frozen:
        """Freeze the processes that use a volume, for `seconds` (None: 60) at most.

        They stand still on return, and continue at the deadline whatever happens. Raises
        NotAttached, AlreadyFrozen, CannotFreeze: then nobody is frozen.
        """
        self._need_root()
        volume = self.catalog.volume(check_name(name))
        with turn(self.settings, name):
            prepared = prepare_freeze(self.settings, volume, by)
            return freeze_volume(self.settings, volume, prepared, seconds)

    def thaw(self, name: str) -> Receipt | None:
        """Continue everybody who is frozen for a volume; the receipt, when it could be written.

        Never waits for another command. Raises NotFrozen.
        """
        self._need_root()
        record = frozen(self.settings.run_directory, check_name(name))
        if record is None:
            self.catalog.volume(name)
            raise NotFrozen(f"{name} is not frozen", f"holdfast freeze {name}")
        receipt = end(self.settings.run_directory, name)
        self._ingest()
        with suppress(NoSuchReceipt):
            return self.catalog.receipt(record.id)
        return receipt

    # Legs

    def plan_add_leg(self, name: str, url: str, spare: bool = False) -> str:
        """What `add_leg` would do, in words. Changes nothing. Raises OwnLeg."""
        self._gate(name)
        url = self._leg_url(name, url)
        if spare:
            return f"keep {url} as a spare of {name}"
        return f"add {url} to {name} and bring it up to date"

    def add_leg(
        self,
        name: str,
        url: str,
        spare: bool = False,
        wait: bool = True,
        percentage: Percentage | None = None,
    ) -> VolumeReport:
        """Add a container; durable on return, in sync on return when `wait` and not a spare."""
        with turn(self.settings, name):
            gate = self._gate(name)
            url = self._leg_url(name, url)
            gate.add_leg(url, spare=spare)
            self._note_legs(name)
        if wait and not spare:
            wait_until_in_sync(lambda: self.show_volume(name), url, percentage)
        return self.show_volume(name)

    def plan_remove_leg(self, name: str, leg: str) -> str:
        """What `remove_leg` would do, in words. Changes nothing. Raises NoSuchLeg."""
        self._gate(name)
        found = find_leg(self.show_volume(name), leg)
        what = "the spare" if found.state is LegState.SPARE else f"leg {found.number}"
        return f"remove {what} ({found.url}) from {name}"

    def remove_leg(self, name: str, leg: str) -> VolumeReport:
        """Remove a leg or spare; durable on return. Raises LastLeg when it holds the only data."""
        with turn(self.settings, name):
            self._gate(name).remove_leg(self._gate_word(name, leg))
            self._note_legs(name)
        return self.show_volume(name)

    def plan_replace_leg(self, name: str, leg: str, url: str) -> str:
        """What `replace_leg` would do, in words. Changes nothing. Raises NoSuchLeg, OwnLeg."""
        self._gate(name)
        found = find_leg(self.show_volume(name), leg)
        url = self._leg_url(name, url)
        return f"bring {url} up to date, then remove leg {found.number} ({found.url}) from {name}"

    def replace_leg(
        self,
        name: str,
        leg: str,
        url: str,
        wait: bool = True,
        percentage: Percentage | None = None,
    ) -> VolumeReport:
        """Replace a leg by another container, which is in sync on return when `wait`.

        The old leg serves until then; when the new one fails before, the old one stays.
        """
        with turn(self.settings, name):
            gate = self._gate(name)
            url = self._leg_url(name, url)
            gate.replace_leg(self._gate_word(name, leg), url)
            self._note_legs(name)
        if wait:
            wait_until_in_sync(lambda: self.show_volume(name), url, percentage)
            with turn(self.settings, name):
                self._note_legs(name)
        return self.show_volume(name)

    def drill(
        self, name: str, fault: str, seconds: float = 10.0, leg: str | None = None
    ) -> VolumeReport:
        """Rehearse a fault on an attached volume. Returns when it is in place, not when it ends.

        `leg` is the one it happens to; None: the first that is in sync.
        """
        if fault not in DRILLS:
            raise InvalidOption(f"{fault!r} is no drill", f"Use {', '.join(DRILLS)}.")
        gate = self._gate(name)
        if fault == "worker-kill":
            if leg is not None:
                raise InvalidOption("worker-kill concerns no leg", "Leave out --leg.")
            _kill(gate.show()["worker_pid"])
        else:
            legs = self.show_volume(name).legs
            first = next((known.id for known in legs if known.state is LegState.IN_SYNC), "1")
            gate.fault(fault, self._gate_word(name, leg or first), seconds)
        return self.show_volume(name)

    # Looking back, looking around

    def users(self, name: str, watch_seconds: float = 0.0) -> Usage:
        """Who keeps an attached volume busy, by what; how much they transfer in so many seconds.

        Changes nothing, and never waits for storage or another command. Raises NotAttached.
        """
        self._need_root()
        return usage_of(self.catalog.volume(check_name(name)), watch_seconds)

    def receipts(self, volume: str | None = None, limit: int | None = 100) -> list[Receipt]:
        """The newest receipts first, also those that gates have just written."""
        self._ingest()
        return self.catalog.receipts(volume, limit)

    def receipt(self, identifier: str) -> Receipt:
        """One receipt by id or unique beginning. Raises NoSuchReceipt."""
        self._ingest()
        return self.catalog.receipt(identifier)

    def status(self) -> list[VolumeReport]:
        """Every volume with its present state: what `status` shows."""
        return self.list_volumes()

    def recover(self) -> list[str]:
        """Finish or undo what was interrupted; what was done, in words. Idempotent."""
        self._need_root()
        done = recover_freezes(self.settings)
        done += self.restorations.recover()
        done += recover(self.settings)
        self._ingest()
        return done

    def doctor(self) -> list[Finding]:
        """What this host can and cannot do. Works without rights and without a catalog."""
        volumes: list[Volume] = []
        try:
            if self.settings.catalog_path.exists():
                volumes = self.catalog.volumes()
        except (OSError, HoldfastError):
            volumes = []  # an unreadable catalog is no reason to say nothing about the host
        return examine(self.settings, volumes)

    # How it is done

    def _report(self, volume: Volume) -> VolumeReport:
        report = report_adopted if volume.is_adopted else report_volume
        return report(self.settings, volume)

    def _refuse_adopted(self, name: str) -> None:
        """Raise HasNoGate for an adopted volume; others, also unknown ones, pass."""
        with suppress(NoSuchVolume):
            if self.catalog.volume(name).is_adopted:
                raise HasNoGate(
                    f"{name} is an adopted volume: it has no gate and no legs",
                    f"holdfast migrate {name} URL moves it to a container.",
                )

    def _enter(self, found: Volume) -> None:
        """Put a volume that was found from its superblocks into the catalog."""
        try:
            known = self.catalog.volume(found.name)
        except NoSuchVolume:
            self.catalog.add(found)
            return
        if known.id != found.id:
            raise AlreadyExists(
                f"there is another volume named {found.name!r} already",
                "Delete that one, or attach the legs on another host.",
            )
        self.catalog.update(found)

    def _gate(self, name: str) -> GateClient:
        """The gate of an attached volume. Raises NoSuchVolume, NotAttached, GateGone."""
        self._need_root()
        volume = self.catalog.volume(check_name(name))
        self._refuse_adopted(name)
        run_directory = self.settings.gate_run_directory(name)
        if gate_is_running(run_directory):
            return GateClient(run_directory)
        if not volume.attached:
            raise NotAttached(f"{name} is detached", f"holdfast volume attach {name}")
        raise GateGone(
            f"the gate of {name} does not run",
            f"holdfast recover, then holdfast volume attach {name}.",
        )

    def _leg_url(self, name: str, url: str) -> str:
        """The normalised URL of a container that does not stand on the volume itself."""
        normal = str(parse_container_url(url))
        check_not_own_leg(self.settings, name, self.catalog.volume(name).mount.path, normal)
        return normal

    def _gate_word(self, name: str, leg: str) -> str:
        """How the gate names the leg that a person named."""
        found = find_leg(self.show_volume(name), leg)
        return found.url if found.state is LegState.SPARE else str(found.number)

    def _note_legs(self, name: str) -> None:
        """Keep in the catalog which containers belong to the volume now."""
        legs = self.show_volume(name).legs
        volume = replace(
            self.catalog.volume(name),
            leg_urls=tuple(leg.url for leg in legs if leg.state is not LegState.SPARE),
            spare_urls=tuple(leg.url for leg in legs if leg.state is LegState.SPARE),
        )
        self.catalog.update(volume)

    def _ingest(self) -> None:
        spools = sorted((self.settings.state_directory / "gates").glob("*/spool"))
        for spool in (*spools, spool_of(self.settings.state_directory)):
            self.set_aside += self.catalog.ingest(spool).unreadable

    @staticmethod
    def _need_root() -> None:
        if os.geteuid() != 0:
            raise MissingRights(
                "mounts, loop devices and gates belong to root", "Run the command with sudo."
            )


def _kill(pid: int) -> None:
    """Kill a process as the out-of-memory killer would; nothing when it has just ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
