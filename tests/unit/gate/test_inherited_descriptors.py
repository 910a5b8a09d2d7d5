"""A descriptor that an earlier worker had belongs to whoever opens the leg with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.containers import CONTAINERS
from holdfast.errors import ContainerFailed, HoldfastError
from holdfast.gate.members.configuration import LegEntry
from holdfast.gate.members.leg import open_leg
from tests.plugs.memory_container import MemoryContainer

SIZE = 1 << 20


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONTAINERS, "memory", MemoryContainer)


@pytest.fixture
def inherited(tmp_path: Path) -> Iterator[int]:
    """A descriptor of an image that is too small for any volume."""
    descriptor = os.open(tmp_path / "image", os.O_RDWR | os.O_CREAT)
    yield descriptor
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_of_a_container_that_cannot_be_taken_over(inherited: int) -> None:
    with pytest.raises(ContainerFailed):
        open_leg(LegEntry(1, "leg-1", "memory:/x"), SIZE, inherited=inherited)


def test_of_a_kind_that_nobody_knows(inherited: int) -> None:
    with pytest.raises(HoldfastError):
        open_leg(LegEntry(1, "leg-1", "unknown:/x"), SIZE, inherited=inherited)


def test_of_a_container_that_cannot_be_read(inherited: int) -> None:
    with pytest.raises(ContainerFailed):
        open_leg(LegEntry(1, "leg-1", "file:/x"), SIZE, inherited=inherited)
