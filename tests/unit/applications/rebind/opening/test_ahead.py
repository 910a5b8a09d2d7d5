"""What several children open ahead is what one that opens everything would have opened."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.applications.rebind.opening.opener import Opener, close_opened
from holdfast.applications.rebind.opening.requests import Expected, OpenRequest
from holdfast.applications.rebind.parking.relocation import OtherContents
from holdfast.model.handle import HandleOutcome

MOUNT = 11
COUNT = 250


@contextmanager
def opener_of(folder: Path) -> Iterator[Opener]:
    base = os.open(folder / "files", os.O_PATH)
    deadline_ns = time.monotonic_ns() + 60 * 10**9
    with Opener({MOUNT: base}, folder, deadline_ns, OtherContents(), same_data=True) as opener:
        yield opener
    os.close(base)


def wanted(name: str, **more: object) -> OpenRequest:
    return OpenRequest(name, MOUNT, name, os.O_RDONLY, Expected.FILE, **more)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    for number in range(COUNT):
        (tmp_path / "files" / str(number)).write_text(str(number))
    (tmp_path / "kept").write_text("kept")
    os.mkfifo(tmp_path / "files" / "fifo")
    return tmp_path


def opened_by(opener: Opener, turns: Sequence[Sequence[OpenRequest]]) -> list[tuple[object, ...]]:
    """Key, outcome, words, and what can be read at each descriptor's place."""
    found: list[tuple[object, ...]] = []
    for turn in turns:
        results = opener.open(turn)
        assert list(results) == [each.key for each in turn]
        for key, each in results.items():
            text = b"" if each.descriptor is None else os.read(each.descriptor, 10)
            found.append((key, each.outcome, each.note, text))
        close_opened(results.values())
    return found


def test_the_same_as_without(folder: Path) -> None:
    numbers = [wanted(str(number), offset=number % 2) for number in range(COUNT)]
    carried = replace(wanted("carried"), contents="kept", deleted=True)
    others = [wanted("missing"), carried, wanted("fifo")]
    turns = [[numbers[0]], [], [*numbers[1:120], *others], numbers[120:]]
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with opener_of(folder) as opener:
        opener.begin(turns)
        ahead = opened_by(opener, turns)
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    with opener_of(folder) as opener:
        assert ahead == opened_by(opener, turns)
    by_key = {key: (outcome, text) for key, outcome, _, text in ahead}
    assert by_key["carried"] == (HandleOutcome.IDENTICAL, b"kept")
    assert by_key["missing"] == by_key["fifo"] == (HandleOutcome.FILE_MISSING, b"")
    assert by_key["101"] == (HandleOutcome.IDENTICAL, b"01")


def test_turns_that_nobody_fetches_are_no_harm(folder: Path) -> None:
    turns = [[wanted(str(number)) for number in range(start, start + 50)]
             for start in range(0, COUNT, 50)]  # fmt: skip
    with opener_of(folder) as opener:
        opener.begin(turns)
        assert len(opened_by(opener, turns[2:3])) == 50
        assert len(opened_by(opener, [[wanted("7")]])) == 1


def test_what_was_set_aside_is_given_back_before_anything_is_opened(folder: Path) -> None:
    (folder / "set-aside-1-2").write_text("torn")
    turns = [[wanted(str(number)) for number in range(COUNT)]]
    with opener_of(folder) as opener:
        opener.begin(turns)
        assert len(opened_by(opener, turns)) == COUNT
    assert not list(folder.glob("set-aside-*"))
