"""The child that opens files begins with what comes next, and nothing is lost or left open."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.applications.rebind.opening.opener import Opener, close_opened
from holdfast.applications.rebind.opening.requests import Expected, OpenRequest
from holdfast.applications.rebind.parking.relocation import OtherContents

MOUNT = 11
COUNT = 250


def wanted(*numbers: int) -> list[OpenRequest]:
    return [
        OpenRequest(str(each), MOUNT, str(each), os.O_RDONLY, Expected.FILE) for each in numbers
    ]


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[Opener]:
    for number in range(COUNT):
        (tmp_path / str(number)).write_text(str(number))
    base = os.open(tmp_path, os.O_PATH)
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    deadline_ns = time.monotonic_ns() + 30 * 10**9
    with Opener({MOUNT: base}, tmp_path, deadline_ns, OtherContents(), same_data=True) as opener:
        yield opener
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    os.close(base)


def read(opener: Opener, asked: list[OpenRequest], then: list[OpenRequest]) -> list[str]:
    """What is in the files that were opened, in order."""
    opened = opener.open(asked, then=then)
    assert list(opened) == [each.key for each in asked]
    found = []
    for each in opened.values():
        assert each.descriptor is not None
        found.append(os.read(each.descriptor, 10).decode())
    close_opened(opened.values())
    return found


def test_what_comes_next_is_asked_for_meanwhile(opener: Opener) -> None:
    turns = [[], wanted(1, 2), [], wanted(*range(COUNT)), wanted(3), []]
    for number, turn in enumerate(turns[:-1]):
        assert read(opener, turn, turns[number + 1]) == [each.key for each in turn]


def test_something_else_than_was_announced(opener: Opener) -> None:
    assert read(opener, wanted(1), wanted(*range(COUNT))) == ["1"]
    assert read(opener, wanted(5, 6), []) == ["5", "6"]
