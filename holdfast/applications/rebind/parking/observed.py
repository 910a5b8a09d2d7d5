"""A file as it is at one time: enough to find it again, and to compare it afterwards.

`observe` asks the file system, and blocks when that does: it runs in an expendable child.
`remembered_as` asks the kernel only.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import Annotated, Any

from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import Bounds, HalfWord, Word, made
from holdfast.system.files.inode_identity import identity_of
from holdfast.system.statx import remembered

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Observed:
    """A file at one time."""

    device: Word
    inode: Word
    mode: HalfWord
    size_bytes: Annotated[int, Bounds(-1, (1 << 64) - 1)]
    """-1: not told."""
    modified_ns: Annotated[int, Bounds(-(10**9 << 63), (10**9 << 63) - 1)]
    """Since 1970: XFS has times up to 2486, others have 64 bits of seconds."""
    digest: str = ""
    """Of the whole contents; empty: not taken."""
    user_id: HalfWord = 0
    group_id: HalfWord = 0
    links: Word = 1
    identity: str = ""
    """What the file system itself calls it, beyond a dismount (inode_identity); empty: not told."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of its fields, in the order in which `vars` has them."""
        return tuple(cls.__dataclass_fields__)


def observe(path: str | int, digest_limit_bytes: int = -1, *, lasting: bool = False) -> Observed:
    """Look at a file; takes a digest of files up to that size. Blocks when the storage does.

    `lasting`: its file system gives out identities that last.
    """
    status = os.stat(path)  # noqa: PTH116 - of a descriptor, too
    digest = ""
    if stat.S_ISREG(status.st_mode) and status.st_size <= digest_limit_bytes:
        digest = digest_of(path if isinstance(path, str) else f"/proc/self/fd/{path}")
    # All fields, in order: the constructor would take as long as the file system.
    values = {
        "device": status.st_dev,
        "inode": status.st_ino,
        "mode": status.st_mode,
        "size_bytes": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "digest": digest,
        "user_id": status.st_uid,
        "group_id": status.st_gid,
        "links": status.st_nlink,
        "identity": identity_of(path) if lasting else "",
    }
    return made(Observed, values)


def remembered_as(path: str, *, lasting: bool) -> Observed:
    """What the kernel remembers: storage that may hang is not asked, but resolving may block."""
    found = remembered(path)
    return Observed(
        device=os.makedev(*found.device),
        inode=found.inode,
        mode=found.mode,
        size_bytes=-1,
        modified_ns=0,
        user_id=found.user_id,
        group_id=found.group_id,
        links=found.links,
        identity=identity_of(path) if lasting else "",
    )


def check_path(path: str) -> None:
    """Raise ValueError when a text that was read can be no path. Pure."""
    if "\0" in path:
        raise ValueError("no path has a zero byte")
    if not path.isascii():
        os.fsencode(path)  # what was no byte of a name cannot become one


def digest_of(path: str) -> str:
    """A digest of a file's contents."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as file:
        while part := file.read(_CHUNK_BYTES):
            digest.update(part)
    return digest.hexdigest()
