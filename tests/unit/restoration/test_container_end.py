"""What a container has at its end is kept, replaced, and comes back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import StorageFailed
from holdfast.gate.members.superblock import container_bytes_needed, tail_bytes
from holdfast.restoration.storage.container_end import (
    KEPT,
    keep_end,
    largest_layout,
    put_end_back,
    zero_end,
)

MOST = 1 << 44


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
    image, content = tmp_path / "image", os.urandom(size)
    image.write_bytes(content)
    image.chmod(0o600)
    url = f"file:{image}"
    assert not put_end_back(tmp_path, url)
    for _ in range(2):
        keep_end(tmp_path, url, 36864, 73728)
        zero_end(url, 36864, 73728)
        assert image.read_bytes() == content[:36864] + bytes(36864)
    assert image.stat().st_blocks * 512 >= 36864  # its room is taken
    for _ in range(2):
        assert put_end_back(tmp_path, url)
        assert image.read_bytes() == content


def test_damaged_nothing_is_put_back(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"x" * 8192)
    image.chmod(0o600)
    keep_end(tmp_path, f"file:{image}", 4096, 8192)
    kept = tmp_path / KEPT
    kept.write_bytes(kept.read_bytes()[:-1] + b"y")
    with pytest.raises(StorageFailed, match="damaged"):
        put_end_back(tmp_path, f"file:{image}")
    assert image.read_bytes() == b"x" * 8192


def test_what_was_truncated_is_not_made_longer(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"x" * 8192)
    image.chmod(0o600)
    keep_end(tmp_path, f"file:{image}", 8192, 12288)
    image.write_bytes(b"")
    put_end_back(tmp_path, f"file:{image}")
    assert image.read_bytes() == b""
