"""An opened leg owns its descriptor, an inherited one too, and never makes its container larger."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.containers.back_end import DescriptorBackEnd
from holdfast.errors import ContainerFailed, HoldfastError
from holdfast.gate.members.configuration import LegEntry
from holdfast.gate.members.leg import open_leg
from holdfast.gate.members.superblock import Superblock, container_bytes_needed

SIZE = 1 << 20


pytestmark = pytest.mark.usefixtures("memory_kind")


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


def test_a_truncated_container_is_not_extended_to_be_erased(tmp_path: Path) -> None:
    image = tmp_path / "leg.img"
    with image.open("wb") as file:
        file.truncate(container_bytes_needed(SIZE))
    image.chmod(0o600)
    leg, _ = open_leg(LegEntry(1, "leg-1", f"file:{image}"), SIZE)
    os.truncate(image, SIZE)
    with pytest.raises(OSError, match="truncated"):
        leg.erase()
    assert image.stat().st_size == SIZE
    leg.discard()


class ClosedMeanwhile(DescriptorBackEnd):
    """Another thread closes it after this one has looked."""

    @property
    def descriptor(self) -> int:
        number, self.left = self.left, -1
        return number

    @descriptor.setter
    def descriptor(self, number: int) -> None:
        self.left = number


def test_a_flush_beside_a_close_is_an_error_of_the_system(tmp_path: Path) -> None:
    with (tmp_path / "image").open("wb") as file:
        ClosedMeanwhile(file.fileno()).flush()


class TruncatedMeanwhile(DescriptorBackEnd):
    """Somebody truncates the image between the look at its size and the next write."""

    image: Path
    to_bytes = -1

    def write(self, view: memoryview, offset: int) -> None:
        if self.to_bytes >= 0:
            os.truncate(self.image, self.to_bytes)
        super().write(view, offset)


@pytest.mark.parametrize("writes_before", [2, 3, 4, 5])
@pytest.mark.parametrize("to_bytes", [0, SIZE, SIZE + 4096])
def test_a_container_that_a_superblock_made_long_again_is_not_whole(
    tmp_path: Path, writes_before: int, to_bytes: int
) -> None:
    """At the latest the next look finds it: what was cut off reads as zeros now."""
    image = tmp_path / "leg.img"
    with image.open("wb") as file:
        file.truncate(container_bytes_needed(SIZE))
    image.chmod(0o600)
    leg, _ = open_leg(LegEntry(1, "leg-1", f"file:{image}"), SIZE)
    superblock = Superblock("volume", "leg-1", 1, SIZE, epoch=1, sequence=0)
    device = TruncatedMeanwhile(os.dup(leg.descriptor))
    device.image = image
    device.expect(leg.container_bytes)
    leg.use(device)
    for _ in range(writes_before):
        leg.write_superblock(superblock)
    device.to_bytes = to_bytes
    with pytest.raises(OSError, match="truncated"):
        leg.write_superblock(superblock)
        device.check_whole()
    device.close()


def test_a_bad_place_in_the_other_slot_is_no_truncation(tmp_path: Path) -> None:
    image = tmp_path / "leg.img"
    with image.open("wb") as file:
        file.truncate(container_bytes_needed(SIZE))
    image.chmod(0o600)
    leg, _ = open_leg(LegEntry(1, "leg-1", f"file:{image}"), SIZE)

    class BadPlaces(DescriptorBackEnd):
        def read(self, view: memoryview, offset: int) -> None:
            raise OSError(errno.EIO, "bad place")

    device = BadPlaces(os.dup(leg.descriptor))
    device.expect(leg.container_bytes)
    leg.use(device)
    for _ in range(4):
        leg.write_superblock(Superblock("volume", "leg-1", 1, SIZE, epoch=1, sequence=0))
    device.close()
