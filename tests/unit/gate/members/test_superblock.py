"""The superblock: round trip, torn slots, the newest slot wins, direct I/O."""

from __future__ import annotations

import errno
import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.containers.back_end import DescriptorBackEnd
from holdfast.errors import InvalidUrl
from holdfast.gate.members import superblock as sb
from holdfast.model.bounded import NewerFormat
from holdfast.model.volume import LegState

BASE = sb.Superblock("volume", "leg", 1, 16 << 20, epoch=1, sequence=0)

NUMBERS = st.integers(0, 2**62 - 1)
SIZES = st.integers(1 << 40, 16 << 40)
LEG_NUMBERS = st.integers(0, 1 << 31)
TEXT = st.text(max_size=30)
STATES = st.sampled_from(LegState)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
SUPERBLOCKS = st.builds(
    sb.Superblock,
    volume_id=TEXT,
    leg_id=TEXT,
    leg_number=LEG_NUMBERS,
    size_bytes=SIZES,
    epoch=NUMBERS,
    sequence=NUMBERS,
    position=NUMBERS,
    state=STATES,
    members=st.lists(st.builds(sb.Member, LEG_NUMBERS, TEXT, TEXT, STATES), max_size=4).map(tuple),
    descriptor=st.dictionaries(TEXT, JSON, max_size=4),
    owner=TEXT,
)


Container = tuple[DescriptorBackEnd, int]


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    """Device and size of an empty container that is not a multiple of 4096 bytes long."""
    size_bytes = sb.container_bytes_needed(16 << 20) + 777
    path = tmp_path / "leg.img"
    path.touch()
    os.truncate(path, size_bytes)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_DIRECT)
    except OSError:
        descriptor = os.open(path, os.O_RDWR)
    device = DescriptorBackEnd(descriptor)
    yield device, size_bytes
    device.close()


def unsettled(superblock: sb.Superblock, before: int, in_sync: tuple[str, ...]) -> sb.Superblock:
    """The same, raised from an epoch so far before it."""
    epoch = max(1, superblock.epoch)
    return replace(superblock, epoch=epoch, raised_from=sb.Settled(max(0, epoch - before), in_sync))


UNSETTLED = st.builds(
    unsettled, SUPERBLOCKS, st.integers(1, 99), st.lists(TEXT, max_size=4).map(tuple)
)


@given(SUPERBLOCKS | UNSETTLED)
def test_round_trip(superblock: sb.Superblock) -> None:
    encoded = sb.encode(superblock)
    assert len(encoded) == sb.SLOT_BYTES
    assert sb.decode(encoded) == superblock


def slot_of(superblock: sb.Superblock, version: int = sb.VERSION, **more: object) -> bytes:
    """A slot as another version of Holdfast may write it: of its format, with further keys."""
    values = {**asdict(superblock), **more}
    del values["sequence"], values["raised_from"]
    body = json.dumps(values).encode()
    covered = struct.pack("<16sIIQ", sb.MAGIC, version, len(body), superblock.sequence)
    checksum = struct.pack("<I", zlib.crc32(body, zlib.crc32(covered)))
    slot = (covered + checksum).ljust(sb.HEADER_BYTES, b"\0") + body
    return slot.ljust(sb.SLOT_BYTES, b"\0")


def test_what_is_settled_is_written_as_version_0_1_0_did() -> None:
    """It refuses keys that it does not know, and writes zeros where the annex is announced."""
    assert sb.encode(at_end(BASE, 1 << 20)) == slot_of_the_first_version(at_end(BASE, 1 << 20))
    raised = replace(BASE, epoch=5, raised_from=sb.Settled(3, ("leg", "other")))
    encoded = sb.encode(raised)
    length = int.from_bytes(encoded[20:24], "little")
    assert "raised_from" not in json.loads(encoded[64 : 64 + length])
    assert json.loads(encoded[64 + length :].rstrip(b"\0")) == {
        "raised_from": {"epoch": 3, "in_sync": ["leg", "other"]}
    }


def slot_of_the_first_version(superblock: sb.Superblock) -> bytes:
    """As its program encodes it."""
    values = asdict(superblock)
    del values["sequence"], values["raised_from"]
    body = json.dumps(values, separators=(",", ":"), sort_keys=True).encode("ascii")
    covered = struct.pack("<16sIIQ", sb.MAGIC, 1, len(body), superblock.sequence)
    checksum = struct.pack("<I", zlib.crc32(body, zlib.crc32(covered)))
    return ((covered + checksum).ljust(64, b"\0") + body).ljust(sb.SLOT_BYTES, b"\0")


def test_an_annex_of_a_later_version_is_passed_over() -> None:
    slot = bytearray(sb.encode(replace(BASE, epoch=5, raised_from=sb.Settled(3, ("leg",)))))
    start = 64 + int.from_bytes(slot[20:24], "little")
    annex = b'{"colour":"blue"}'
    slot[start:] = annex.ljust(sb.SLOT_BYTES - start, b"\0")
    slot[36:44] = struct.pack("<II", len(annex), zlib.crc32(annex, zlib.crc32(slot[:36])))
    assert sb.decode(slot) == replace(BASE, epoch=5)


@pytest.mark.parametrize("offset", [36, 40, -1])
def test_a_torn_annex_is_a_torn_slot(offset: int) -> None:
    encoded = sb.encode(replace(BASE, epoch=5, raised_from=sb.Settled(3, ("leg",))))
    slot = bytearray(encoded)
    slot[offset if offset > 0 else len(encoded.rstrip(b"\0")) - 1] ^= 1
    assert sb.decode(slot) is None


def test_reserved_keys_of_an_earlier_version_are_passed_over() -> None:
    written = sb.Superblock("volume", "leg", 1, size_bytes=16 << 20, epoch=3, sequence=7)
    assert sb.decode(slot_of(written, resync_from=2, resync_cursor=None)) == written


@pytest.mark.parametrize("slot", [0, 1])
def test_of_a_newer_version_is_neither_passed_over_nor_the_older_one(
    container: Container, slot: int
) -> None:
    """Also when the other slot is one that this version reads."""
    device, size_bytes = container
    sb.write_superblock(device, size_bytes, replace(BASE, sequence=1 - slot))
    content = slot_of(replace(BASE, sequence=slot), version=sb.VERSION + 1, colour="blue")
    with mmap.mmap(-1, sb.SLOT_BYTES) as aligned, memoryview(aligned) as view:
        view[:] = content
        device.write(view, sb.slot_offset(size_bytes, slot))
    for read in (
        lambda: sb.read_superblock(device, size_bytes),
        lambda: sb.find_superblock(device, [size_bytes - 4096, size_bytes]),
    ):
        with pytest.raises(NewerFormat, match="newer version"):
            read()


class BadPlace(DescriptorBackEnd):
    """One transfer at this offset fails, as on a disk with a bad place."""

    bad_offset = -1

    def read(self, view: memoryview, offset: int) -> None:
        if offset == self.bad_offset:
            raise OSError(errno.EIO, "bad place")
        super().read(view, offset)


def test_of_a_newer_version_beside_a_bad_place_hides_behind_no_older_tail(tmp_path: Path) -> None:
    """The container was enlarged by the newer version: its old tail is remembered still."""
    old_bytes = sb.container_bytes_needed(BASE.size_bytes)
    new_bytes = old_bytes + (8 << 20)
    path = tmp_path / "leg.img"
    path.touch()
    os.truncate(path, new_bytes)
    device = BadPlace(os.open(path, os.O_RDWR))
    try:
        sb.write_superblock(device, old_bytes, BASE)
        with mmap.mmap(-1, sb.SLOT_BYTES) as aligned, memoryview(aligned) as view:
            view[:] = slot_of(replace(BASE, epoch=9, sequence=1), version=sb.VERSION + 1)
            device.write(view, sb.slot_offset(new_bytes, 1))
        device.bad_offset = sb.slot_offset(new_bytes, 0)
        with pytest.raises(NewerFormat):
            sb.find_superblock(device, [new_bytes, old_bytes], "leg")
    finally:
        device.close()


def test_of_a_newer_version_is_found_by_a_search(container: Container) -> None:
    device, size_bytes = container
    with mmap.mmap(-1, sb.SLOT_BYTES) as aligned, memoryview(aligned) as view:
        view[:] = slot_of(BASE, version=sb.VERSION + 1)
        device.write(view, sb.slot_offset(size_bytes - (1 << 20), 0))
    with pytest.raises(NewerFormat):
        sb.search_superblock(device, size_bytes, seconds=10.0)


def test_a_damaged_one_of_a_newer_version_is_none() -> None:
    slot = bytearray(slot_of(BASE, version=sb.VERSION + 1))
    slot[sb.HEADER_BYTES] ^= 1
    assert sb.decode(slot) is None


@given(SUPERBLOCKS, SUPERBLOCKS, st.integers(0, sb.SLOT_BYTES))
def test_a_torn_slot_is_the_old_one_the_new_one_or_none(
    old: sb.Superblock, new: sb.Superblock, torn_at: int
) -> None:
    before, after = sb.encode(old), sb.encode(new)
    assert sb.decode(after[:torn_at] + before[torn_at:]) in (old, new, None)


@given(SUPERBLOCKS, st.data())
def test_a_flipped_bit_invalidates(superblock: sb.Superblock, data: st.DataObject) -> None:
    encoded = bytearray(sb.encode(superblock))
    used = len(encoded.rstrip(b"\0"))
    place = data.draw(st.integers(0, used - 1).filter(lambda byte: not 36 <= byte < 64))
    encoded[place] ^= 1 << data.draw(st.integers(0, 7))
    assert sb.decode(encoded) is None


def at_end(superblock: sb.Superblock, container_bytes: int) -> sb.Superblock:
    """What is read back: it says where it lies."""
    return replace(superblock, container_bytes=container_bytes // 4096 * 4096)


@given(st.binary(max_size=300))
def test_anything_else_is_no_superblock(garbage: bytes) -> None:
    assert sb.decode(garbage) is None
    assert sb.decode(garbage.ljust(sb.SLOT_BYTES, b"\0")) is None


@given(st.integers(1, 1 << 32).map(lambda pages: pages * 4096), st.integers(0, 1 << 40))
def test_areas_do_not_overlap(size_bytes: int, room: int) -> None:
    container_bytes = sb.container_bytes_needed(size_bytes) + room
    bitmap = sb.bitmap_offset(container_bytes, size_bytes)
    assert size_bytes <= bitmap
    assert bitmap + sb.bitmap_bytes(size_bytes) == sb.slot_offset(container_bytes, 0)
    assert sb.bitmap_bytes(size_bytes) * 8 * sb.REGION_BYTES >= size_bytes
    assert sb.slot_offset(container_bytes, 1) + sb.SLOT_BYTES <= container_bytes
    assert bitmap % 4096 == 0
    assert sb.slot_offset(container_bytes, 1) % 4096 == 0


def test_layout_is_what_the_documentation_says() -> None:
    assert sb.tail_bytes(16 << 20) == 4096 + 32768
    assert sb.bitmap_bytes((32 << 30) + 4096) == 8192
    assert sb.slot_offset(1 << 20, 1) == (1 << 20) - 16384
    encoded = sb.encode(replace(BASE, sequence=5))
    assert encoded[:16] == b"HOLDFAST-LEG\r\n\x1a\n"
    assert encoded[16:20] == b"\x01\0\0\0"
    assert encoded[24:32] == b"\x05" + bytes(7)
    assert encoded[64:65] == b"{"


def test_too_long_is_a_coded_error() -> None:
    members = tuple(sb.Member(n, "x" * 36, "file:/" + "y" * 4000, LegState.IN_SYNC) for n in (1, 2))
    sb.encode(replace(BASE, members=members))
    with pytest.raises(InvalidUrl, match="room"):
        sb.encode(replace(BASE, members=members * 3))


def test_the_newest_slot_wins_and_a_torn_write_falls_back(
    container: Container,
) -> None:
    device, size_bytes = container
    assert sb.read_superblock(device, size_bytes) is None
    for sequence in range(5):
        written = replace(BASE, sequence=sequence, epoch=1 + sequence // 2)
        sb.write_superblock(device, size_bytes, written)
        assert sb.read_superblock(device, size_bytes) == at_end(written, size_bytes)
    sb._write_slot(device, size_bytes, 0, bytes(100) + b"torn".ljust(sb.SLOT_BYTES - 100))
    expected = at_end(replace(BASE, sequence=3, epoch=2), size_bytes)
    assert sb.read_superblock(device, size_bytes) == expected


def test_epoch_counts_before_sequence(container: Container) -> None:
    device, size_bytes = container
    sb.write_superblock(device, size_bytes, replace(BASE, sequence=8, epoch=3))
    sb.write_superblock(device, size_bytes, replace(BASE, sequence=9, epoch=2))
    found = sb.read_superblock(device, size_bytes)
    assert found is not None
    assert found.epoch == 3


def test_erase_leaves_only_zeros_and_touches_nothing_else(
    container: Container,
) -> None:
    device, size_bytes = container
    sb.write_superblock(device, size_bytes, BASE)
    sb.write_superblock(device, size_bytes, replace(BASE, sequence=1))
    sb.erase_superblocks(device, size_bytes)
    assert sb.read_superblock(device, size_bytes) is None
    path = Path(f"/proc/self/fd/{device.descriptor}")
    assert path.read_bytes() == bytes(size_bytes)


def test_a_container_that_became_short_is_an_error(container: Container) -> None:
    device, size_bytes = container
    sb.write_superblock(device, size_bytes, BASE)
    os.ftruncate(device.descriptor, 0)
    with pytest.raises(OSError, match="truncated"):
        sb.read_superblock(device, size_bytes)


def test_a_container_without_room_has_none(container: Container) -> None:
    device, _ = container
    assert sb.read_superblock(device, 4096) is None
    with pytest.raises(OSError, match="no room"):
        sb.write_superblock(device, 4096, BASE)
