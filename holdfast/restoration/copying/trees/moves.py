"""What was renamed or removed since the last pass. Pure.

A directory that was renamed is renamed in the copy, too, with everything in it; nothing below it is
touched. A directory is recognised by its inode. Its place is its parent's inode and its name: when
only the parent was renamed, it has not moved itself. Invariant: no two directories of the copy get
the same path, and each gets a path that the source has.
"""

from __future__ import annotations

import stat

from holdfast.late_dataclass import dataclass
from holdfast.restoration.copying.trees.tree import Inode, Tree


@dataclass(frozen=True, slots=True)
class Moves:
    """What is to be done to a copy before anything is copied."""

    renamed: tuple[tuple[bytes, bytes], ...]
    """(path, path afterwards) of directories whose own place changed, those inside others first."""
    gone: tuple[tuple[bytes, bytes], ...]
    """(path, path of the renamed directory above it or empty) of what has no place any more, what
    is inside a directory before the directory."""
    after: dict[bytes, bytes]
    """Path afterwards, by path, of everything that stays; parents first."""


def moves(known: Tree, wanted: Tree) -> Moves:
    """How the names of `known` become those of `wanted`, as far as they lead to the same inodes.

    Both trees have parents before children.
    """
    claims = _claims(known, wanted)
    after: dict[bytes, bytes] = {}
    carried_by: dict[bytes, bytes] = {}
    renamed, gone = [], []
    for path, old in known.items():
        folder, _, name = path.rpartition(b"/")
        place = _below(after[folder], name) if path and folder in after else None
        carrier = carried_by.get(folder, b"") if path else b""
        if old.kind == stat.S_IFDIR:
            claimed = claims.get(path)
            if claimed is not None and path and claimed != place:
                renamed.append((path, claimed))
                carrier = path
            place = claimed
            carried_by[path] = carrier
        elif place is not None:
            new = wanted.get(place)
            if new is None or (new.inode, new.kind) != (old.inode, old.kind):
                place = None
        if place is None:
            gone.append((path, carrier))
        else:
            after[path] = place
    return Moves(tuple(reversed(renamed)), tuple(reversed(gone)), after)


def _below(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def _claims(known: Tree, wanted: Tree) -> dict[bytes, bytes]:
    """Which path each directory has afterwards: its own where it can, else that of its inode.

    A directory that was renamed while the tree was walked may have been found twice.
    """
    claims = {b"": b""}
    free: dict[Inode, bytes] = {}
    for path, new in wanted.items():
        if path and new.kind == stat.S_IFDIR:
            old = known.get(path)
            if old is not None and (old.inode, old.kind) == (new.inode, new.kind):
                claims[path] = path
            else:
                free.setdefault(new.inode, path)
    for path, old in known.items():
        if old.kind == stat.S_IFDIR and path not in claims and old.inode in free:
            claims[path] = free.pop(old.inode)
    return claims
