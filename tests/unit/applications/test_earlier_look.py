"""What an earlier look found is taken over only where everything that is read again is the same."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.applications.earlier_look import (
    EarlierLook,
    is_looked_at,
    known_handle,
    known_user,
    looking_after,
)
from holdfast.applications.fdinfo import common_lines, parse_information
from holdfast.model.handle import Application, FileLock, Handle, HandleKind, LockKind, User
from holdfast.system.proc import ProcessFacts

HANDLE = Handle(
    HandleKind.FILE, 11, "/mnt/file", 5, "file", "rw", number=3, offset=7, flags=2, inode=99
)
NOW = b"pos:\t7\nflags:\t02\nmnt_id:\t5\nino:\t99\n"
LOCK = b"lock:\t1: FLOCK  ADVISORY  WRITE 11 00:27:99 0 EOF\n"


def known(handle: Handle, target: str, now: bytes, number: int = 3) -> Handle | None:
    user = User(11, 1, "name", "command", 0, Application("name"), (11,), 1, (handle,))
    with looking_after(EarlierLook([user]), (0, 1, 2), 3):
        return known_handle(11, None, number, target, now)


def test_nothing_has_changed() -> None:
    assert known(HANDLE, "/mnt/file", NOW) is HANDLE


def test_its_locks() -> None:
    locked = replace(HANDLE, locks=(FileLock(LockKind.FLOCK, "write", holder_pid=11),))
    assert known(locked, "/mnt/file", NOW + LOCK) is locked
    assert known(locked, "/mnt/file", NOW) is None
    assert known(locked, "/mnt/file", NOW + LOCK.replace(b"WRITE", b"READ")) is None
    assert known(HANDLE, "/mnt/file", NOW + LOCK) is None


@pytest.mark.parametrize("change", [
    (b"pos:\t7", b"pos:\t8"),
    (b"flags:\t02", b"flags:\t02000002"),
    (b"mnt_id:\t5", b"mnt_id:\t55"),
    (b"ino:\t99", b"ino:\t98"),
    (b"ino:\t99", b"ino:\t990"),
])  # fmt: skip
def test_anything_has_changed(change: tuple[bytes, bytes]) -> None:
    assert known(HANDLE, "/mnt/file", NOW.replace(*change)) is None


def test_how_the_kernel_says_it(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        file.write("some text")
        file.flush()
        text = Path(f"/proc/self/fdinfo/{file.fileno()}").read_bytes()
        now = parse_information(text)
        handle = replace(
            HANDLE,
            offset=9,
            flags=now.flags,
            mount_id=now.mount_id,
            inode=os.fstat(file.fileno()).st_ino,
        )
        assert common_lines(handle) == text


def test_another_name_or_number() -> None:
    assert known(HANDLE, "/mnt/other", NOW) is None
    assert known(HANDLE, "/mnt/file (deleted)", NOW) is None
    assert known(HANDLE, "/mnt/file", NOW, number=4) is None


def test_one_without_a_name_is_settled_again() -> None:
    deleted = replace(HANDLE, deleted=True)
    assert known(deleted, "/mnt/file (deleted)", NOW) is None
    assert known(deleted, "/mnt/file", NOW) is None


def test_a_user_is_known_while_it_is_the_same_process_with_the_same_program() -> None:
    user = User(11, 77, "name", "command", 0, Application("name"), (11, 12), 1, (HANDLE,), "S")
    now = ProcessFacts(11, "name", "t", False, 2, 77)
    with looking_after(EarlierLook([user]), (0,), 1):
        assert known_user(now) == replace(user, state="t")
        for change in ({"pid": 12}, {"start_time": 78}, {"name": "other"}, {"threads": 3}):
            assert known_user(replace(now, **change)) is None
    assert known_user(now) is None


def test_nothing_is_known_otherwise_and_every_process_is_looked_at() -> None:
    assert known_handle(11, None, 3, "/mnt/file", NOW) is None
    with looking_after(EarlierLook([]), (2,), 3):
        assert [pid for pid in range(6) if is_looked_at(pid)] == [2, 5]
    assert all(map(is_looked_at, range(6)))
