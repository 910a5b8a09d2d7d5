"""The table of what types of file systems offer says what the real ones do."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.restoration.assessing import offers
from holdfast.restoration.assessing.offers import OFFERS, about_offers
from tests.kernel.restoration.bench import SIZE_BYTES, make_image, mounted

BLOCK = 64 << 10
KEEP_SIZE, COLLAPSE, ZERO, INSERT, UNSHARE = 0x1, 0x08, 0x10, 0x20, 0x40  # <linux/falloc.h>
LIBC = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def fallocate(mode: int) -> Callable[[int, Path], None]:
    def call(descriptor: int, folder: Path) -> None:
        offset, length = ctypes.c_longlong(BLOCK), ctypes.c_longlong(BLOCK)
        check(LIBC.fallocate(descriptor, mode, offset, length))

    return call


def clone(descriptor: int, folder: Path) -> None:
    with (folder / "clone").open("wb") as file:
        fcntl.ioctl(file.fileno(), 0x40049409, descriptor)  # FICLONE


def deduplicate(descriptor: int, folder: Path) -> None:
    with (folder / "equal").open("w+b") as file:
        file.write(b"x" * 4 * BLOCK)
        file.flush()
        os.fsync(file.fileno())
        # struct file_dedupe_range of <linux/fs.h>, with one destination
        words = struct.pack("=QQHHIqQQiI", 0, BLOCK, 1, 0, 0, file.fileno(), 0, 0, 0, 0)
        answer = bytearray(words)
        fcntl.ioctl(descriptor, 0xC0189436, answer)  # FIDEDUPERANGE
        status = struct.unpack("=QQHHIqQQiI", answer)[8]
        if status < 0:
            raise OSError(-status, os.strerror(-status))


def uncached(descriptor: int, folder: Path) -> None:
    os.pwritev(descriptor, [b"x" * BLOCK], 0, 0x80)  # RWF_DONTCACHE


def verity(descriptor: int, folder: Path) -> None:
    place = folder / "protected"
    place.write_bytes(b"x" * BLOCK)
    reading = os.open(place, os.O_RDONLY)
    try:
        # struct fsverity_enable_arg of <linux/fsverity.h>: version, SHA-256, block size
        words = bytearray(struct.pack("=IIIIQIIQ", 1, 1, 4096, 0, 0, 0, 0, 0) + bytes(88))
        fcntl.ioctl(reading, 0x40806685, words)  # FS_IOC_ENABLE_VERITY
    finally:
        os.close(reading)


def large_attribute(descriptor: int, folder: Path) -> None:
    os.setxattr(descriptor, "user.large", b"x" * 8192)


def map_of_blocks(descriptor: int, folder: Path) -> None:
    # struct fsmap_head of <linux/fsmap.h>: two keys, the second is the highest there is
    key = struct.pack("=IIQQQ24x", 0xFFFFFFFF, 0xFFFFFFFF, *[(1 << 64) - 1] * 3)
    words = bytearray(struct.pack("=IIII48x", 0, 0, 0, 0) + bytes(64) + key[:56].ljust(64, b"\0"))
    fcntl.ioctl(descriptor, 0xC0C0583B, words)  # FS_IOC_GETFSMAP


def block_numbers(descriptor: int, folder: Path) -> None:
    fcntl.ioctl(descriptor, 1, bytearray(4))  # FIBMAP


def flag(number: int) -> Callable[[int, Path], None]:
    def call(descriptor: int, folder: Path) -> None:
        with (folder / f"flag {number}").open("wb") as file:
            present = fcntl.ioctl(file.fileno(), 0x80086601, bytes(8))
            wanted = int.from_bytes(present, "little") | number
            fcntl.ioctl(file.fileno(), 0x40086602, wanted.to_bytes(8, "little"))

    return call


def project(descriptor: int, folder: Path) -> None:
    words = list(struct.unpack("=5I8x", fcntl.ioctl(descriptor, 0x801C581F, bytes(28))))
    words[3] = 42
    fcntl.ioctl(descriptor, 0x401C5820, struct.pack("=5I8x", *words))


def subvolume(descriptor: int, folder: Path) -> None:
    above = os.open(folder, os.O_RDONLY)
    try:
        words = bytearray(struct.pack("=q4088s", 0, b"subvolume"))
        fcntl.ioctl(above, 0x5000940E, words)  # BTRFS_IOC_SUBVOL_CREATE
    finally:
        os.close(above)


CALLS = {
    offers.CLONE: clone,
    offers.DEDUPLICATE: deduplicate,
    offers.UNSHARE: fallocate(UNSHARE),
    offers.COLLAPSE: fallocate(COLLAPSE),
    offers.INSERT: fallocate(INSERT),
    offers.ZERO: fallocate(ZERO | KEEP_SIZE),
    offers.UNCACHED: uncached,
    offers.VERITY: verity,
    offers.LARGE_ATTRIBUTES: large_attribute,
    offers.MAP_OF_BLOCKS: map_of_blocks,
    offers.BLOCK_NUMBERS: block_numbers,
    offers.NO_COPY_ON_WRITE: flag(0x800000),
    offers.PROJECTS: project,
    offers.SUBVOLUMES: subvolume,
}
"""All of the table but the exchange of ranges, which depends on a feature of XFS."""

BY_KERNEL = {offers.UNCACHED, offers.VERITY}
"""Came to one type after the other with newer kernels; can be left out of a kernel."""

REFUSALS = {errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSPC, errno.ENOSYS}


def test_every_call_of_the_table_is_tried() -> None:
    named = frozenset[str]().union(*OFFERS.values())
    assert named - {offers.EXCHANGE} == set(CALLS)


@pytest.fixture(params=sorted(OFFERS))
def place(ram_directory: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Path]]:
    image = make_image(ram_directory / "image", request.param, SIZE_BYTES)
    with mounted(image, ram_directory / "mnt") as path:
        yield request.param, path


def test_what_is_offered(place: tuple[str, Path]) -> None:
    filesystem, folder = place
    offered = set()
    for what, call in CALLS.items():
        with (folder / "file").open("w+b") as file:
            file.write(b"x" * 4 * BLOCK)
            file.flush()
            os.fsync(file.fileno())
            try:
                call(file.fileno(), folder)
                offered.add(what)
            except OSError as error:
                assert error.errno in REFUSALS, (what, error)
    assert offered - BY_KERNEL == OFFERS[filesystem] - BY_KERNEL - {offers.EXCHANGE}


@pytest.mark.parametrize("present", sorted(OFFERS))
@pytest.mark.parametrize("new", sorted(OFFERS))
def test_every_pair_is_told(present: str, new: str) -> None:
    missing = OFFERS[present] - OFFERS[new]
    told = about_offers(present, new)
    assert len(told) == (1 if missing else 0)
    assert all(what in told[0].found for what in missing)
