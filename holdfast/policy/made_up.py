"""A trouble that a drill made up, for the daemon to see: whether it is told, and how fast.

Owns its file. Invariant: it says of itself that it is made up, and is over by itself after
`LONGEST_SECONDS`, whoever made it and died.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from holdfast.late_dataclass import dataclass
from holdfast.model.evidence import Evidence
from holdfast.policy.memory import folder_of
from holdfast.system.files.durable import sync_directory
from holdfast.system.files.own_document import read_document, write_document

SOURCE = "drill"
"""Of evidence; `status` does not show it."""

LONGEST_SECONDS = 300.0
"""The daemon looks every few seconds, and a destination has half a minute."""

_MOST_BYTES = 4096


@dataclass(frozen=True)
class MadeUp:
    """Which, and until when. Times are Unix seconds."""

    volume: str
    id: str
    began: float

    @property
    def about(self) -> str:
        """The cause: each drill has its own, so that none is quiet because of another one."""
        return f"drill {self.id}"

    @property
    def words(self) -> str:
        """What people are told."""
        return f"DRILL {self.id[:8]}: made up by holdfast drill --alert, nothing is wrong"


def make_up(state_directory: Path, drill: MadeUp) -> None:
    """From the daemon's next look on it is there; durable. Raises OSError, Untrusted."""
    write_document(_path(state_directory), drill)


def end_made_up(state_directory: Path) -> None:
    """It is over; idempotent. Raises OSError."""
    with suppress(FileNotFoundError):
        _path(state_directory).unlink()
        sync_directory(folder_of(state_directory))


def made_up(state_directory: Path, now: float) -> tuple[Evidence, ...]:
    """What there is of it now; nothing where it cannot be read."""
    try:
        drill = read_document(_path(state_directory), MadeUp, _MOST_BYTES, "a drill")
    except (OSError, ValueError):
        return ()
    if not 0 <= now - drill.began < LONGEST_SECONDS:
        return ()
    return (
        Evidence(drill.volume, drill.about, drill.words, "Nothing is to be done.", True, SOURCE),
    )


def _path(state_directory: Path) -> Path:
    return folder_of(state_directory) / "drill.json"
