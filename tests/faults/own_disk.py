"""A file system with a disk of its own, that can fail or hang as a whole."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.mounting import mount_image

_FIFREEZE, _FITHAW = 0xC0045877, 0xC0045878  # <linux/fs.h>: writers hang in between
_EXT4_IOC_SHUTDOWN = 0x8004587D  # <linux/ext4.h>: every later access fails, as after a lost disk
_IMAGE_BYTES = 128 << 20
_BLOCK_BYTES = 4096


@contextmanager
def own_disk(path: Path, image: Path, size_bytes: int = _IMAGE_BYTES) -> Iterator[None]:
    """An ext4 of its own on `image`, mounted at `path`; both are made."""
    with image.open("wb") as file:
        file.truncate(size_bytes)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    path.mkdir()
    mount_image(image, path)
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def take_room(ballast: Path) -> None:
    """Let this file have every block that its file system has left; durably."""
    with ballast.open("wb") as file:
        offset, length = 0, _IMAGE_BYTES
        while length >= _BLOCK_BYTES:
            try:
                os.posix_fallocate(file.fileno(), offset, length)
                offset += length
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                offset = os.fstat(file.fileno()).st_blocks * 512
                length //= 2
        os.fsync(file.fileno())


def shut_down(path: Path) -> None:
    """From now on everything on this file system fails."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, struct.pack("=I", 2))
    finally:
        os.close(descriptor)


@contextmanager
def hanging(path: Path) -> Iterator[None]:
    """Whoever writes to this file system hangs until the end of the block."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _FIFREEZE, 0)
        try:
            yield
        finally:
            fcntl.ioctl(descriptor, _FITHAW, 0)
    finally:
        os.close(descriptor)
