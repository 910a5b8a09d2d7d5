"""What one can ask of Holdfast about copies of a gated volume that its history keeps up to date.

Reached through `Holdfast.histories.copies`. Owns the order of things between records, images and
the gate. Invariant: one command at a time works on the copies of a volume; what a killed one left
is cleaned by the next one, and by `recover`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.config import Settings
from holdfast.containers import open_container, parse_container_url
from holdfast.coordination import COORDINATOR
from holdfast.coordination.turn import WAIT_SECONDS
from holdfast.copies import images, replaying, tasks
from holdfast.copies.records import CopyRecords, FollowingRecords
from holdfast.copies.work import carried_out
from holdfast.errors import (
    AlreadyExists,
    AtWork,
    ContainerFailed,
    HistoryFailed,
    HoldfastError,
    HoldsData,
    InvalidUrl,
    NoHistory,
    NoSuchCopy,
)
from holdfast.gate.log.history.layout import volume_in_history
from holdfast.gate.members.configuration import GateConfiguration
from holdfast.gate.outside.client import GateClient
from holdfast.model.copy import CopyReport, VolumeCopy
from holdfast.model.history import HistoryPlace
from holdfast.model.recovery import BeingDone, Left
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.volume import LegState
from holdfast.service import needed_history
from holdfast.service.copy_states import is_there, states_of
from holdfast.service.histories import Histories, place_of
from holdfast.service.host import Host
from holdfast.service.resynchronisation import wait_until_none_resyncs
from holdfast.service.rights import need_root
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.own_files import writing_own_files
from holdfast.volumes.checks.foundation import check_not_own_leg

_KEPT_SECONDS = 60.0
"""For the history to have what the ring has: it is behind by milliseconds, or it fails."""
_POLL_SECONDS = 0.02


class Copies:
    """The copies of this host's volumes."""

    def __init__(self, host: Host, histories: Histories) -> None:
        self._host = host
        self._histories = histories
        self.records = CopyRecords(host.settings)

    @contextmanager
    def turn(self, name: str, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
        """Be the only command that changes copies of this volume. Raises AtWork, StateFailed."""
        settings = self._host.settings
        with (
            writing_own_files(settings.state_directory),
            # No volume has such a name: commands on the volume itself go on meanwhile.
            COORDINATOR.turn(settings.run_directory, f".copies-{name}", wait_seconds),
        ):
            yield
            needed_history.note(self._host, name)

    def show(self, name: str = "") -> list[CopyReport]:
        """The copies of one volume, or of all, oldest first; also what is being made."""
        need_root()
        found = self.records.of(name) if name else self.records.all()
        return states_of(found, self._histories, lambda each: self._host.volume(each).id)

    def find(self, name: str, which: str) -> VolumeCopy:
        """By id, its first characters, or URL. Raises NoSuchCopy."""
        copies = [each for each in self.records.of(name) if not each.clone]
        found = [each for each in copies if each.url == which or each.id == which]
        found = found or [each for each in copies if len(which) > 3 and each.id.startswith(which)]
        if len(found) != 1:
            raise NoSuchCopy(
                f"{name} has no copy {which!r}", f"holdfast copy list {name} shows those it has."
            )
        return found[0]

    def usable(self, name: str, *, or_becoming_legs: bool = False) -> list[VolumeCopy]:
        """The complete copies of this very volume whose images are as they were left, by
        position."""
        volume_id = self._host.volume(name).id
        found = [
            each
            for each in self.records.of(name)
            if (each.is_complete or (or_becoming_legs and each.becomes_leg))
            and each.volume_id == volume_id
            and is_there(each)
        ]
        return sorted(found, key=lambda each: each.position)

    def remaining(self, name: str) -> list[str]:
        """What stays of a volume that is deleted, in words: it has that volume's data."""
        with suppress(HoldfastError):
            return [
                f"its copy {each.url} stays: holdfast copy remove {name} {each.id[:8]} removes it"
                for each in self.records.of(name)
                if each.is_complete
            ]
        return []

    def plan_add(self, name: str, url: str) -> str:
        """What `add` would do, after its checks. Changes nothing."""
        gate, _, place = self.kept(name)
        address = self._checked(name, gate.describe(), url)
        return f"copy {name} to {address}, for the history in {place.directory}"

    def add(self, name: str, url: str, reporter: Reporter = SILENT) -> VolumeCopy:
        """Copy a volume in use, so that its history reaches later moments from there; durable.

        Takes as long as reading a leg. Killed anywhere, `recover` or the same call cleans up.
        Raises NoHistory, HoldsData, OwnLeg, TooSmall, AlreadyExists, HistoryFailed.
        """
        with self.turn(name):
            self.clean(name)
            gate, configuration, place = self.kept(name)
            address = self._checked(name, configuration, url)
            shown = wait_until_none_resyncs(gate.show, reporter)
            copy = VolumeCopy(
                id=uuid.uuid4().hex,
                volume=name,
                volume_id=configuration.volume_id,
                url=address,
                size_bytes=configuration.size_bytes,
                position=int(shown["journal"]["recorded"]),
                made=time.time(),
            )
            legs = _in_sync(shown)
            self.records.save(copy)
            try:
                copy = self.with_image(copy)
                reporter.say("copy a leg")
                work = partial(tasks.fill, copy, tuple(legs.items()))
                carried_out(work, reporter, copy.url)
                end = kept_end(gate)
                now = gate.show()
                if now["epoch"] != shown["epoch"] or legs.items() - _in_sync(now).items():
                    # One that was away for a while, and is in sync again, was read as of before.
                    raise ContainerFailed(
                        "the legs of the volume changed while one was read", "Try again."
                    )
                copy = replace(copy, good_from=end)
                copy = self.bring(copy, place, (end, copy.size_bytes), reporter)
            except BaseException:
                self.undo(copy)
                raise
        return copy

    def advance(self, name: str, which: str, reporter: Reporter = SILENT) -> VolumeCopy:
        """Bring a copy to the present: history before it may be trimmed then, and moments before it
        cannot be reached from it any more. Durable; killed anywhere, the same call finishes.

        Raises NoHistory, Unreachable, NoSuchCopy.
        """
        with self.turn(name):
            copy = self.complete(name, which)
            self._histories.filled_clones.check_not_read(copy)
            gate, configuration, place = self.kept(name)
            in_expendable_child(partial(images.check_image, copy), doing=copy.url)
            size_bytes = max(copy.size_bytes, configuration.size_bytes)
            return self.bring(copy, place, (kept_end(gate), size_bytes), reporter)

    def remove(self, name: str, which: str, *, keep_image: bool = False) -> bool:
        """Forget a copy and remove its image, unless another file is there; whether it was removed.
        Durable, idempotent."""
        with self.turn(name):
            copy = self.find(name, which)
            self._histories.filled_clones.check_not_read(copy)
            settled = copy.leaves_for and self._histories.switches.settle(copy)
            if settled or (copy.becomes_leg and self._histories.promotions.is_leg(copy)):
                copy = self.find(name, which)  # which says so
            FollowingRecords(self._host.settings).forget(copy.id)
            removed = not keep_image and _remove_image(copy)
            self.records.remove(copy)
        return removed

    def verify(self, name: str, which: str, reporter: Reporter = SILENT) -> int:
        """Read all of a copy, and the history from it on; the position up to which it leads.

        Raises Unreachable, ContainerFailed, HistoryFailed, NoSuchContainer, Untrusted.
        """
        with self.turn(name):
            copy = self.complete(name, which)
            _, _, place = self.kept(name)
            reporter.say("read it")
            carried_out(partial(tasks.read_all, copy), reporter, copy.url)
            reporter.say("read the history")
            path, volume = Path(place.directory), volume_in_history(copy.volume_id)
            base = copy.position
            end = carried_out(partial(replaying.end_of, path, volume, base), reporter, str(path))
        if end < (copy.good_from or 0):
            raise HistoryFailed(
                f"the history ends at position {end}: from this copy no moment can be reached",
                "Make another copy.",
            )
        return end

    def settle(self) -> list[str]:
        """Clean up what killed commands left; in words. Never waits for one that is at work."""
        said: list[str] = []
        try:
            found = self.records.all()
        except HoldfastError as error:  # a damaged record keeps nobody from the rest
            return [Left(f"copies were left as they are: {error}")]
        for name in sorted({each.volume for each in found if not each.is_complete}):
            try:
                with self.turn(name, wait_seconds=0.0):
                    said += self.clean(name)
            except HoldfastError as error:
                kind = BeingDone if isinstance(error, AtWork) else Left
                said.append(kind(f"an unfinished copy of {name} was left: {error}"))
        return said

    def kept(self, name: str) -> tuple[GateClient, GateConfiguration, HistoryPlace]:
        """The gate of a volume in use, and where its history is. Raises NoHistory, NotAttached,
        HistoryFailed while it cannot be written."""
        gate = self._host.gate(name)
        configuration = gate.describe()
        place = place_of(configuration)
        if place is None:
            raise NoHistory(
                f"no history of {name} is kept",
                f"holdfast history {name} --at DIRECTORY begins one, on another disk.",
            )
        return gate, configuration, place

    def with_image(self, copy: VolumeCopy) -> VolumeCopy:
        """The same with an image, empty. Its inode is durable before anything is written to it."""
        make = partial(images.make_image, copy.url, copy.size_bytes)
        made = replace(copy, inode=in_expendable_child(make, doing=copy.url))
        self.records.save(made)
        return made

    def undo(self, copy: VolumeCopy) -> None:
        """After a failure: as if nothing had been begun, unless it was complete before."""
        now = next((each for each in self.records.all() if each.id == copy.id), None)
        if now is not None and not now.is_complete:
            self._forget(now)

    def complete(self, name: str, which: str) -> VolumeCopy:
        """As `find`, of this very volume. Raises NoSuchCopy."""
        copy = self.find(name, which)
        if not copy.is_complete:
            raise NoSuchCopy(
                f"the copy {copy.url} was never finished", "holdfast recover removes what is left."
            )
        if copy.volume_id != self._host.volume(name).id:
            raise NoSuchCopy(
                f"{copy.url} is a copy of another volume {name}, which was deleted",
                f"holdfast copy remove {name} {copy.id[:8]}, --keep-image leaves its image.",
            )
        return copy

    def bring(
        self,
        copy: VolumeCopy,
        place: HistoryPlace,
        places: tuple[int, int],
        reporter: Reporter,
        *,
        on_its_way: bool = False,
    ) -> VolumeCopy:
        """From its position to a later one, and to a size; both records are durable before what
        they say is. `on_its_way`: the later one is not the present. The caller has the turn."""
        self._histories.filled_clones.check_not_read(copy)
        target, size_bytes = places
        path, volume = Path(place.directory), volume_in_history(copy.volume_id)
        reporter.say("look at the history")
        look = partial(tasks.find_way, path, volume, target, [copy.position])
        way = carried_out(look, reporter, place.directory)
        made = (way.newest_ns / 1e9 or copy.made) if on_its_way else time.time()
        begun = replace(copy, good_from=target, written_ns=0, made=made)
        self.records.save(begun)
        reporter.say("apply the history")
        bring = partial(tasks.bring, begun, path, volume, places)
        written_ns = carried_out(bring, reporter, copy.url)
        there = replace(begun, position=target, size_bytes=size_bytes, written_ns=written_ns)
        self.records.save(there)
        return there

    def _checked(self, name: str, configuration: GateConfiguration, url: str) -> str:
        """The URL, normalised, of an image that can be made there. Raises Refused, BadInput."""
        address = str(parse_container_url(url))
        taken = next((each for each in self.records.all() if each.url == address), None)
        if taken is not None:
            raise AlreadyExists(f"{address} is a copy of {taken.volume}", "Name another image.")
        mount_path = self._host.volume(name).mount.path
        size_bytes = configuration.size_bytes
        urls = [leg.url for leg in configuration.legs]
        in_expendable_child(
            partial(
                check_place, self._host.settings, name, mount_path, address, (urls, size_bytes)
            ),
            doing=address,
        )
        return address

    def clean(self, name: str) -> list[str]:
        """Remove what killed commands left; in words. What is on storage that fails or hangs is
        left: it keeps nobody from the other copies."""
        said = []
        for copy in self.records.of(name):
            if copy not in self.records.of(name):  # settled with another
                continue
            try:
                if copy.into:
                    said += self._histories.filled_clones.settled(copy)
                elif not copy.is_complete:
                    said.append(self._forget(copy))
            except HoldfastError as error:
                said.append(Left(f"{copy.half} of {name} was left ({copy.url}): {error}"))
        return said

    def _forget(self, copy: VolumeCopy) -> str:
        if copy.becomes_leg or copy.leaves_for:
            return self._histories.switches.settle(copy)
        if copy.clone and self._is_made(copy):
            self.records.remove(copy)
            return f"the clone {copy.clone} of {copy.volume} was finished"
        if copy.clone:
            in_expendable_child(partial(images.dismount, copy), doing=copy.url)
        _remove_image(copy)
        self.records.remove(copy)
        return f"{copy.half} of {copy.volume} was removed: {copy.url}"

    def _is_made(self, copy: VolumeCopy) -> bool:
        """Whether a volume has that image already."""
        volumes = self._host.catalog.volumes()
        adopted = [each.adoption for each in volumes if each.name == copy.clone]
        return any(each is not None and each.source == copy.url for each in adopted)


def kept_end(gate: GateClient, end: int | None = None) -> int:
    """The end of the log, or `end`, once the history has all before it. Raises HistoryFailed."""
    end = int(gate.show()["journal"]["position"]) if end is None else end
    deadline = time.monotonic() + _KEPT_SECONDS
    while True:
        shown = gate.show()["journal"]
        if int(shown.get("history_position", 0)) >= end:
            return end
        if time.monotonic() > deadline or shown.get("history_state") == "fails":
            raise HistoryFailed(
                f"the history is behind: {shown.get('history_reason') or 'it is slow'}",
                "See what holdfast history says of it, then try again.",
            )
        time.sleep(_POLL_SECONDS)


def _in_sync(shown: dict[str, Any]) -> dict[str, str]:
    """URLs of the legs in sync, by id."""
    legs = shown["legs"]
    return {each["id"]: each["url"] for each in legs if each["state"] == LegState.IN_SYNC}


def _remove_image(copy: VolumeCopy) -> bool:
    return in_expendable_child(partial(images.remove_image, copy), doing=copy.url)


# In expendable children: these touch storage.


def check_place(
    settings: Settings, name: str, mount_path: str, url: str, needed: tuple[list[str], int]
) -> None:
    """Raise unless an image can be made there, off the volume. `needed`: room for what one of these
    containers has in it, so many bytes at most."""
    container = open_container(url)
    if not container.image_path:
        raise InvalidUrl(f"{url} is no image file", "Write file:/absolute/path.img.")
    check_not_own_leg(settings, name, mount_path, url)
    try:
        if container.exists():
            raise HoldsData(f"{url} is there already", "Name an image that is not there yet.")
        container.check_free(0)
        sizes = []
        for each in needed[0]:
            with suppress(OSError):
                sizes.append(images.allocated_bytes(each))
        images.check_room(url, min([*sizes, needed[1]]))
    except OSError as error:
        raise images.failed(error) from error
