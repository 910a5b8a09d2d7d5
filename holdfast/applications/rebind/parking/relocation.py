"""Where the files that handles were on are now: how identities of the old file system carry over.

Three ways. `Kept`: it is the same file system, so an inode is what it was. `Copied`: files were
copied, and whoever copied says where each inode's file is now. `Unknown`: other contents have
taken its place, and nothing but path, type, owner and the rights of the process are left to go by
(see finding). Plain values, which are written down with what is parked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.applications.rebind.parking.observed import Observed


@dataclass(frozen=True)
class Place:
    """A file on the new file system."""

    path: str
    """Below the root of the whole file system."""
    identity: str
    """See inode_identity."""


@dataclass(frozen=True)
class Kept:
    """The same file system again."""

    def place_of(self, was: Observed, path: str) -> Place | None:
        """Where it is, as far as that is certain."""
        return Place(path, was.identity) if was.identity else None

    @property
    def is_complete(self) -> bool:
        """Whether what has no place is nowhere."""
        return False


@dataclass(frozen=True)
class Copied:
    """Files were copied; by `key_of` the inode on the old file system."""

    places: Mapping[str, Place] = field(default_factory=dict)

    def place_of(self, was: Observed, path: str) -> Place | None:
        """Where it is; None: it had no name any more."""
        return self.places.get(key_of(was.identity, was.inode))

    @property
    def is_complete(self) -> bool:
        """As above."""
        return True

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {key: [place.path, place.identity] for key, place in self.places.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Copied:
        """What `as_json` described."""
        return cls({key: Place(path, identity) for key, (path, identity) in values.items()})


@dataclass(frozen=True)
class Unknown:
    """Other contents."""

    def place_of(self, was: Observed, path: str) -> Place | None:
        """Nothing is certain."""
        return None

    @property
    def is_complete(self) -> bool:
        """As above."""
        return False


Carrying = Kept | Copied | Unknown


def key_of(identity: str, inode: int) -> str:
    """Of an inode of the old file system: what it calls it, else its number."""
    return identity or f"number:{inode}"
