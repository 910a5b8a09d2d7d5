"""The class that everything which asks something of Holdfast goes through.

Owns nothing but the way: each method checks rights, takes its turn on the volume where it changes
something, asks volumes or the gate, and keeps the catalog in step. Must never touch storage by
itself.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.adopted.adopt import adopt_volume, limits_of
from holdfast.applications.freezers.freezing import recover_freezes
from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.coordination.update_lock import forget as forget_lock
from holdfast.errors import AlreadyExists, HoldfastError, InUse
from holdfast.gate.members.superblock import container_bytes_needed
from holdfast.gate.outside.client import GateClient
from holdfast.model.finding import Finding
from holdfast.model.moment import ALWAYS, Timespan
from holdfast.model.receipt import Receipt
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.usage import Usage
from holdfast.model.volume import Volume, VolumeReport, check_name
from holdfast.service.found_volumes import enter_running, make_known, refuse_running
from holdfast.service.host import Host
from holdfast.service.plans import adoption, creation, deletion, enlargement
from holdfast.service.requests import MountRequest, NewVolume, check_socket_path
from holdfast.service.rights import need_root
from holdfast.service.settling import settle_gates
from holdfast.system.children.expendable import in_expendable_child
from holdfast.volumes.recover import record_ends
from holdfast.volumes.running import running_volumes

if TYPE_CHECKING:  # what changes something is loaded where it is done
    from holdfast.service.alerts import Alerts
    from holdfast.service.freezing import Freezes
    from holdfast.service.histories import Histories
    from holdfast.service.legs import Legs
    from holdfast.service.policies import Policies
    from holdfast.service.restorations import Restorations

LONGEST_HOLD_SECONDS = 600.0
"""Of an administrator who names no time, on a volume that fails at once when its storage goes."""

_RENEW_SECONDS = 60.0
"""Two takeovers, each of which may wait for storage as long as the hang time-out."""


class Holdfast:
    """Holdfast on this host. Use it as a context manager, or call `close`."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._host = Host(settings or Settings())

    @property
    def settings(self) -> Settings:
        """The settings of this host. Raises Untrusted when others may have made its places."""
        return self._host.settings

    @property
    def catalog(self) -> Catalog:
        """What is recorded of volumes, restorations and receipts."""
        return self._host.catalog

    @property
    def set_aside(self) -> tuple[Path, ...]:
        """Receipts of gates that could not be read, under the names they have now."""
        return self._host.set_aside

    @cached_property
    def legs(self) -> Legs:
        """The containers of gated volumes."""
        from holdfast.service.legs import Legs

        return Legs(self._host)

    @cached_property
    def histories(self) -> Histories:
        """Every write of gated volumes, kept for some time."""
        from holdfast.service.histories import Histories

        return Histories(self._host)

    @cached_property
    def freezes(self) -> Freezes:
        """Freezing and thawing the processes that use a volume."""
        from holdfast.service.freezing import Freezes

        return Freezes(self._host)

    @cached_property
    def restorations(self) -> Restorations:
        """Assess, migrate, restore, and whatever else replaces storage under its users."""
        from holdfast.service.restorations import Restorations

        return Restorations(self._host, self.legs)

    @cached_property
    def policies(self) -> Policies:
        """What may happen to volumes unattended."""
        from holdfast.service.policies import Policies

        return Policies(self._host, self.restorations, self.histories)

    @cached_property
    def alerts(self) -> Alerts:
        """Who is told when something is wrong."""
        from holdfast.service.alerts import Alerts

        return Alerts(self._host)

    def close(self) -> None:
        """Close the catalog. Idempotent."""
        self._host.close()

    def __enter__(self) -> Holdfast:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def plan_create(self, wanted: NewVolume) -> tuple[str, ...]:
        """What `create_volume` would do, after all its checks. Changes nothing."""
        from holdfast.volumes.checks import new_volume

        need_root()
        volume = wanted.as_volume()
        check_socket_path(self.settings, volume.name)
        others = self.catalog.volumes()
        if any(other.name == volume.name for other in others):
            words = f"there is a volume named {volume.name!r} already"
            raise AlreadyExists(words, "Choose another name.")
        refuse_running(self._host, volume.name)
        new_volume.check_values(volume)
        place = new_volume.check_mount_place(self.settings, volume, others)
        new_volume.check_containers(self.settings, volume, place.path, others)
        return creation(volume)

    def create_volume(self, wanted: NewVolume, reporter: Reporter = SILENT) -> VolumeReport:
        """Create a volume, attach and mount it; durable on return.

        The name is taken in the catalog first: killed anywhere, `delete_volume` cleans up. When a
        step fails, what was made is removed again. Blocks while the file system is made.
        """
        from holdfast.volumes.create import create_volume

        need_root()
        volume = wanted.as_volume()
        check_socket_path(self.settings, volume.name)
        with self._host.turn(volume.name, f"create {volume.name} on {', '.join(volume.leg_urls)}"):
            others = self.catalog.volumes()
            refuse_running(self._host, volume.name)
            self.catalog.add(volume)
            try:
                made = create_volume(self.settings, volume, others, reporter)
            except BaseException:
                self.catalog.remove(volume.name)
                raise
            self.catalog.update(replace(made, attached=True))
        return self.show_volume(volume.name)

    def thinness(self, name: str) -> list[str]:
        """Where the storage below a gated volume could not hold all that the volume promises."""
        from holdfast.volumes.checks.room import thinness

        volume = self.catalog.volume(name)
        urls = (*volume.leg_urls, *volume.spare_urls)
        return thinness(urls, container_bytes_needed(volume.size_bytes))

    def list_volumes(self, recent: dict[str, VolumeReport] | None = None) -> list[VolumeReport]:
        """Every volume as it is, by name; also one only its gate knows. As in `recent`, by id."""
        volumes = self.catalog.volumes()
        volumes += running_volumes(self.settings, {volume.name for volume in volumes})
        volumes.sort(key=lambda each: each.name)
        return [(recent or {}).get(each.id) or self._host.report(each) for each in volumes]

    def show_volume(self, name: str) -> VolumeReport:
        """One volume with its present state. Raises NoSuchVolume."""
        return self._host.show(name)

    def plan_adopt(self, name: str, path: str) -> tuple[str, ...]:
        """What `adopt_volume` would record, after all its checks, and the limits. No change."""
        need_root()
        volume = adopt_volume(self.settings, name, path, self.catalog.volumes())
        return adoption(volume, limits_of(volume))

    def adopt_volume(self, name: str, path: str) -> VolumeReport:
        """Manage a mount that is there already; durable on return, nothing else is changed. Raises
        NotMounted, CannotAdopt, OwnLeg, AlreadyExists."""
        need_root()
        with self._host.turn(name, f"adopt {path} as {name}"):
            self.catalog.add(adopt_volume(self.settings, name, path, self.catalog.volumes()))
        return self.show_volume(name)

    def limits(self, name: str) -> list[Finding]:
        """What will not be possible with an adopted volume, or only with a loss."""
        return limits_of(self.catalog.volume(name))

    def plan_resize(self, name: str, size_bytes: int) -> tuple[str, ...]:
        """What `resize_volume` would do. Changes nothing."""
        self.gate(name)
        return enlargement(self.catalog.volume(name), size_bytes)

    def resize_volume(
        self, name: str, size_bytes: int, reporter: Reporter = SILENT
    ) -> VolumeReport:
        """Enlarge legs, gate and file system of an attached volume in use; idempotent.

        Killed anywhere, the same call finishes. Raises NotAttached, TooSmall, InvalidSize.
        """
        from holdfast.volumes.resize import resize_volume

        with self._host.turn(name, f"resize {name} to {size_bytes} bytes"):
            self.gate(name)
            volume = self.catalog.volume(name)
            enlargement(volume, size_bytes)
            self.catalog.update(resize_volume(self.settings, volume, size_bytes, reporter))
        return self.show_volume(name)

    def attach_volume(
        self,
        name: str,
        leg_urls: tuple[str, ...] = (),
        force: bool = False,
        reporter: Reporter = SILENT,
        mount: MountRequest = MountRequest(),  # noqa: B008 - frozen
    ) -> VolumeReport:
        """Attach and mount a volume; idempotent. With `leg_urls` the superblocks say what it is.

        Where this host has recorded nothing of the volume, `mount` says where to mount it.
        `force` accepts a leg although one that is away may be newer. Raises NoSource otherwise.
        """
        from holdfast.adopted.attach import attach_adopted
        from holdfast.volumes.attach import attach_volume

        need_root()
        check_socket_path(self.settings, check_name(name))
        with self._host.turn(name, f"attach {name}"), self.histories.advising(name):
            make_known(self._host, name, leg_urls, mount)
            self.restorations.settle(name, reporter)
            volume = self.catalog.volume(name)
            if self.restorations.waiting(name):
                self.restorations.go_on(name, reporter)
            elif volume.is_adopted:
                mounted = attach_adopted(self.settings, volume, reporter)
                self.catalog.update(replace(mounted, attached=True))
            else:
                attached = attach_volume(self.settings, volume, force=force, reporter=reporter)
                self.catalog.update(replace(attached, attached=True))
        return self.show_volume(name)

    def wanted_volumes(self) -> list[str]:
        """Names of the volumes that were attached and not detached on purpose."""
        return [volume.name for volume in self.catalog.volumes() if volume.attached]

    def detach_volume(
        self, name: str, reporter: Reporter = SILENT, *, stays_wanted: bool = False
    ) -> VolumeReport:
        """Dismount a volume and stop its gate; idempotent. Blocks while dirty pages are written.

        `stays_wanted`: it is attached again at boot. Raises InUse, VolumeHeld.
        """
        from holdfast.adopted.detach import detach_adopted
        from holdfast.volumes.detach import detach_volume

        need_root()
        with self._host.turn(name, f"detach {name}"):
            self.restorations.settle(name, reporter)
            volume = self.catalog.volume(name)
            if volume.is_adopted:
                dismounted = detach_adopted(self.settings, volume, reporter)
                self.catalog.update(replace(dismounted, attached=stays_wanted))
                return self.show_volume(name)
            detach_volume(self.settings, volume, reporter)
            self.catalog.update(replace(volume, attached=stays_wanted))
            self.legs.note(name)
            self.ingest()
        return self.show_volume(name)

    def plan_delete(self, name: str, keep_images: bool = False) -> tuple[str, ...]:
        """What `delete_volume` would do. Changes nothing."""
        need_root()
        return deletion(self.catalog.volume(name), keep_images)

    def delete_volume(
        self, name: str, keep_images: bool = False, reporter: Reporter = SILENT
    ) -> list[str]:
        """Delete a volume and its data; durable on return. What could not be cleaned, in words.

        An adopted volume is forgotten: mount and data stay. Receipts stay. Raises InUse while
        processes use it. Killed anywhere, the same call finishes.
        """
        from holdfast.service.api_tokens import forget_volume
        from holdfast.volumes.delete import delete_volume
        from holdfast.volumes.detach import detach_volume

        need_root()
        with self._host.turn(name, f"delete {name}"):
            self.restorations.settle(name, reporter)
            if self.restorations.waiting(name):
                words = f"users of {name} are parked, and wait for it to be attached"
                raise InUse(words, f"holdfast volume attach {name}, then delete it.")
            left, settings = list[str](), self.settings
            if not self.catalog.volume(name).is_adopted:
                detach_volume(settings, self.catalog.volume(name), reporter, may_end=True)
                self.legs.note(name)
                self.ingest()
                volume = self.catalog.volume(name)
                left += delete_volume(settings, volume, keep_images=keep_images, reporter=reporter)
                for url in () if keep_images else (*volume.leg_urls, *volume.spare_urls):
                    with suppress(HoldfastError):
                        in_expendable_child(partial(forget_lock, url), doing=url)
            left += forget_volume(settings, name)
            self.catalog.remove(name)
        return left

    def hold(self, name: str, seconds: float | None, reason: str) -> VolumeReport:
        """Withhold the volume's requests, at most `seconds` (None: its hold time-out)."""
        usual = self.catalog.volume(name).hold_timeout_seconds or LONGEST_HOLD_SECONDS
        self.gate(name).hold(seconds or usual, reason)
        return self.show_volume(name)

    def release(self, name: str) -> VolumeReport:
        """Let withheld requests go on; idempotent. Never waits for another command."""
        self.gate(name).release()
        return self.show_volume(name)

    def restart_gate(self, name: str) -> VolumeReport:
        """Move the gate of a volume in use to the installed code; requests wait for it. Raises
        NotAttached, GateGone; MissingFuse where the kernel cannot send requests again;
        DeadlinePassed when the gate goes on with what it has."""
        from holdfast.gate.outside.renewing import renew
        from holdfast.service.doctor.kernel import check_takeover

        need_root()
        check_takeover("Detach the volume, attach it again.")
        with self._host.turn(name, f"restart the gate of {name}"):
            self.gate(name)
            renew(self.settings.gate_run_directory(name), _RENEW_SECONDS)
        return self.show_volume(name)

    def users(self, name: str, watch_seconds: float = 0.0) -> Usage:
        """Who keeps an attached volume busy, by what; how much they transfer in so many seconds.

        Changes nothing, and never waits for storage or another command. Raises NotAttached.
        """
        from holdfast.service.usage import usage_of

        need_root()
        return usage_of(self.catalog.volume(check_name(name)), watch_seconds)

    def receipts(
        self, volume: str | None = None, limit: int | None = 100, begun: Timespan = ALWAYS
    ) -> list[Receipt]:
        """The newest receipts first, also those that gates have just written."""
        self.ingest()
        return self.catalog.receipts(volume, limit, begun)

    def receipt(self, identifier: str) -> Receipt:
        """One receipt by id or unique beginning. Raises NoSuchReceipt."""
        self.ingest()
        return self.catalog.receipt(identifier)

    def status(self) -> list[VolumeReport]:
        """Every volume with its present state: what `status` shows."""
        record_ends(self.settings)
        return self.list_volumes()

    def recover(self) -> list[str]:
        """Finish or undo what was interrupted; what was done, in words. Idempotent."""
        need_root()
        done = [*recover_freezes(self.settings), *self.restorations.recover()]
        done += [*settle_gates(self._host), *enter_running(self._host)]
        done += self.histories.settle()
        self.ingest()
        return done

    def doctor(self) -> list[Finding]:
        """What this host can and cannot do. Works without rights and without a catalog."""
        from holdfast.service.doctor import examine

        volumes: list[Volume] = []
        with suppress(OSError, HoldfastError):  # an unreadable catalog keeps nobody from the rest
            if self._host.unjudged_settings.catalog_path.exists():
                volumes = self.catalog.volumes()
        return examine(self._host.unjudged_settings, volumes)

    def gate(self, name: str) -> GateClient:
        """The gate of an attached volume. Raises NoSuchVolume, NotAttached, GateGone, HasNoGate."""
        return self._host.gate(name)

    def ingest(self) -> None:
        """Take in the receipts that gates and watchdogs have left. Idempotent."""
        self._host.ingest()
