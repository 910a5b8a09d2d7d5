"""Programs that tell files apart by their inode numbers, which a copied tree does not keep.

A file system gives out its own numbers, so after files were copied st_ino and st_dev of every one
are others; when a gate is put under a file system in place, only st_dev is. Most programs never
look. SQLite does: it remembers both of a database it has opened.

    rollback journal (its default)  each write of a connection that was opened before fails with
                                    SQLITE_READONLY_DBMOVED (os_unix.c, fileHasMoved)
    write-ahead log                 goes on; but a process that opens a further connection while an
                                    older one is open takes them for two databases, and its locks do
                                    not exclude each other any more (os_unix.c, findInodeInfo)

Samba finds by both, in a database of its own, who has a file open and keeps whom out (locking.tdb,
vfs_file_id_from_sbuf): who opens a file afterwards is not kept out by who had it open before, and a
new file that got an old number counts as open. Dovecot takes an index log that it has open for
another one by its number (mail-transaction-log.c), and ends the session.

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

_SAMBA = "smbd"
_DOVECOT_LOGS = ("dovecot.index.log", "dovecot.list.index.log", "dovecot.map.index.log")
"""Of a mailbox, of the list of mailboxes, of dbox storage."""

_MOST_FILES = 4096
_NAMED_AT_MOST = 3


def about_inode_numbers(
    users: Sequence[User], *, answers: bool, copied: bool = True
) -> list[Finding]:
    """What changes for what these users have open.

    `copied`: False when only the device has another number afterwards. `answers`: False when the
    storage may hang: then only databases with a write-ahead log are known, by the names of files.
    Blocks some seconds when it hangs all the same.
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
    if rolled_back and copied:
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
    going_on = sorted(logged if copied else logged.union(rolled_back))
    if going_on:
        found.append(
            Finding(
                "SQLite with a write-ahead log" if copied else "SQLite",
                Verdict.LIMITED,
                f"{first_of(going_on, _NAMED_AT_MOST)} open in {_processes(users, going_on)}",
                "Its connections go on. Inode or device numbers change: a process that opens a"
                " further connection while an older one is still open would lock in vain, and"
                " committed changes could be lost.",
                "Let such programs (with pools of connections) open all of theirs anew soon.",
            )
        )
    verdict = Verdict.NEEDS_FORCE if answers else Verdict.LIMITED  # nobody can close anything then
    return [*found, *_of_samba(users, verdict), *_of_dovecot(users, verdict)]


def _of_samba(users: Sequence[User], verdict: Verdict) -> list[Finding]:
    opened = sorted(
        {
            handle.inside
            for user in users
            if user.name.startswith(_SAMBA)
            for handle in user.handles
            if handle.kind is HandleKind.FILE
        }
    )
    if not opened:
        return []
    return [
        Finding(
            "files that clients of Samba have open",
            verdict,
            f"{first_of(opened, _NAMED_AT_MOST)} open in {_processes(users, opened)}",
            "Inode or device numbers change, and Samba goes by them: a client that opens such a"
            " file afterwards is not kept out by who has it open already, and a new file may be"
            " taken for one of them.",
            "Let clients close them first (smbstatus; smbcontrol smbd close-share SHARE), or use"
            " --force and let them be opened anew soon.",
        )
    ]


def _of_dovecot(users: Sequence[User], verdict: Verdict) -> list[Finding]:
    logs = sorted(
        {
            handle.inside
            for user in users
            for handle in user.handles
            if handle.inside.rpartition("/")[2] in _DOVECOT_LOGS
        }
    )
    if not logs:
        return []
    return [
        Finding(
            "indexes of Dovecot in use",
            verdict,
            f"{first_of(logs, _NAMED_AT_MOST)} open in {_processes(users, logs)}",
            "Inode or device numbers change, and Dovecot goes by them: these sessions get"
            " errors ([SERVERBUG]), and clients have to connect again. No mail is lost.",
            "Have indexes elsewhere (mail_location with INDEX=), or let the sessions end first, or"
            " use --force.",
        )
    ]


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
