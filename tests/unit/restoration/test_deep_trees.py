"""A tree costs what its names cost, however deep it is: whoever may make directories can make one.

The work is counted: how many names openat2(2) is made to go through. Of a tree twice as deep, with
twice as many names, it is twice as much; where each was looked up from the root, four times.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from holdfast.restoration.copying.passes import Replica
from holdfast.restoration.copying.trees.locating import locate
from holdfast.system.files import beneath

LEVELS = 256
"""The smaller tree's; as many as lie between two directories that are held open."""
BETWEEN_TWICE_AND_FOUR_TIMES = 3

Fill = Callable[[int, int], None]
"""Put something into the directory (a descriptor) at this level."""


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    # Not left to pytest, which goes down by recursion.
    subprocess.run(["rm", "-rf", *tmp_path.iterdir()], check=True)


def chain(root: Path, levels: int, fill: Fill = lambda folder, level: None) -> int:
    """One directory in the other; the descriptor of the last. The caller closes."""
    root.mkdir()
    folder = os.open(root, os.O_RDONLY)
    for level in range(levels):
        os.mkdir("d", dir_fd=folder)
        fill(folder, level)
        deeper = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    return folder


@contextmanager
def counted() -> Iterator[list[int]]:
    """How many names were looked up meanwhile."""
    names = [0]

    def called(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is beneath._open.__code__:
            names[0] += frame.f_locals["path"].count(b"/") + 1

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        yield names
    finally:
        sys.setprofile(before)


def copier(place: Path) -> Replica:
    (place / "target").mkdir()
    paths = os.fsencode(place / "source"), os.fsencode(place / "target")
    return Replica(*paths, lambda: None)


def a_chain(place: Path, levels: int) -> None:
    os.close(chain(place / "source", levels))


def a_comb(place: Path, levels: int) -> None:
    """A second directory beside each, with one in it."""

    def fill(folder: int, level: int) -> None:
        for path in ("e", "e/f"):
            os.mkdir(path, dir_fd=folder)

    os.close(chain(place / "source", levels, fill))


def two_chains(place: Path, levels: int) -> None:
    (place / "source").mkdir()
    for name in "ab":
        os.close(chain(place / "source" / name, levels))


def links_between_two(place: Path, levels: int) -> None:
    """Files at one end that have their other names at the other end."""
    two_ends = []
    (place / "source").mkdir()
    for name in "ab":
        two_ends.append(chain(place / "source" / name, levels))
    for number in range(levels):
        os.close(os.open(f"{number}", os.O_CREAT | os.O_WRONLY, dir_fd=two_ends[0]))
        os.link(f"{number}", f"{number}", src_dir_fd=two_ends[0], dst_dir_fd=two_ends[1])
    for end in two_ends:
        os.close(end)


def looked_up(places: Path, work: Callable[[Path, int], int]) -> tuple[int, int]:
    """How many names that work looks up in a tree, and in one twice as deep."""
    found = []
    for levels in (LEVELS, 2 * LEVELS):
        place = places / str(levels)
        place.mkdir()
        found.append(work(place, levels))
    return found[0], found[1]


@pytest.mark.parametrize("make", [a_chain, a_comb, two_chains, links_between_two])
def test_copied(make: Callable[[Path, int], None], places: Path) -> None:
    def copy(place: Path, levels: int) -> int:
        make(place, levels)
        replica = copier(place)
        with counted() as names:
            replica.run_pass()
            assert replica.run_pass(verify=True).differences == []
        return names[0]

    once, twice = looked_up(places, copy)
    assert once > 4 * LEVELS
    assert twice < BETWEEN_TWICE_AND_FOUR_TIMES * once


def test_names_of_the_end_change(places: Path) -> None:
    """Directories deep below are renamed, others take their names, and what they held goes."""

    def rename(place: Path, levels: int) -> int:
        end = chain(place / "source", levels)
        for number in range(levels):
            os.mkdir(f"{number}", dir_fd=end)
            os.mkdir(f"{number}/gone", dir_fd=end)
        replica = copier(place)
        replica.run_pass()
        for number in range(levels):
            os.rmdir(f"{number}/gone", dir_fd=end)
            os.rename(f"{number}", f"renamed-{number}", src_dir_fd=end, dst_dir_fd=end)
            os.mkdir(f"{number}", dir_fd=end)
        os.close(end)
        with counted() as names:
            assert replica.run_pass(verify=True).differences == []
        return names[0]

    once, twice = looked_up(places, rename)
    assert twice < BETWEEN_TWICE_AND_FOUR_TIMES * once


def test_a_target_that_is_full_is_cleared(places: Path) -> None:
    def clear(place: Path, levels: int) -> int:
        os.close(chain(place / "target", levels))
        (place / "source").mkdir()
        paths = os.fsencode(place / "source"), os.fsencode(place / "target")
        replica = Replica(*paths, lambda: None)
        with counted() as names:
            assert replica.run_pass(verify=True).differences == []
        return names[0]

    once, twice = looked_up(places, clear)
    assert twice < BETWEEN_TWICE_AND_FOUR_TIMES * once


def test_found_by_number(places: Path) -> None:
    def find(place: Path, levels: int) -> int:
        end = chain(place / "source", levels)
        for number in range(levels):
            os.close(os.open(f"{number}", os.O_CREAT | os.O_WRONLY, dir_fd=end))
        os.close(end)
        replica = copier(place)
        replica.run_pass()
        questions = [
            (str(number), "", each.inode[1], os.fsdecode(path))
            for number, (path, each) in enumerate(replica.known.items())
        ]
        root = os.open(place / "target", os.O_PATH)
        with counted() as names:
            assert len(locate(replica.known, None, root, questions)) == len(questions)
        os.close(root)
        return names[0]

    once, twice = looked_up(places, find)
    assert twice < BETWEEN_TWICE_AND_FOUR_TIMES * once
