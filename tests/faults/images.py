"""Damage done to an image file behind the back of whoever has it open."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

TAIL_BYTES = 1 << 20


def truncate_to_zero(image: Path) -> None:
    """Somebody emptied the file: reads are short, nothing of the data is left."""
    os.truncate(image, 0)


def replace_by_copy(image: Path, older: Path) -> None:
    """Rename `older` over `image`: open handles keep the lost file, new ones get the stale one."""
    older.rename(image)


def copy_image(source: Path, destination: Path) -> None:
    """Copy an image, holes stay holes; shares blocks where the file system can."""
    command = ["cp", "--reflink=auto", "--sparse=always", str(source), str(destination)]
    subprocess.run(command, check=True)


def flip_bits(image: Path, offset: int, length: int = 1, mask: int = 0x01) -> None:
    """Invert the bits of `mask` in each byte of the range: silent corruption."""
    with image.open("r+b") as file:
        file.seek(offset)
        data = file.read(length)
        if len(data) < length:
            raise ValueError(f"{image} has no {length} bytes at {offset}")
        file.seek(offset)
        file.write(bytes(byte ^ mask for byte in data))
        file.flush()
        os.fsync(file.fileno())


def destroy_superblock(container: Path, tail_bytes: int = TAIL_BYTES) -> None:
    """Overwrite the last bytes of a container, where Holdfast's superblock slots are."""
    descriptor = os.open(container, os.O_WRONLY)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        length = min(tail_bytes, size)
        os.pwrite(descriptor, b"\xa5" * length, size - length)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
