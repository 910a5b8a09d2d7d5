"""What an earlier look found is taken over only where everything that is read again is the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.applications.earlier_look import (
    is_looked_at,
    known_handle,
    known_user,
    looking_after,
)
from holdfast.applications.fdinfo import Information
from holdfast.model.handle import Application, FileLock, Handle, HandleKind, LockKind, User
from holdfast.system.proc import ProcessFacts

HANDLE = Handle(
    HandleKind.FILE, 11, "/mnt/file", 5, "file", "rw", number=3, offset=7, flags=2, inode=99
)
NOW = Information(offset=7, flags=2, mount_id=5, inode=99, locks=())


def known(handle: Handle, target: str, now: Information, number: int = 3) -> Handle | None:
    user = User(11, 1, "name", "command", 0, Application("name"), (11,), 1, (handle,))
    with looking_after([user], (0, 1, 2), 3):
        return known_handle(11, None, number, target, now)


def test_nothing_has_changed() -> None:
    assert known(HANDLE, "/mnt/file", NOW) is HANDLE


@pytest.mark.parametrize("change", [
    {"offset": 8},
    {"flags": 0o2000002},
    {"mount_id": 6},
    {"inode": 98},
    {"locks": (FileLock(LockKind.FLOCK, "write"),)},
])  # fmt: skip
def test_anything_has_changed(change: dict[str, object]) -> None:
    assert known(HANDLE, "/mnt/file", NOW._replace(**change)) is None


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
    with looking_after([user], (0,), 1):
        assert known_user(now) == replace(user, state="t")
        for change in ({"pid": 12}, {"start_time": 78}, {"name": "other"}, {"threads": 3}):
            assert known_user(replace(now, **change)) is None
    assert known_user(now) is None


def test_nothing_is_known_otherwise_and_every_process_is_looked_at() -> None:
    assert known_handle(11, None, 3, "/mnt/file", NOW) is None
    with looking_after([], (2,), 3):
        assert [pid for pid in range(6) if is_looked_at(pid)] == [2, 5]
    assert all(map(is_looked_at, range(6)))
