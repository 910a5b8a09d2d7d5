"""Who is asked for permission, and need not stand still."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.applications.asked import goes_on
from holdfast.applications.rebind.scan import judge
from holdfast.model.handle import (
    Application,
    FileLock,
    Handle,
    HandleKind,
    HandleVerdict,
    LockKind,
    User,
)

MARK = Handle(HandleKind.FANOTIFY, 11, "/data", number=3, mode="mount", flags=0x10000)
LOCK = FileLock(LockKind.FLOCK, "read")
READ = Handle(HandleKind.FILE, 11, "/data/x", number=4, mode="r")


def user(*handles: Handle) -> User:
    return User(11, 7, "name", "command", 0, Application("name"), (11,), 1, handles)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (replace(MARK, mode="filesystem", flags=0x8), True),
        (READ, True),
        (Handle(HandleKind.MAP, 11, "/data/x", mode="r--p"), True),
        (Handle(HandleKind.DIRECTORY, 11, "/data", number=4, mode="r"), True),
        (replace(MARK, mode="inode", flags=0x8), False),
        (replace(MARK, thread_id=12), False),
        (replace(MARK, flags=0x100000), False),
        (replace(READ, mode="rw"), False),
        (replace(READ, locks=(LOCK,)), False),
        (Handle(HandleKind.MAP, 11, "/data/x", mode="r-xp"), False),
        (Handle(HandleKind.WORKING_DIRECTORY, 11, "/data"), False),
    ],
)
def test_what_else_it_may_have(more: Handle, expected: bool) -> None:
    assert goes_on(user(MARK, more)) is expected
    assert not goes_on(user(more))
    judged = judge([user(MARK, more)], asked_go_on=True)
    if expected:
        assert next(each.verdict for each in judged) is HandleVerdict.RECREATED
        assert HandleVerdict.BLOCKS not in {each.verdict for each in judged}
    else:
        assert HandleVerdict.BLOCKS in {each.verdict for each in judged}
    assert judge([user(MARK, more)])[0].verdict is HandleVerdict.BLOCKS


@pytest.mark.parametrize("state", ["T", "t"])
def test_one_that_stands_answers_nobody(state: str) -> None:
    assert not goes_on(replace(user(MARK), state=state))
