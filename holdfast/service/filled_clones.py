"""Clones that are in use at once, and filled in the background until they need nothing else.

Reached through `Holdfast.histories.clones`. A clone of that kind is a gated volume whose first leg
is a past view (a copy that is only read, and beside it what differs), which is being replaced by
the container that was named: the gate fills it as it does with any leg, whoever is killed. Owns the
order: the record of what the clone reads from is durable before that is made, and goes after the
view is a leg no more. Must never let go of a view that a gate may need.
"""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from holdfast.config import Settings
from holdfast.containers import (
    image_behind,
    open_container,
    parse_container_url,
    past_url,
    remove_past,
)
from holdfast.copies import images, tasks
from holdfast.copies.work import carried_out
from holdfast.errors import AlreadyExists, AtWork, HoldfastError, InUse, NoSuchVolume, StateFailed
from holdfast.gate.log.history.layout import volume_in_history
from holdfast.gate.members.configuration import FILE_NAME, load_configuration
from holdfast.gate.members.provision import provision
from holdfast.gate.members.superblock import container_bytes_needed, read_superblock
from holdfast.gate.outside.client import GateClient
from holdfast.gate.outside.launch import gate_is_running
from holdfast.model.copy import ClonePlan, VolumeCopy
from holdfast.model.recovery import Left
from holdfast.model.reporter import Reporter
from holdfast.model.volume import GATED, JournalMode, Volume, VolumeReport
from holdfast.service.copies import Copies
from holdfast.service.found_volumes import refuse_running
from holdfast.service.host import Host
from holdfast.service.legs import as_reported
from holdfast.service.requests import check_socket_path
from holdfast.service.resynchronisation import POLL_SECONDS, Percentage, wait_until_in_sync
from holdfast.system.children.expendable import in_expendable_child
from holdfast.volumes.attach import attach_volume
from holdfast.volumes.checks.foundation import check_not_own_leg
from holdfast.volumes.create import configuration_of
from holdfast.volumes.delete import delete_volume

_PROVISION_SECONDS = 60.0
_NO_WAIT_SECONDS = 0.0
_LETTING_GO_SECONDS = 60.0
"""For the gate to take the view out once the other leg is in sync: it does so within a second."""


class FilledClones:
    """The clones of this host that are being filled."""

    def __init__(self, host: Host, copies: Copies) -> None:
        self._host = host
        self._copies = copies

    def check(self, plan: ClonePlan, volume: Volume, new: str) -> ClonePlan:
        """The same plan with URLs as they are recorded: what is to be filled must be free, and
        large enough for what the clone has. Raises Refused, BadInput."""
        settings = self._host.settings
        if (settings.gate_state_directory(new) / FILE_NAME).exists():
            raise AlreadyExists(f"a volume named {new} has left its state", "Use another name.")
        check_socket_path(settings, new)
        refuse_running(self._host, new)
        into = str(parse_container_url(plan.into))
        size_bytes = _size(plan, volume)
        view = image_behind(plan.url)
        if image_behind(into) == view:
            raise InUse(f"{into} is what the clone is to read from", "Name another container.")
        for name, path in ((volume.name, volume.mount.path), (new, plan.mount_path)):
            check = partial(_check_free, settings, name, path, into, plan.copy.url, size_bytes)
            in_expendable_child(check, doing=into)
        return replace(plan, url=past_url(view), into=into)

    def make(
        self, plan: ClonePlan, volume: Volume, new: str, made_directory: str, reporter: Reporter
    ) -> None:
        """Mount it, and begin to fill it; durable. The caller has both turns.

        Takes as long as applying the history since the copy, whatever the size of the volume.
        Raises as `Clones.make`, with nothing left.
        """
        half = VolumeCopy(
            id=str(uuid.uuid4()),
            volume=volume.name,
            volume_id=plan.copy.volume_id,
            url=plan.url,
            size_bytes=_size(plan, volume),
            position=plan.copy.position,
            made=time.time(),
            clone=new,
            made_directory=made_directory,
            into=plan.into,
            reads_from=plan.copy.id,
        )
        self._copies.records.save(half)
        try:
            self._make(plan, volume, half, reporter)
        except BaseException:
            known = self._copies.records.of(volume.name)
            self._undo(next((each for each in known if each.id == half.id), half))
            raise

    def _make(self, plan: ClonePlan, volume: Volume, half: VolumeCopy, reporter: Reporter) -> None:
        settings, catalog, new = self._host.settings, self._host.catalog, half.clone
        _, _, history = self._copies.kept(volume.name)
        reporter.say("make a view of it")
        begin = partial(tasks.begin_view, plan.copy, half)
        half = replace(half, inode=in_expendable_child(begin, doing=half.url))
        self._copies.records.save(half)
        reporter.say("apply the history")
        room = partial(images.check_room, half.url, min(plan.history_bytes, half.size_bytes))
        in_expendable_child(room, doing=half.url)
        path, identity = Path(history.directory), volume_in_history(half.volume_id)
        bring = partial(tasks.bring_view, half, path, identity, plan.position)
        carried_out(bring, reporter, half.url)
        reporter.say("make its gate")
        made = _volume(volume, half, plan.mount_path)
        catalog.add(made)  # before its gate's state: without that it never had a user
        place = settings.gate_state_directory(new)
        work = partial(provision, place, configuration_of(made), create=False)
        in_expendable_child(work, _PROVISION_SECONDS, half.url)
        catalog.update(attach_volume(settings, made, reporter=reporter))
        reporter.say("begin to fill it")
        self._begin_to_fill(half, new)

    def _begin_to_fill(self, half: VolumeCopy, name: str) -> None:
        gate = GateClient(self._host.settings.gate_run_directory(name))
        view = next(each for each in gate.show()["legs"] if each["url"] == half.url)
        gate.replace_leg(str(view["number"]), half.into)
        self._note(name)

    def _note(self, name: str) -> None:
        catalog, report = self._host.catalog, self._host.show(name)
        if report.legs:
            catalog.update(as_reported(catalog.volume(name), report))

    def wait(self, name: str, new: str, percentage: Percentage | None = None) -> VolumeReport:
        """Until a clone has everything, and what it read from is gone. Raises ContainerFailed where
        its container fails meanwhile: the clone is in use all the same."""
        half = next(each for each in self._copies.records.of(name) if each.clone == new)
        wait_until_in_sync(lambda: self._host.show(new), half.into, percentage)
        deadline = time.monotonic() + _LETTING_GO_SECONDS
        while any(each.url == half.url for each in self._host.show(new).legs):
            if time.monotonic() > deadline:
                break  # whoever works on copies next sees that it is over
            time.sleep(POLL_SECONDS)
        with self._copies.turn(name):
            self._copies.clean(name)
        return self._host.show(new)

    def settle(self, half: VolumeCopy) -> str:
        """Finish or undo what a killed one left, or what was filled; in words, empty: it is being
        filled. The caller has the turn on the copies. Raises AtWork, StateFailed for one that the
        catalog has lost, HoldfastError."""
        volume = self._volume_of(half)  # it may have another name by now
        name = volume.name if volume is not None else half.clone
        with self._host.turn(name, f"settle {name}", _NO_WAIT_SECONDS):
            urls = self._urls(half, name)
            if volume is None and urls:
                raise StateFailed(
                    f"{name} is not in the catalog", f"holdfast volume attach {name} enters it."
                )
            if not urls:
                if volume is not None and in_expendable_child(
                    partial(_is_leg, half), doing=half.url
                ):
                    return ""  # its gate's state was lost, or is not there yet: `attach` makes it
                self._undo(half)
                return f"the unfinished clone {half.clone} of {half.volume} was removed"
            if half.url in urls:
                if urls == [half.url] and gate_is_running(
                    self._host.settings.gate_run_directory(name)
                ):  # whoever made it died before he said what it is to be filled into
                    self._begin_to_fill(half, name)
                    return f"the clone {name} of {half.volume} is being filled"
                return ""
            self._forget(half)
            with suppress(HoldfastError):  # the catalog learns of its legs later, too
                self._note(name)
        return f"the clone {name} of {half.volume} is filled, and needs no copy any more"

    def settled(self, half: VolumeCopy) -> list[str]:
        """As `settle`: whatever is the matter with a clone keeps nobody from the copies."""
        try:
            said = self.settle(half)
        except AtWork:
            return []  # somebody is at work on it, and it is filled meanwhile
        except (HoldfastError, OSError) as error:
            return [Left(f"{half.half} was left: {error}")]
        return [said] if said else []

    def check_not_read(self, copy: VolumeCopy) -> None:
        """Raise InUse while a clone reads from that copy. The caller has the turn on the copies."""
        for each in self._copies.records.of(copy.volume):
            if each.into and each.reads_from == copy.id:
                with suppress(HoldfastError):
                    self.settle(each)
                if any(now.id == each.id for now in self._copies.records.of(copy.volume)):
                    raise InUse(
                        f"the clone {each.clone} reads from {copy.url} until it is filled",
                        f"holdfast volume show {each.clone} says how far it is.",
                    )

    def _volume_of(self, half: VolumeCopy) -> Volume | None:
        volumes = self._host.catalog.volumes()
        return next((each for each in volumes if each.id == half.id), None)

    def _urls(self, half: VolumeCopy, name: str) -> list[str]:
        """The legs that its gate has; none: there is no state of that gate. Raises StorageFailed
        where nobody can tell."""
        with suppress(NoSuchVolume):
            state = load_configuration(self._host.settings.gate_state_directory(name))
            return [each.url for each in state.legs] if state.volume_id == half.id else []
        return []

    def _undo(self, half: VolumeCopy) -> None:
        volume = self._volume_of(half)
        if volume is not None:
            delete_volume(self._host.settings, volume)
            self._host.catalog.remove(volume.name)
        if half.made_directory:
            with suppress(OSError):
                Path(half.made_directory).rmdir()
        self._forget(half)

    def _forget(self, half: VolumeCopy) -> None:
        """Remove the view, then its record."""
        in_expendable_child(partial(remove_past, half.url, half.inode), doing=half.url)
        self._copies.records.remove(half)


def _size(plan: ClonePlan, volume: Volume) -> int:
    return max(plan.copy.size_bytes, volume.size_bytes)


def _volume(origin: Volume, half: VolumeCopy, mount_path: str) -> Volume:
    """The clone: as the volume, with another name, at another path."""
    kind = origin.mount.filesystem
    options = [origin.mount.options, "nouuid" if kind == "xfs" else ""]
    words = [word for each in options for word in each.split(",") if word]
    mount = replace(origin.mount, path=mount_path, options=",".join(dict.fromkeys(words)), fstab="")
    return replace(
        origin,
        name=half.clone,
        id=half.id,
        kind=GATED,
        size_bytes=half.size_bytes,
        mount=mount,
        leg_urls=(half.url,),
        spare_urls=(),
        journal=JournalMode.UNFLUSHED,
        attached=True,
    )


# In expendable children: these touch storage.


def _is_leg(half: VolumeCopy) -> bool:
    """Whether the view has a superblock of that clone. Raises OSError, HoldfastError."""
    container = open_container(half.url)
    if not container.exists():
        return False
    view = container.open(only_look=True)
    try:
        found = read_superblock(view, view.size_bytes())
    finally:
        view.close()
    return found is not None and found.volume_id == half.id


def _check_free(
    settings: Settings, name: str, mount_path: str, url: str, copy_url: str, size_bytes: int
) -> None:
    check_not_own_leg(settings, name, mount_path, url)
    container = open_container(url)
    container.check_free(container_bytes_needed(size_bytes))
    try:
        images.check_room(url, min(size_bytes, images.allocated_bytes(copy_url)))
    except OSError as error:
        raise images.failed(error) from error
