"""Programs that tell files apart by their inode numbers, which a copied tree does not keep.

A file system gives out its own numbers, so after files were copied st_ino and st_dev of every one
are others. Most programs never look. SQLite does: it remembers both of a database it has opened.

    rollback journal (its default)  each write of a connection that was opened before fails with
                                    SQLITE_READONLY_DBMOVED (os_unix.c, fileHasMoved)
    write-ahead log                 goes on; but a process that opens a further connection while an
                                    older one is open takes them for two databases, and its locks do
                                    not exclude each other any more (os_unix.c, findInodeInfo)

Must never open a file: that would break leases and wake those who watch it. A copy of the program's
own descriptor is read, by an expendable child.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from holdfast.model.finding import Finding, Verdict
from holdfast.model.handle import Handle, HandleKind, User
from holdfast.model.listing import first_of
from holdfast.system.children.expendable_batch import ask_each
from holdfast.system.processes.process import copy_descriptor

_MAGIC = b"SQLite format 3\0"
"""The first 16 bytes of every database: sqlite.org, fileformat2, section 1.3."""

_MOST_FILES = 4096
_NAMED_AT_MOST = 3


def about_inode_numbers(users: Sequence[User], *, answers: bool) -> list[Finding]:
    """What changes for the SQLite databases that these users have open.

    `answers`: False when the storage may hang: then only those with a write-ahead log are known, by
    the names of their files. Blocks some seconds when it hangs all the same.
    """
    logged = {
        handle.inside.removesuffix("-shm")
        for user in users
        for handle in user.handles
        if handle.inside.endswith("-shm")
    }
    opened = {
        handle.inside: handle for user in users for handle in user.handles if _may_write(handle)
    }
    candidates = [handle for inside, handle in opened.items() if inside not in logged]
    rolled_back = _databases(candidates[:_MOST_FILES]) if answers else []
    found = []
    if rolled_back:
        found.append(
            Finding(
                "SQLite without a write-ahead log",
                Verdict.NEEDS_FORCE,
                f"{first_of(rolled_back, _NAMED_AT_MOST)} open in {_processes(users, rolled_back)}",
                "Inode numbers change when files are copied: every write of these connections will"
                " fail (attempt to write a readonly database) until they are opened anew.",
                "Switch them to journal_mode=wal, or let the program open them anew afterwards"
                " and use --force. A gated volume moved to a container without --fs keeps them.",
            )
        )
    if logged:
        names = sorted(logged)
        found.append(
            Finding(
                "SQLite with a write-ahead log",
                Verdict.LIMITED,
                f"{first_of(names, _NAMED_AT_MOST)} open in {_processes(users, names)}",
                "Its connections go on. Inode numbers change when files are copied: a process that"
                " opens a further connection while an older one is still open would lock in vain,"
                " and committed changes could be lost.",
                "Let such programs (with pools of connections) open all of theirs anew soon.",
            )
        )
    return found


def _may_write(handle: Handle) -> bool:
    return handle.kind is HandleKind.FILE and handle.mode == "rw" and not handle.deleted


def _databases(candidates: Sequence[Handle]) -> list[str]:
    answers = ask_each(_begins_as_database, candidates)
    return [
        handle.inside for handle, answer in zip(candidates, answers, strict=True) if answer is True
    ]


def _begins_as_database(handle: Handle) -> bool:
    try:
        descriptor = copy_descriptor(handle.pid, handle.number or 0)
    except OSError:
        return False
    try:
        return os.pread(descriptor, len(_MAGIC), 0) == _MAGIC
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _processes(users: Sequence[User], insides: Sequence[str]) -> str:
    names = [
        f"{user.name} (process {user.pid})"
        for user in users
        if any(handle.inside.removesuffix("-shm") in insides for handle in user.handles)
    ]
    return first_of(names, _NAMED_AT_MOST)
