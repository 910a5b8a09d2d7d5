"""What one can ask of Holdfast about a volume's contents: that others take their place.

Owns the defaults of what an administrator leaves out. Changes nothing; `Restorations` does it.
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.errors import Blocked, InvalidOption
from holdfast.late_dataclass import dataclass
from holdfast.model.plan import Strategy
from holdfast.model.receipt import Receipt
from holdfast.model.source import NOTHING_KNOWN, Source
from holdfast.model.volume import Volume
from holdfast.service.requests import DEADLINE_SECONDS, AssessRequest, OperationRequest


@dataclass(frozen=True)
class RestoreRequest(OperationRequest[Receipt | None]):
    """A volume that is to show other contents, or to be mounted anew when its mount is broken."""

    volume: str
    contents: str = ""
    """Directory or container; empty: the volume's own storage, mounted anew."""
    to: str = ""
    """The container that they are copied to; empty: an image beside the present one."""
    filesystem: str = ""
    """Its type; empty: as now."""
    deadline_seconds: float = DEADLINE_SECONDS
    forced: bool = False
    saves_writes: bool = True
    """Whether what is only in memory, where the present storage has failed, is put on the other."""
    at: str = ""
    """In the place of `contents`: the volume's own at this moment, see `rewinding`."""
    more_urls: tuple[str, ...] = ()
    """Further legs of a gated volume, beside `to`; in sync at the end as well."""
    history: str = ""
    """Directory in which a history is begun afterwards, kept as the present one; empty: none is."""
    undo: bool = False
    """In the place of `contents`: those that the last restoration left, see `undoing`."""
    volume_id: str = ""
    """The volume must still be this one when it is done; empty: whichever has the name."""

    def __post_init__(self) -> None:
        """Raise InvalidOption for what contradicts itself."""
        if sum(map(bool, (self.at, self.contents, self.undo))) > 1:
            raise InvalidOption(
                "contents were named in more than one way",
                "Give one of --at WHEN, --from SOURCE and --undo.",
            )
        if self.more_urls and not self.to:
            raise InvalidOption("further legs were named, and no first one", "Name it with --to.")
        if (self.to or self.history) and not self.has_other_contents:
            raise InvalidOption(
                "other storage was named, and no other contents",
                "Say which: --at WHEN, --from SOURCE or --undo.",
            )

    @property
    def has_other_contents(self) -> bool:
        """Whether the present ones are replaced."""
        return bool(self.at or self.contents or self.undo)

    @property
    def urls(self) -> tuple[str, ...]:
        """The containers that were named."""
        return (self.to, *self.more_urls) if self.to else ()

    def as_assess_request(self, source: Source = NOTHING_KNOWN) -> AssessRequest:
        """What is to be found out before it is done. `source`: what is known of the contents."""
        request = AssessRequest(
            self.volume,
            deadline_seconds=self.deadline_seconds,
            forced=self.forced,
            saves_writes=self.saves_writes,
        )
        if not self.contents:
            return request
        return replace(
            request,
            strategy=Strategy.REWIND,
            urls=self.urls,
            filesystem=self.filesystem,
            contents=self.contents,
            source=replace(source, history=self.history),
        )

    def check_still(self, volume: Volume) -> None:
        """Raise Blocked where another volume has the name by now, or this one other storage."""
        if self.volume_id not in ("", volume.id):
            raise Blocked(
                f"{self.volume} was not touched: another command has given it other storage since"
                " it was looked at",
                f"See holdfast receipt list {self.volume}, then ask again.",
            )
