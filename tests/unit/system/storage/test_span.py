"""What a file system covers is told by its own superblock."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.system.storage.span import Span, decode, span_of

SIZES = {"ext4": 48 << 20, "xfs": 300 << 20, "btrfs": 120 << 20}


def made(image: Path, *command: str) -> Path:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    with image.open("wb") as file:
        file.truncate(400 << 20)
    subprocess.run([*command[:-1], command[-1]], check=True, capture_output=True)
    return image


@pytest.mark.parametrize(
    ("filesystem", "command"),
    [
        ("ext4", ("mkfs.ext4", "-q", "-F", "-b", "4096", "IMAGE", "48M")),
        ("ext4", ("mkfs.ext4", "-q", "-F", "-b", "1024", "-O", "^64bit", "IMAGE", "48M")),
        ("ext4", ("mkfs.ext4", "-q", "-F", "-O", "^has_journal", "IMAGE", "48M")),
        ("xfs", ("mkfs.xfs", "-q", "-f", "-d", f"size={SIZES['xfs']}", "IMAGE")),
        ("btrfs", ("mkfs.btrfs", "-q", "-f", "-b", str(SIZES["btrfs"]), "IMAGE")),
    ],
)
def test_as_it_was_made(tmp_path: Path, filesystem: str, command: tuple[str, ...]) -> None:
    image = tmp_path / "image"
    made(image, *(str(image) if word == "IMAGE" else word for word in command))
    command_line = ["blkid", "--probe", "--output", "value", "--match-tag", "UUID", str(image)]
    told = subprocess.run(command_line, check=True, capture_output=True, text=True).stdout.strip()
    assert span_of(str(image)) == Span(filesystem, SIZES[filesystem], uuid=told)


def test_parts_on_other_devices_are_told(tmp_path: Path) -> None:
    image = tmp_path / "image"
    made(image, "mkfs.ext4", "-q", "-F", str(image), "48M")
    head = bytearray(image.read_bytes()[: 128 << 10])
    struct.pack_into("<I", head, 1024 + 224, 0)  # s_journal_inum
    found = decode(bytes(head))
    assert found is not None
    assert "journal" in found.elsewhere


def test_nothing_is_known_of_other_contents(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(100))  # shorter than what is read
    assert span_of(str(image)) is None


@given(st.binary(max_size=4096), st.integers(0, (128 << 10) - 4096))
def test_nothing_that_a_stranger_writes_is_too_much(content: bytes, place: int) -> None:
    head = bytearray(128 << 10)
    head[place : place + len(content)] = content
    found = decode(bytes(head))
    assert found is None or found.size_bytes >= 0
