"""A copy of a gated volume that its history can bring to other moments. Values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import MOST_NUMBER, whole
from holdfast.model.following import FollowingReport
from holdfast.model.history import HistoryStretch
from holdfast.model.size import MAXIMUM_VOLUME_BYTES

VIEW = "(view)"
"""In the place of a clone's name: an image for `holdfast files`. No volume is named so."""


VIEW_NAME = ".view-"
"""How the name of such an image begins, where nobody has named it."""


@dataclass(frozen=True)
class VolumeCopy:
    """A container and a position: records from there on make it the volume of a later moment."""

    id: str
    volume: str
    """The volume's name when it was made."""
    volume_id: str
    url: str
    size_bytes: int
    position: int
    """What was written from here on may be lacking."""
    made: float
    """When it was begun, or last brought to a moment: those after it can be reached. Unix time in
    seconds."""
    good_from: int | None = None
    """Moments at this position and later can be reached: what it has may be newer than `position`.
    None: it is not complete, and none can be."""
    inode: int = 0
    """Of the image; 0: it was not made yet."""
    clone: str = ""
    """It is no copy but an image that is being made, for the volume of that name."""
    made_directory: str = ""
    """Made to mount a clone there; empty: it was there before."""
    written_ns: int = 0
    """When the image was changed last, by us: where it says another time, somebody else wrote to
    it. 0: it is being written, or was when whoever did it died."""
    becomes_leg: bool = False
    """It is about to take the place of the volume's legs, or has taken it: whoever did that died,
    where nobody is at work. Its image may be a leg already."""
    leaves_for: str = ""
    """It is no copy yet but a leg of the volume, and becomes one when the copy with that URL, which
    `becomes_leg`, is a leg in sync: whoever did that died, where nobody is at work."""
    into: str = ""
    """URL of the container that a clone is being filled into; until that has everything, the clone
    reads from `url`, a past view, and from a copy. Empty: it is made before it is mounted."""
    reads_from: str = ""
    """Id of that copy, which must stay as it is."""

    def __post_init__(self) -> None:
        """Raise ValueError for numbers that no copy has."""
        whole(self.size_bytes, "size_bytes", 0, MAXIMUM_VOLUME_BYTES)
        whole(self.position, "position")
        whole(self.inode, "inode", 0, (1 << 64) - 1)
        whole(self.written_ns, "written_ns")
        if self.good_from is not None:
            whole(self.good_from, "good_from", self.position, MOST_NUMBER)

    @property
    def is_complete(self) -> bool:
        """Whether it can be used."""
        is_leg = self.becomes_leg or bool(self.leaves_for)
        return self.good_from is not None and not self.clone and not is_leg

    @property
    def half(self) -> str:
        """What it is while it is not complete, in words."""
        if self.becomes_leg:
            return "a copy that is to become a leg"
        if self.leaves_for:
            return "a leg that is to become a copy"
        if self.clone == VIEW:
            return "the image that files were looked for in"
        if self.into:
            return f"what the clone {self.clone} reads from"
        return f"the unfinished clone {self.clone}" if self.clone else "an unfinished copy"

    def out_of_reach(self, stretches: Sequence[HistoryStretch]) -> str:
        """Why no moment can be reached from it by a history of these stretches; empty: some can."""
        for stretch in reversed(stretches):
            if stretch.position > self.position:
                continue
            is_last = stretch is stretches[-1]
            if stretch.end is not None and self.position <= stretch.end < (self.good_from or 0):
                return "the history ends before it became whole"
            if is_last or stretch.end is None or self.position <= stretch.end:
                return ""
            return "it lies in a gap of the history"
        return "the history does not reach back to it"


@dataclass(frozen=True)
class CopyReport:
    """`holdfast copy list --json`."""

    copy: VolumeCopy
    state: str
    """usable · incomplete · gone (the image is not there) · changed (somebody else wrote to it) ·
    unreachable (the history does not lead on from it) · unknown (its history cannot be looked
    at) · filling (a clone reads from it until its own container has everything)."""
    reason: str = ""
    following: FollowingReport | None = None
    """None: it is not brought on by itself."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        following = None if self.following is None else self.following.as_json()
        own = {"state": self.state, "reason": self.reason, "following": following}
        return {**asdict(self.copy), **own}


@dataclass(frozen=True)
class PromotionPlan:
    """How a copy would take the place of a volume's legs."""

    copy: VolumeCopy
    position: int
    """To which its history brings it; what comes after that is in the gate's memory."""
    history_bytes: int
    """What is to be applied before requests go on."""
    lost: tuple[str, ...]
    """URLs of the legs."""
    lacking: str = ""
    """Of a volume that is not in use: what may have been acknowledged and would be missing, in
    words; empty: nothing is."""
    written: float | None = None
    """Of such a one: when the last write that is there was. Unix time in seconds; None: nothing was
    since the copy."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class SwitchPlan:
    """How a copy and a leg would change places."""

    copy: VolumeCopy
    leg_number: int
    leg_url: str
    history_bytes: int
    """What the copy lacks now."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class ClonePlan:
    """What a clone would be made from."""

    copy: VolumeCopy
    position: int
    """The moment, in the history."""
    written: float | None
    """When the last write before it was; Unix time in seconds. None: nothing since the copy."""
    history_bytes: int
    """What is to be applied."""
    url: str
    """Of its image."""
    mount_path: str
    into: str = ""
    """URL of the container that it is filled into while it is in use; its image is a past view
    then."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
