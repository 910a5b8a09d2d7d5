"""Legs and journals that a newer version of Holdfast wrote: refused by every command, and kept."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import pytest

from holdfast.gate.members import superblock as format_
from tests.conftest import RunHoldfast


@pytest.fixture
def image(run_holdfast: RunHoldfast, disk_directory: Path) -> Path:
    """The one leg of a detached volume, its superblocks of the next version."""
    path = disk_directory / "leg.img"
    where = ("--mount", str(disk_directory / "mount"))
    run_holdfast("volume", "create", "new", "--size", "64M", "--leg", f"file:{path}", *where)
    run_holdfast("volume", "detach", "new")
    with path.open("r+b") as file:
        for slot in range(format_.SLOTS):
            file.seek(format_.slot_offset(path.stat().st_size, slot))
            content = bytearray(file.read(format_.SLOT_BYTES))
            _of_next_version(content)
            file.seek(-len(content), 1)
            file.write(content)
    return path


def _of_next_version(slot: bytearray) -> None:
    magic, version, length, sequence = format_._COVERED.unpack_from(slot)
    format_._COVERED.pack_into(slot, 0, magic, version + 1, length, sequence)
    body = slot[format_.HEADER_BYTES : format_.HEADER_BYTES + length]
    checksum = zlib.crc32(body, zlib.crc32(slot[: format_._COVERED.size]))
    struct.pack_into("<I", slot, format_._COVERED.size, checksum)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("force", [(), ("--force",)], ids=["", "by force"])
def test_it_is_not_attached(run_holdfast: RunHoldfast, image: Path, force: tuple[str, ...]) -> None:
    before = digest(image)
    done = run_holdfast("volume", "attach", "new", *force, check=False)
    assert done.returncode == 7, done.stdout + done.stderr
    assert "newer version of Holdfast" in done.stderr
    assert digest(image) == before


@pytest.mark.parametrize("command", ["attach", "create"])
def test_where_nothing_is_known_of_its_volume(
    run_holdfast: RunHoldfast, image: Path, disk_directory: Path, command: str
) -> None:
    before = digest(image)
    size = ("--size", "32M") if command == "create" else ()
    words = ("--leg", f"file:{image}", "--mount", str(disk_directory / "other"), *size)
    home = str(disk_directory / "elsewhere")
    done = run_holdfast("volume", command, "new", *words, check=False, HOLDFAST_HOME=home)
    assert done.returncode == 7, done.stdout + done.stderr
    assert "newer version of Holdfast" in done.stderr
    assert digest(image) == before


def test_its_volume_is_forgotten_without_it(run_holdfast: RunHoldfast, image: Path) -> None:
    before = digest(image)
    done = run_holdfast("volume", "delete", "new", "--yes")
    assert "was left as it is" in done.stderr
    assert "newer version of Holdfast" in done.stderr
    assert digest(image) == before
