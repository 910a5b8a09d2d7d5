"""The bytes of a past view's own file: data in their places, two maps, and what it stands on.

A past view is what a volume was at a moment: a copy, which is only read, below a file that has what
differs from it. Invariant: what is decoded is within bounds and was encoded here, or it is None.
Pure.

    0                data, each unit where the volume has it; a hole where it is the copy's
    data_bytes       the durable map: a byte for each unit, 1: the file has it
    + map_bytes      the present map: the same as of now, believed in the boot that it names only
    + map_bytes      a page: that boot
    + PAGE_BYTES     a page: the header
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict
from typing import Final

from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import MOST_NUMBER, read_json, typed, whole
from holdfast.model.size import MAXIMUM_VOLUME_BYTES

PAGE_BYTES: Final = 4096
MAGIC: Final = b"HFPAST01"
_HEAD_BYTES = len(MAGIC) + 8
MOST_UNITS: Final = 1 << 24
"""Their map is locked in the worker's memory: 16 MiB."""


@dataclass(frozen=True)
class PastHeader:
    """What a past view stands on, and how its file is laid out."""

    base_path: str
    """The image of the copy."""
    base_bytes: int
    """What counts of it: behind that all is zero."""
    base_inode: int
    base_written_ns: int
    """Its time of change; 0: not known. Where it says another one, somebody wrote to it."""
    size_bytes: int
    """Of the container that this is."""
    unit_bytes: int
    """A power of two: what is taken over from the copy at a time."""

    def __post_init__(self) -> None:
        """Raise ValueError for what no view has."""
        most = 2 * MAXIMUM_VOLUME_BYTES  # the container is a little larger than its volume
        whole(self.size_bytes, "size_bytes", PAGE_BYTES, most)
        whole(self.base_bytes, "base_bytes", 0, most)
        whole(self.unit_bytes, "unit_bytes", PAGE_BYTES, most)
        whole(self.base_inode, "base_inode", 0, (1 << 64) - 1)
        whole(self.base_written_ns, "base_written_ns", 0, MOST_NUMBER)
        if self.unit_bytes & (self.unit_bytes - 1) or self.units > MOST_UNITS:
            raise ValueError("unit_bytes does not fit")
        if self.base_bytes % PAGE_BYTES or not self.base_path.startswith("/"):
            raise ValueError("it stands on nothing")

    @property
    def units(self) -> int:
        """How many there are; the last one may be longer than what is left."""
        return -(-self.size_bytes // self.unit_bytes)

    @property
    def map_bytes(self) -> int:
        """Of each map, in whole pages."""
        return -(-self.units // PAGE_BYTES) * PAGE_BYTES

    @property
    def durable_place(self) -> int:
        """Of the durable map."""
        return self.units * self.unit_bytes

    @property
    def present_place(self) -> int:
        """Of the map as of now."""
        return self.durable_place + self.map_bytes

    @property
    def boot_place(self) -> int:
        """Of the boot in which the present map counts."""
        return self.present_place + self.map_bytes

    @property
    def file_bytes(self) -> int:
        """Of the whole file."""
        return self.boot_place + 2 * PAGE_BYTES

    def encode(self) -> bytes:
        """The last page. Raises ValueError where the path is too long for it."""
        text = json.dumps(asdict(self)).encode()
        checksum = zlib.crc32(text)
        page = MAGIC + checksum.to_bytes(4, "little") + len(text).to_bytes(4, "little") + text
        if len(page) > PAGE_BYTES:
            raise ValueError("the path of the copy is too long")
        return page.ljust(PAGE_BYTES, b"\0")


def decode_header(page: bytes, file_bytes: int) -> PastHeader | None:
    """What the last page of a file of that size says; None: it is no view, or it was truncated."""
    if len(page) != PAGE_BYTES or not page.startswith(MAGIC):
        return None
    checksum = int.from_bytes(page[len(MAGIC) : len(MAGIC) + 4], "little")
    length = int.from_bytes(page[len(MAGIC) + 4 : _HEAD_BYTES], "little")
    text = page[_HEAD_BYTES : _HEAD_BYTES + length]
    if length > PAGE_BYTES or len(text) != length or zlib.crc32(text) != checksum:
        return None
    try:
        header = typed(PastHeader, read_json(text, PAGE_BYTES))
    except ValueError:
        return None
    return header if header.file_bytes == file_bytes else None


def unit_of(size_bytes: int) -> int:
    """The unit for a container of that size."""
    unit_bytes = PAGE_BYTES
    while -(-size_bytes // unit_bytes) > MOST_UNITS:
        unit_bytes *= 2
    return unit_bytes
