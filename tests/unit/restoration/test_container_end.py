"""What a container has at its end is kept, replaced, and comes back."""

from __future__ import annotations

import os
import struct
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import StorageFailed
from holdfast.gate.members.superblock import (
    Superblock,
    container_bytes_needed,
    encode,
    tail_bytes,
)
from holdfast.restoration.storage.container_end import (
    KEPT,
    keep_end,
    largest_layout,
    put_end_back,
    zero_end,
)

MOST = 1 << 44
FILE_SYSTEM, LEG = str(uuid.uuid4()), str(uuid.uuid4())


def head_of_ext4(size_bytes: int, file_system: str = FILE_SYSTEM) -> bytes:
    """The first 4 KiB of one of that size, a multiple of 4096."""
    head = bytearray(4096)
    struct.pack_into("<I", head, 1024 + 4, size_bytes // 4096)
    struct.pack_into("<I", head, 1024 + 24, 2)  # blocks of 4096 bytes
    struct.pack_into("<H", head, 1024 + 56, 0xEF53)
    head[1024 + 104 : 1024 + 120] = uuid.UUID(file_system).bytes
    return bytes(head)


@given(st.integers(0, MOST), st.integers(0, MOST))
def test_a_layout_has_the_file_system_and_the_tail(container: int, file_system: int) -> None:
    found = largest_layout(container, file_system)
    assert file_system <= found.size_bytes <= found.offset
    assert found.end - found.offset == tail_bytes(found.size_bytes)
    assert found.end == max(container // 4096 * 4096, container_bytes_needed(found.size_bytes))
    assert found.more_bytes == max(0, found.end - container)
    if found.more_bytes:  # no more than is needed
        assert found.size_bytes - file_system < 4096


@given(st.integers(16 << 20, MOST))
def test_it_grows_once(file_system: int) -> None:
    grown = largest_layout(file_system, file_system)
    assert largest_layout(grown.end, file_system).more_bytes == 0


@pytest.mark.parametrize("size", [70000, 65536, 40000])
def test_kept_once_and_put_back_any_number_of_times(tmp_path: Path, size: int) -> None:
    image, content = tmp_path / "image", head_of_ext4(36864) + os.urandom(size - 4096)
    image.write_bytes(content)
    image.chmod(0o600)
    url = f"file:{image}"
    assert not put_end_back(tmp_path, url)
    for _ in range(2):
        keep_end(tmp_path, url, 36864, 73728, LEG)
        zero_end(url, 36864, 73728)
        assert image.read_bytes() == content[:36864] + bytes(36864)
    assert image.stat().st_blocks * 512 >= 36864  # its room is taken
    for _ in range(2):
        assert put_end_back(tmp_path, url)
        assert image.read_bytes() == content


def test_damaged_nothing_is_put_back(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(head_of_ext4(4096) + b"x" * 4096)
    image.chmod(0o600)
    keep_end(tmp_path, f"file:{image}", 4096, 8192, LEG)
    kept = tmp_path / KEPT
    kept.write_bytes(kept.read_bytes()[:-1] + b"y")
    with pytest.raises(StorageFailed, match="damaged"):
        put_end_back(tmp_path, f"file:{image}")
    assert image.read_bytes()[4096:] == b"x" * 4096


OTHERS = {
    "another file system": lambda: head_of_ext4(65536, str(uuid.uuid4())) + bytes(61440 + 36864),
    "none": lambda: os.urandom(65536 + 36864),
    "a longer file": lambda: head_of_ext4(65536) + bytes(61440 + 36864 + 4096),
    "a truncated one": lambda: b"",
    "a file system that has grown": lambda: head_of_ext4(69632) + bytes(61440 + 36864),
    "another leg": lambda: head_of_ext4(65536) + bytes(61440 + 36864 - 16384) + slot_of("other"),
}


def slot_of(leg: str) -> bytes:
    return encode(
        Superblock(volume_id="v", leg_id=leg, leg_number=2, size_bytes=65536, epoch=1, sequence=1)
    )


@pytest.mark.parametrize("other", OTHERS)
def test_nothing_is_put_back_to_what_is_another(tmp_path: Path, other: str) -> None:
    """A name leads to another disk after a restart, to another file that somebody put there."""
    image = tmp_path / "image"
    image.write_bytes(head_of_ext4(65536) + bytes(61440))
    image.chmod(0o600)
    url = f"file:{image}"
    keep_end(tmp_path, url, 65536, 65536 + 36864, LEG)
    zero_end(url, 65536, 65536 + 36864)
    content = OTHERS[other]()
    image.write_bytes(content)
    with pytest.raises(StorageFailed, match="is not what it was"):
        put_end_back(tmp_path, url)
    assert image.read_bytes() == content


def test_our_own_superblock_is_taken_away(tmp_path: Path) -> None:
    image = tmp_path / "image"
    content = head_of_ext4(65536) + bytes(61440)
    image.write_bytes(content)
    image.chmod(0o600)
    keep_end(tmp_path, f"file:{image}", 65536, 65536 + 36864, LEG)
    image.write_bytes(content + bytes(36864 - 16384) + slot_of(LEG))
    assert put_end_back(tmp_path, f"file:{image}")
    assert image.read_bytes() == content
