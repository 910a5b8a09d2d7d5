"""Where files of the old file system are on the new one.

SameFileSystem    it is mounted again: an inode is what it was
CopiedFiles       whoever has copied the files says where each inode's file is
OtherContents     nothing is known but path, type, owner and the rights of the process (see finding)

Plain values: they are written down with what is parked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from holdfast.applications.rebind.parking.observed import Observed, check_path
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import MOST_CHARACTERS, typed
from holdfast.system.files import inode_identity


@dataclass(frozen=True)
class FilePlace:
    """A file on the new file system."""

    path: str
    """Below the root of the whole file system; empty also where it is too long to be noted."""
    identity: str
    """See inode_identity."""


@dataclass(frozen=True)
class SameFileSystem:
    """The same file system again."""

    def place_of(self, was: Observed, path: str) -> FilePlace | None:
        """The path of this inode's file on the new file system, as far as that is certain."""
        return FilePlace(path, was.identity) if was.identity else None

    @property
    def is_complete(self) -> bool:
        """Whether what has no place is nowhere."""
        return False


@dataclass(frozen=True)
class _Written:
    places: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class CopiedFiles:
    """Files were copied; by `key_of` the inode on the old file system."""

    places: Mapping[str, FilePlace] = field(default_factory=dict)

    def place_of(self, was: Observed, path: str) -> FilePlace | None:
        """The path of this inode's file; None when it had no name any more."""
        return self.places.get(key_of(was.identity, was.inode))

    @property
    def is_complete(self) -> bool:
        """Whether what has no place is nowhere."""
        return True

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {key: [place.path, place.identity] for key, place in self.places.items()}

    @classmethod
    def of(cls, found: Mapping[str, tuple[str, str]]) -> CopiedFiles:
        """By key the path and the identity on the new file system. A path that is too
        long to be read again is left out: the identity leads there all the same."""
        return cls(
            {
                key: FilePlace(path if len(path) <= MOST_CHARACTERS else "", identity)
                for key, (path, identity) in found.items()
            }
        )

    @classmethod
    def from_json(cls, values: object) -> CopiedFiles:
        """What `as_json` described. Raises ValueError."""
        places = typed(_Written, {"places": values}).places
        for path, identity in places.values():
            check_path(path)
            inode_identity.check(identity)
        return cls({key: FilePlace(*each) for key, each in places.items()})


@dataclass(frozen=True)
class OtherContents:
    """Other contents."""

    def place_of(self, was: Observed, path: str) -> FilePlace | None:
        """Nothing: after other contents, no place is certain."""
        return None

    @property
    def is_complete(self) -> bool:
        """Whether what has no place is nowhere."""
        return False


Relocation = SameFileSystem | CopiedFiles | OtherContents


def key_of(identity: str, inode: int) -> str:
    """The key of an inode of the old file system: its identity there, else its number."""
    return identity or f"number:{inode}"
