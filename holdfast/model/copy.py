"""A copy of a gated volume that its history can bring to other moments. Values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from holdfast.model.bounded import MOST_NUMBER, whole
from holdfast.model.size import MAXIMUM_VOLUME_BYTES


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
    """When it was begun; Unix time in seconds."""
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
        return self.good_from is not None and not self.clone


@dataclass(frozen=True)
class CopyReport:
    """`holdfast copy list --json`."""

    copy: VolumeCopy
    state: str
    """usable · incomplete · gone (the image is not there) · changed (somebody else wrote to it) ·
    unreachable (the history does not lead on from it) · unknown (its history cannot be looked
    at)."""
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self.copy), "state": self.state, "reason": self.reason}


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

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
