"""A dead worker that hangs in a leg has its lock; somebody else waits for that lock and gets it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.containers import CONTAINERS, path_of
from holdfast.containers.back_end import identity_of
from holdfast.gate.members.configuration import LegEntry
from holdfast.gate.members.superblock import container_bytes_needed
from holdfast.gate.repair.opening import open_behind
from holdfast.gate.runtime import shared_page
from tests.plugs.gate import SIZE, MemoryGate
from tests.plugs.memory_container import MEDIA, MemoryContainer


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryGate]:
    monkeypatch.setitem(CONTAINERS, "memory", MemoryContainer)
    gate = MemoryGate(tmp_path, 1)
    yield gate
    gate.close()
    MEDIA.clear()


@pytest.fixture
def entry(gate: MemoryGate, tmp_path: Path) -> LegEntry:
    """Of an image that was a leg."""
    image = tmp_path / "leg.img"
    image.touch(0o600)
    os.truncate(image, container_bytes_needed(SIZE))
    shared_page.remember_container(gate.cells, 9, identity_of(image.stat()))
    return LegEntry(9, "x", f"file:{image}")


def test_an_image_without_its_lock_is_left_alone(gate: MemoryGate, entry: LegEntry) -> None:
    image = Path(path_of(entry.url))
    inherited = os.open(image, os.O_RDWR)
    with image.open("r+b") as somebody:
        fcntl.flock(somebody, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            gate.run(lambda hand: open_behind(gate.recovery, hand, entry, inherited))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(inherited)


def test_what_leads_elsewhere_keeps_its_lock(gate: MemoryGate, entry: LegEntry) -> None:
    """A number may be another thread's by now, and lead to a leg of another volume."""
    other = Path(path_of(entry.url)).with_name("other.img")
    other.touch()
    with other.open("r+b") as owner, other.open("r+b") as somebody:
        fcntl.flock(owner, fcntl.LOCK_EX)
        inherited = os.dup(owner.fileno())
        with pytest.raises(BlockingIOError):
            gate.run(lambda hand: open_behind(gate.recovery, hand, entry, inherited))
        with pytest.raises(BlockingIOError):
            fcntl.flock(somebody, fcntl.LOCK_EX | fcntl.LOCK_NB)
