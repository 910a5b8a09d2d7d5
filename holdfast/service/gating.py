"""What one can ask of Holdfast about a volume's kind: that a plain mount gets a gate, or loses it.

Owns the defaults of what an administrator leaves out. Changes nothing; `Restorations` does it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.containers import is_container_url, parse_container_url
from holdfast.errors import HasGate, HasNoGate, InvalidOption, NotInPlace
from holdfast.late_dataclass import dataclass
from holdfast.model.plan import Strategy
from holdfast.model.receipt import Receipt
from holdfast.model.volume import ADOPTED, GATED, JournalMode, LegState, Volume, VolumeReport
from holdfast.service.requests import (
    DEADLINE_SECONDS,
    AssessRequest,
    OperationRequest,
    check_journal,
)

if TYPE_CHECKING:
    from holdfast.restoration.assessing.facts import CheckedRequest


@dataclass(frozen=True)
class GateRequest(OperationRequest[Receipt]):
    """An adopted volume that is to lie below a gate, on legs of its own."""

    volume: str
    leg_urls: tuple[str, ...]
    """In sync at the end, all of them; in place, beside the present storage."""
    spare_urls: tuple[str, ...] = ()
    filesystem: str = ""
    """Its type; empty: as now."""
    journal: str = JournalMode.UNFLUSHED.value
    hold_timeout_seconds: float = 600.0
    hang_timeout_seconds: float = 5.0
    deadline_seconds: float = DEADLINE_SECONDS
    forced: bool = False
    in_place: bool = False
    """The present storage becomes the first leg where it lies: nothing is copied to it."""

    def __post_init__(self) -> None:
        """Raise InvalidOption when no leg is named, for a mode that does not exist, and for another
        file system where nothing is copied."""
        if not self.leg_urls and not self.in_place:
            raise InvalidOption(
                "no leg was named",
                f"holdfast volume gate {self.volume} --leg URL --leg URL; or --in-place, where the"
                " present storage can become one.",
            )
        _check_stays(self.in_place, self.filesystem)
        check_journal(self.journal)

    def checked(self, volume: Volume) -> CheckedRequest:
        """What is asked for, with URLs normalised. Raises BadInput, HasGate."""
        if not volume.is_adopted:
            raise HasGate(
                f"{volume.name} has a gate already",
                f"holdfast leg add {volume.name} URL gives it another leg.",
            )
        request = AssessRequest(
            volume=self.volume,
            strategy=Strategy.MIGRATE,
            urls=(_present(volume), *self.leg_urls) if self.in_place else self.leg_urls,
            spare_urls=self.spare_urls,
            filesystem=self.filesystem,
            deadline_seconds=self.deadline_seconds,
            forced=self.forced,
        )
        return replace(
            request.checked(volume),
            kind=GATED,
            in_place=self.in_place,
            journal=JournalMode(self.journal),
            hold_timeout_seconds=self.hold_timeout_seconds,
            hang_timeout_seconds=self.hang_timeout_seconds,
        )


@dataclass(frozen=True)
class UngateRequest(OperationRequest[Receipt]):
    """A gated volume that is to be a plain mount."""

    volume: str
    url: str = ""
    """The container it is to lie in; empty: an image beside its first leg that is one."""
    filesystem: str = ""
    """Its type; empty: as now."""
    deadline_seconds: float = DEADLINE_SECONDS
    forced: bool = False
    in_place: bool = False
    """The contents stay on one of its legs, the named one or the first: nothing is copied."""

    def __post_init__(self) -> None:
        """Raise InvalidOption for another file system where nothing is copied."""
        _check_stays(self.in_place, self.filesystem)

    def checked(self, volume: Volume) -> CheckedRequest:
        """What is asked for, with URLs normalised. Raises BadInput, HasNoGate."""
        if volume.is_adopted:
            raise HasNoGate(
                f"{volume.name} is an adopted volume: it has no gate",
                f"holdfast migrate {volume.name} URL moves it to another container.",
            )
        request = AssessRequest(
            volume=self.volume,
            strategy=Strategy.MIGRATE,
            urls=(self.url or self._otherwise(volume),),
            filesystem=self.filesystem,
            deadline_seconds=self.deadline_seconds,
            forced=self.forced,
        )
        return replace(request.checked(volume), kind=ADOPTED, in_place=self.in_place)

    def on_a_leg_in_sync(self, report: VolumeReport) -> UngateRequest:
        """The same with a leg named that has everything. Raises NotInPlace where there is none, or
        another one is named."""
        urls = [leg.url for leg in report.legs if leg.state is LegState.IN_SYNC]
        url = str(parse_container_url(self.url)) if self.url else next(iter(urls), "")
        if url not in urls:
            raise NotInPlace(
                f"{self.volume} cannot stay on {url or 'a leg'}: it is no leg in sync",
                f"holdfast volume show {self.volume} names those; or leave --in-place out.",
            )
        return replace(self, url=url)

    def _otherwise(self, volume: Volume) -> str:
        from holdfast.restoration.storage.target import place_beside

        return place_beside(volume, volume.id, "plain")


def _check_stays(in_place: bool, filesystem: str) -> None:
    if in_place and filesystem:
        raise InvalidOption(
            "in place the file system stays what it is",
            "Leave --fs out; or leave --in-place out, and it is copied to one of another type.",
        )


def _present(volume: Volume) -> str:
    """The storage of an adopted volume. Raises NotInPlace for one that no leg can be."""
    source = volume.adoption.source if volume.adoption is not None else ""
    if not is_container_url(source):
        raise NotInPlace(
            f"{volume.name} cannot stay where it is: it lies on {source}, which is no container",
            f"Copy it to a leg: holdfast volume gate {volume.name} --leg URL",
        )
    return source
