"""Which sockets were bound on the new file system, and where: for whoever comes after a death.

What is in the hidden directory of one that died has to go; and a name that leads to a socket of
ours already, dead like that, is the name of the handle still. Invariant: a line is in the record
directory before the directory is made, with the identity of the file before that has the name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from holdfast.applications.rebind.parking.observed import check_path
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import Number, read_object, typed
from holdfast.system.files import inode_identity

_PREFIX = "bound-"


@dataclass(frozen=True)
class HiddenName:
    """A hidden directory, and the socket that was bound in it."""

    mount_id: Number
    """The old mount."""
    folder: str
    """Where the directory is, below the root of the mount that replaces it."""
    hidden: str
    """Its name."""
    identity: str = ""
    """Of the file of the socket; empty: not told, or not bound yet."""


def note_down(directory: Path, name: HiddenName) -> None:
    """Say so in the record directory. Raises OSError."""
    path = directory / f"{_PREFIX}{name.hidden}"
    coming = directory / f"new-{name.hidden}"
    coming.write_text(json.dumps(vars(name)))
    coming.replace(path)


def noted(directory: Path) -> Iterator[HiddenName]:
    """All of them; what is damaged is left out."""
    for path in directory.glob(f"{_PREFIX}*"):
        with suppress(OSError, ValueError):
            name = typed(HiddenName, read_object(path.read_bytes()))
            check_path(name.folder)
            check_path(name.hidden)
            inode_identity.check(name.identity)
            if name.hidden and "/" not in name.hidden:
                yield name


def is_hidden(directory: Path) -> bool:
    """Whether there is any: also one that has its place by now."""
    return any(directory.glob(f"{_PREFIX}*"))
