"""The look of a child at all users: the same users as if we had looked, whatever has changed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

from holdfast.applications.earlier_look import EarlierLook, is_looked_at
from holdfast.applications.rebind.stopping.second_look import SecondLook
from holdfast.errors import Blocked
from holdfast.model.handle import Application, Handle, HandleKind, User
from holdfast.system.processes.process_state import children_of, read_state
from tests.waiting import wait_until

US = os.getpid()
MANY = 20


def user(pid: int, count: int) -> User:
    handles = tuple(Handle(HandleKind.FILE, pid, f"/{pid}/{n}", number=n) for n in range(count))
    return User(pid, 7, "name", "command", 0, Application("name"), (pid,), 1, handles)


KNOWN = [user(11, 3), user(12, 2), user(13, 0)]


def looked(find: Callable[[], list[User]], known: list[User]) -> list[User]:
    look = SecondLook(find, EarlierLook(known), MANY)
    try:
        look.begin(MANY)
        return look.users()
    finally:
        look.end()


def found_by(now: list[User]) -> list[User]:
    return looked(lambda: now, KNOWN)


def test_nothing_has_changed() -> None:
    assert found_by(KNOWN) == KNOWN


def test_what_is_unchanged_is_not_made_again() -> None:
    (first, *_) = found_by(KNOWN)
    assert all(new is old for new, old in zip(first.handles, KNOWN[0].handles, strict=True))


def test_a_position_has_changed() -> None:
    moved = replace(KNOWN[0].handles[1], offset=4096)
    now = [replace(KNOWN[0], handles=(KNOWN[0].handles[0], moved, KNOWN[0].handles[2])), KNOWN[1]]
    assert found_by(now) == now


@pytest.mark.parametrize("now", [
    [],
    [*KNOWN, user(14, 2)],
    [user(11, 4), user(12, 1), user(13, 1)],
    [replace(KNOWN[0], handles=KNOWN[0].handles[::-1])],
    [replace(KNOWN[1], state="t", threads=(12, 99))],
])  # fmt: skip
def test_users_and_handles_come_and_go(now: list[User]) -> None:
    assert found_by(now) == now


@pytest.mark.parametrize("count", [10, 4000])
def test_each_user_is_found_once_whoever_looks(count: int) -> None:
    known = [user(pid, count) for pid in range(11, 17)]
    now = [*known[:2], user(13, count + 1), *known[3:], user(17, 1), user(18, 2)]

    def find() -> list[User]:
        return [each for each in now if is_looked_at(each.pid)]

    assert looked(find, known) == now


def test_what_the_look_refuses_is_refused() -> None:
    def find() -> list[User]:
        raise Blocked("it must not be stopped", "None.")

    with pytest.raises(Blocked, match="must not be"):
        looked(find, KNOWN)


def test_a_child_that_is_killed_is_replaced_by_ourselves() -> None:
    def find() -> list[User]:
        if os.getpid() != US:
            os.kill(os.getpid(), signal.SIGKILL)
        return KNOWN[:1]

    assert looked(find, KNOWN) == KNOWN[:1]


def test_a_child_that_is_killed_while_it_waits_is_replaced_by_ourselves() -> None:
    before = set(children_of(US))
    look = SecondLook(lambda: KNOWN[:1], EarlierLook(KNOWN), MANY)
    (child,) = set(children_of(US)) - before
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: is_dead(child), "it does not end")
    look.begin(MANY)
    assert look.users() == KNOWN[:1]
    look.end()
    assert set(children_of(US)) <= before


def test_a_child_that_is_not_needed_looks_at_nothing_and_ends() -> None:
    before = set(children_of(US))
    reading, writing = os.pipe()

    def find() -> list[User]:
        os.write(writing, b"looked")
        return []

    look = SecondLook(find, EarlierLook(KNOWN), MANY)
    look.end()
    look.end()
    os.close(writing)
    assert not os.read(reading, 10)
    os.close(reading)
    assert set(children_of(US)) <= before


def is_dead(pid: int) -> bool:
    state = read_state(pid)
    return state is None or state.state == "Z"
