"""What watches and marks are on: what is known of its inode, and how it is opened again."""

from __future__ import annotations

import os

from holdfast.applications.rebind.opening.requests import Expected, OpenRequest
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.observed import Observed
from holdfast.system.files.inode_identity import identity_from


def watched_inode(inode: int, kind: int, handle: str, *, lasting: bool) -> Observed:
    """Nothing but what the instance says: the inode's number and its file handle (its type, and in
    hexadecimal), which counts where it outlasts a dismount."""
    identity = identity_from(kind, bytes.fromhex(handle) if lasting else b"")
    return Observed(0, inode, 0, -1, 0, identity=identity)


def request_of_watched(
    note: HandleNote, key: str, was: Observed | None, *, known: bool
) -> OpenRequest:
    """`known`: whether a path leads to it."""
    return OpenRequest(
        key=key,
        mount_id=note.handle.mount_id,
        path=note.details.inside,
        flags=os.O_PATH | os.O_NOFOLLOW,
        expected=Expected.ANYTHING,
        deleted=note.handle.deleted or not known,
        was=was,
        is_watched=True,
    )
