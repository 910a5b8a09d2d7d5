"""What one can ask of Holdfast about the history of a gated volume: every write, kept elsewhere.

Reached through `Holdfast.histories`. Owns the way only: places are judged and made in expendable
children, the gate begins and ends. What is kept, and where, stands in gate.json alone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.config import Settings
from holdfast.containers import open_container
from holdfast.errors import (
    GateGone,
    HistoryFailed,
    HoldfastError,
    HoldsData,
    InvalidOption,
    InvalidUrl,
    NotAttached,
    OwnLeg,
)
from holdfast.gate.log.history.layout import volume_in_history
from holdfast.gate.log.history.outline import outline
from holdfast.gate.log.history.own_place import stranger_in
from holdfast.gate.log.history.reading import Gap, stretches
from holdfast.gate.log.history.segments import find, in_order
from holdfast.gate.members.configuration import (
    HISTORY,
    GateConfiguration,
    load_configuration,
    save_configuration,
)
from holdfast.gate.outside.launch import gate_is_running
from holdfast.gate.processes.remains import living_processes
from holdfast.model.history import (
    LEAST_KEEP_SECONDS,
    LEAST_LIMIT_BYTES,
    HistoryPlace,
    HistoryReport,
    HistoryStretch,
    history_place,
    with_shown,
)
from holdfast.model.size import format_size
from holdfast.model.volume import JournalFailurePolicy, JournalMode
from holdfast.service.host import Host
from holdfast.service.rights import need_root
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.trusted import own_directory
from holdfast.system.storage.standing import parts_below
from holdfast.volumes.checks.foundation import foundation_of, stands_on

if TYPE_CHECKING:
    from holdfast.service.clones import Clones
    from holdfast.service.copies import Copies
    from holdfast.service.following import CopiesThatFollow
    from holdfast.service.past_files import PastFiles
    from holdfast.service.points import Points
    from holdfast.service.promotions import Promotions
    from holdfast.service.schedules import PointSchedules

KEPT_SECONDS = 86400
"""Of a history for which nobody says how long it is kept."""

_LOOKING_SECONDS = 3.0
"""For what is only told besides: whoever asks about a history that hangs is to hear the rest."""

_FINDING_SECONDS = 60.0
"""For a page of each segment, where nobody else tells: 200 GiB have 3200 on a disk that turns."""

_READING_SECONDS = 3600.0
"""For whoever has the whole of a history read."""


class Histories:
    """The histories of the volumes on this host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @cached_property
    def copies(self) -> Copies:
        """Copies from which a history leads to later moments."""
        from holdfast.service.copies import Copies

        return Copies(self._host, self)

    @cached_property
    def following(self) -> CopiesThatFollow:
        """Copies that are brought on by themselves."""
        from holdfast.service.following import CopiesThatFollow

        return CopiesThatFollow(self._host, self.copies)

    @cached_property
    def promotions(self) -> Promotions:
        """Copies that take the place of lost legs."""
        from holdfast.service.promotions import Promotions

        return Promotions(self._host, self.copies)

    @cached_property
    def points(self) -> Points:
        """Moments that have a name."""
        from holdfast.service.points import Points

        return Points(self._host, self, self.copies)

    @cached_property
    def schedules(self) -> PointSchedules:
        """Points that are made by themselves."""
        from holdfast.service.schedules import PointSchedules

        return PointSchedules(self._host, self.points)

    @cached_property
    def clones(self) -> Clones:
        """Volumes as they were at a moment, made from copies."""
        from holdfast.service.clones import Clones

        return Clones(self._host, self.copies, self.points)

    @cached_property
    def files(self) -> PastFiles:
        """Single files of volumes as they were."""
        from holdfast.service.past_files import PastFiles

        return PastFiles(self._host, self.clones)

    def show(self, name: str, *, verify: bool = False) -> HistoryReport:
        """What can be reached. `verify` reads everything, and finds what is damaged. Raises
        NoSuchVolume, HasNoGate; what cannot be looked at is in the report."""
        need_root()
        configuration = self._configuration(name)
        place = place_of(configuration)
        if place is None:
            found = configuration.descriptor.get(HISTORY)
            directory = str(found.get("directory", "")) if isinstance(found, dict) else ""
            return HistoryReport(name, "off", directory=directory)
        report = HistoryReport(name, "resting", **place.as_json())
        shown: dict[str, object] = {}
        if gate_is_running(self._host.settings.gate_run_directory(name)):
            shown = dict(self._host.gate(name).show()["journal"])
            report = with_shown(report, shown)
        path, volume = Path(place.directory), volume_in_history(configuration.volume_id)
        least = report.position if shown else configuration.recorded_position
        look = partial(_read_all, least=least) if verify else _look
        seconds = _READING_SECONDS if verify else _LOOKING_SECONDS if shown else _FINDING_SECONDS
        try:
            kept, used = in_expendable_child(partial(look, path, volume), seconds, place.directory)
            report = replace(report, stretches=kept, used_bytes=used, is_read=True)
        except (HoldfastError, OSError) as error:  # what the gate says stays
            words = error.message if isinstance(error, HoldfastError) else error.strerror
            report = replace(report, reason=report.reason or str(words))
        return replace(report, findings=self._findings(name, place)) if report.is_read else report

    def plan_keep(
        self,
        name: str,
        directory: str,
        keep_seconds: float | None,
        limit_bytes: int | None,
        on_failure: JournalFailurePolicy | None = None,
    ) -> tuple[HistoryPlace, tuple[str, ...]]:
        """What `keep` would ask for, and what speaks against it, in words. Changes nothing.

        An empty directory, or None: as it is now. Raises InvalidUrl, InvalidOption, OwnLeg.
        """
        self._host.gate(name)
        now = place_of(self._configuration(name))
        if directory and now is not None and _normal(directory) != now.directory:
            raise InvalidOption(
                f"the history of {name} is in {now.directory}",
                f"End it there first: holdfast history {name} --off.",
            )
        if not directory and now is None:
            raise InvalidOption(
                f"no history of {name} is kept", "Say where: --at DIRECTORY, on another disk."
            )
        before = now.keep_seconds if now else KEPT_SECONDS
        place = HistoryPlace(
            _normal(directory) if directory else now.directory if now else "",
            int(keep_seconds if keep_seconds is not None else before),
            limit_bytes if limit_bytes is not None else now.limit_bytes if now else 0,
            on_failure or (now.on_failure if now else JournalFailurePolicy.DEGRADE),
        )
        if 0 < place.keep_seconds < LEAST_KEEP_SECONDS:
            raise InvalidOption("that is too short to be of use", "Keep a minute at least.")
        if 0 < place.limit_bytes < LEAST_LIMIT_BYTES:
            raise InvalidOption(
                "that is less than a few segments take", "Allow 256 MiB at least (--limit 256M)."
            )
        path = self._host.volume(name).mount.path
        in_expendable_child(
            partial(_check_place, self._host.settings, name, path, place.directory),
            doing=place.directory,
        )
        return place, self._findings(name, place)

    def keep(
        self,
        name: str,
        directory: str,
        keep_seconds: float | None,
        limit_bytes: int | None,
        on_failure: JournalFailurePolicy | None = None,
    ) -> HistoryReport:
        """Keep every write from now on, or change for how long; durable on return.

        Requests wait for some milliseconds, while another worker takes over. Raises what
        `plan_keep` does, InUse, Untrusted, ForeignLeg, HistoryFailed.
        """
        with self._host.turn(name, f"keep the history of {name} in {directory or 'its place'}"):
            place, _ = self.plan_keep(name, directory, keep_seconds, limit_bytes, on_failure)
            made = in_expendable_child(partial(_make, place.directory), doing=place.directory)
            try:
                self._host.gate(name).history(place)
            except HoldfastError:
                if made:
                    in_expendable_child(partial(_unmake, place.directory), doing=place.directory)
                raise
        return self.show(name)

    def end(self, name: str) -> HistoryReport:
        """Keep nothing from now on; what is there stays. Durable on return; idempotent.

        Also while the history cannot be written, or, of a volume that is detached, is away.
        """
        with self._host.turn(name, f"end the history of {name}"):
            try:
                self._host.gate(name).history(None)
            except (NotAttached, GateGone):
                run_directory = self._host.settings.gate_run_directory(name)
                if gate_is_running(run_directory) or living_processes(run_directory):
                    raise
                self._end_at_rest(name)
        return self.show(name)

    def _end_at_rest(self, name: str) -> None:
        """No position needs to move: whoever begins anew goes beyond where the history ends."""
        state_directory = self._host.settings.gate_state_directory(name)
        now = load_configuration(state_directory)
        if now.journal is JournalMode.CONTINUOUS:
            save_configuration(state_directory, replace(now, journal=JournalMode.UNFLUSHED))

    def _configuration(self, name: str) -> GateConfiguration:
        self._host.refuse_adopted(name)
        self._host.volume(name)
        if gate_is_running(self._host.settings.gate_run_directory(name)):
            return self._host.gate(name).describe()
        return load_configuration(self._host.settings.gate_state_directory(name))

    def _findings(self, name: str, place: HistoryPlace) -> tuple[str, ...]:
        """What speaks against that place."""
        urls = [leg.url for leg in self._host.show(name).legs]
        try:
            return in_expendable_child(
                partial(_against, place, urls), _LOOKING_SECONDS, place.directory
            )
        except (HoldfastError, OSError) as error:
            words = error.message if isinstance(error, HoldfastError) else error.strerror
            return (f"whether it shares a disk with a leg cannot be found out: {words}",)


def place_of(configuration: GateConfiguration) -> HistoryPlace | None:
    """Where it is; a record that is damaged names no place that could be looked at."""
    if configuration.journal is not JournalMode.CONTINUOUS:
        return None
    try:
        return history_place(configuration.descriptor.get(HISTORY))
    except ValueError:
        return HistoryPlace("/")


def _normal(directory: str) -> str:
    """Raises InvalidUrl."""
    path = Path(directory)
    if not path.is_absolute() or "\0" in directory or ".." in path.parts:
        raise InvalidUrl(
            f"{directory!r} is no place for a history", "Give a directory by its absolute path."
        )
    return str(path)


# In expendable children: these touch storage.


def _check_place(settings: Settings, name: str, mount_path: str, directory: str) -> None:
    """Raise OwnLeg where the history would wait for what it is to keep."""
    parent = Path(directory).parent
    if not parent.is_dir():
        raise HistoryFailed(f"there is no directory {parent}", "Make it, or mount its disk.")
    try:
        other = stranger_in(Path(directory)) if os.path.lexists(directory) else ""
    except OSError as error:
        raise HistoryFailed(
            f"{directory} cannot be looked at: {error.strerror}", "Name a directory."
        ) from error
    if other:
        raise HoldsData(
            f"{directory} has something else in it: {other}",
            "A history has a directory of its own: name one that is not there yet.",
        )
    words = stands_on(settings, name, mount_path, directory)
    if not words and (below := foundation_of(settings, directory).volumes):
        words = f"stands on the volume {below[0]}"
    if words:
        raise OwnLeg(f"{directory} {words}", "Use storage that Holdfast does not manage.")


def _make(directory: str) -> bool:
    """The directory, ours alone; whether it was not there. Raises Untrusted, HistoryFailed."""
    is_new = not os.path.lexists(directory)
    try:
        own_directory(directory)
    except OSError as error:
        raise HistoryFailed(
            f"{directory} cannot be made: {error.strerror}", "See that its disk can be written."
        ) from error
    return is_new


def _unmake(directory: str) -> None:
    """What was made in vain, unless there is something in it."""
    with suppress(OSError):
        Path(directory).rmdir()


def _against(place: HistoryPlace, urls: list[str]) -> tuple[str, ...]:
    """What speaks against a place: no limit, legs on the same storage."""
    directory = place.directory
    parent = directory if os.path.lexists(directory) else str(Path(directory).parent)
    free = os.statvfs(parent)
    found = []
    if not place.limit_bytes:
        room = format_size(free.f_bavail * free.f_frsize)
        found.append(
            f"without --limit it may fill its file system, where {room} are free: whoever else"
            " writes there finds no room"
        )

    def below(path: str) -> set[str]:
        parts = parts_below([path], may_block=True)
        found = {part.block_device for part in parts if part.block_device}
        return found | {part.mount.device_number for part in parts if part.mount is not None}

    ours = below(parent)
    for url in urls:
        if not ours.isdisjoint(below(open_container(url).lies_on())):
            found.append(f"it shares a disk with the leg {url}: what destroys that takes both")
    return tuple(found)


def _look(path: Path, volume: bytes) -> tuple[tuple[HistoryStretch, ...], int]:
    segments = in_order(find(path), volume)
    kept = outline([segment.page for segment in segments])
    return tuple(kept), sum(segment.size_bytes for segment in segments)


def _read_all(path: Path, volume: bytes, least: int) -> tuple[tuple[HistoryStretch, ...], int]:
    """`least`: up to there it was whole once. Damage in the newest segment looks like its end."""
    found = stretches(path, volume)
    if found and found[-1].end < least:
        last = found[-1]
        lost = f"it had position {least}, and what comes after {last.end} is damaged or gone"
        gap = Gap(last.end, least, last.newest_ns, 0, lost, is_damage=True)
        found[-1] = last._replace(gap=gap)
    _, used_bytes = _look(path, volume)
    kept = tuple(
        HistoryStretch(
            each.position,
            each.end,
            (each.oldest_ns or each.begun_ns) / 1e9,
            (each.newest_ns or each.begun_ns) / 1e9,
            each.gap.reason if each.gap else "",
            is_damaged=each.gap is not None and each.gap.is_damage,
        )
        for each in found
    )
    return kept, used_bytes
