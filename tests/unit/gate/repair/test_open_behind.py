"""A dead worker that hangs in a leg has its lock; somebody else waits for that lock and gets it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.containers import CONTAINERS
from holdfast.gate.members.configuration import LegEntry
from holdfast.gate.members.superblock import container_bytes_needed
from holdfast.gate.repair.opening import open_behind
from tests.plugs.gate import SIZE, MemoryGate
from tests.plugs.memory_container import MEDIA, MemoryContainer


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryGate]:
    monkeypatch.setitem(CONTAINERS, "memory", MemoryContainer)
    gate = MemoryGate(tmp_path, 1)
    yield gate
    gate.close()
    MEDIA.clear()


def test_an_image_without_its_lock_is_left_alone(gate: MemoryGate, tmp_path: Path) -> None:
    image = tmp_path / "leg.img"
    image.touch(0o600)
    os.truncate(image, container_bytes_needed(SIZE))
    inherited = os.open(image, os.O_RDWR)
    entry = LegEntry(9, "x", f"file:{image}")
    with image.open("r+b") as somebody:
        fcntl.flock(somebody, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            gate.run(lambda hand: open_behind(gate.recovery, hand, entry, inherited))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(inherited)
