"""A volume that only its superblocks describe is mounted where the administrator says, harmlessly.

Whoever made an image wrote its superblocks: what they say is bounded, and decides nothing here.
"""

from __future__ import annotations

import json
import os
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.gate.members import superblock as format_
from holdfast.gate.members.superblock import Member, Superblock
from holdfast.model.volume import LegState

UUID = "11111111-2222-3333-4444-555555555555"
CONTAINER_BYTES = 64 << 20
SIZE_BYTES = 32 << 20

Run = Callable[..., Any]


@pytest.fixture
def hidden(disk_directory: Path) -> Path:
    """A directory that the image says it was mounted over."""
    path = disk_directory / "etc"
    path.mkdir()
    return path


@pytest.fixture
def image(ram_directory: Path, hidden: Path) -> Path:
    path = ram_directory / "evil.img"
    with path.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.truncate(CONTAINER_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-b", "4096", "-U", UUID, str(path), "32M"], check=True)
    return path


def described(image: Path, hidden: Path, **mount: Any) -> Superblock:
    return Superblock(
        volume_id="v",
        leg_id="leg-1",
        leg_number=1,
        size_bytes=SIZE_BYTES,
        epoch=1,
        sequence=0,
        members=(Member(1, "leg-1", f"file:{image}", LegState.IN_SYNC),),
        descriptor={
            "name": "evil",
            "kind": "gated",
            "mount": {
                "path": str(hidden), "filesystem": "ext4", "options": "suid,dev", "label": "",
                "uuid": UUID, "owner_uid": 0, "owner_gid": 0, "mode": 0o777,
            } | mount,
            "journal": "none",
            "hang_timeout_seconds": 2.0,
            "hold_timeout_seconds": 5.0,
        },
    )  # fmt: skip


def put(image: Path, written: Superblock, change: Callable[[bytes], bytes] | None = None) -> None:
    """Write both slots; `change` makes another body of it, with a right checksum."""
    with image.open("r+b") as file:
        for slot in range(format_.SLOTS):
            raw = format_.encode(replace(written, sequence=written.sequence + slot))
            if change is not None:
                length = int.from_bytes(raw[20:24], "little")
                raw = slot_of(change(raw[64 : 64 + length]), slot)
            file.seek(format_.slot_offset(CONTAINER_BYTES, slot))
            file.write(raw)


def slot_of(body: bytes, sequence: int) -> bytes:
    covered = format_._COVERED.pack(format_.MAGIC, format_.VERSION, len(body), sequence)
    checksum = format_._CHECKSUM.pack(zlib.crc32(body, zlib.crc32(covered)))
    return ((covered + checksum).ljust(64, b"\0") + body).ljust(format_.SLOT_BYTES, b"\0")


@pytest.fixture
def deleted(run_holdfast: Run) -> Iterator[None]:
    yield
    run_holdfast("volume", "delete", "evil", "--yes", "--keep-images", check=False)


@pytest.mark.usefixtures("deleted")
def test_it_is_mounted_where_the_administrator_says_without_suid_and_dev(
    run_holdfast: Run, image: Path, hidden: Path, disk_directory: Path
) -> None:
    put(image, described(image, hidden))
    attach = ("volume", "attach", "evil", "--leg", f"file:{image}")
    refused = run_holdfast(*attach, check=False)
    assert refused.returncode == 2, refused.stderr
    assert "--mount PATH" in refused.stderr
    refused = run_holdfast(*attach, check=False)  # what the first attempt left is not believed
    assert refused.returncode == 2, refused.stderr
    wanted = disk_directory / "wanted"
    run_holdfast(*attach, "--mount", str(wanted))
    options = mounted_options(wanted)
    assert {"nosuid", "nodev"} <= options
    assert not hidden.is_mount()
    run_holdfast("volume", "detach", "evil")
    run_holdfast("volume", "attach", "evil")
    assert {"nosuid", "nodev"} <= mounted_options(wanted)
    elsewhere = run_holdfast(*attach, "--mount", str(hidden), check=False)
    assert elsewhere.returncode == 2, elsewhere.stderr


@pytest.mark.usefixtures("deleted")
def test_options_are_the_administrators(
    run_holdfast: Run, image: Path, hidden: Path, disk_directory: Path
) -> None:
    put(image, described(image, hidden))
    where = ("--mount", str(disk_directory / "wanted"), "--options", "noatime")
    run_holdfast("volume", "attach", "evil", "--leg", f"file:{image}", *where)
    options = mounted_options(disk_directory / "wanted")
    assert "noatime" in options
    assert "nosuid" not in options


def mounted_options(path: Path) -> set[str]:
    words = ["findmnt", "--noheadings", "--output", "OPTIONS", str(path)]
    found = subprocess.run(words, check=True, capture_output=True, text=True)
    return set(found.stdout.strip().split(","))


def _deep(body: bytes) -> bytes:
    return b"[" * 16000


def _number(name: str, value: Any) -> Callable[[bytes], bytes]:
    def change(body: bytes) -> bytes:
        return json.dumps({**json.loads(body), name: value}).encode()

    return change


def _described(name: str, value: Any) -> Callable[[bytes], bytes]:
    def change(body: bytes) -> bytes:
        values = json.loads(body)
        values["descriptor"][name] = value
        return json.dumps(values).encode()

    return change


@pytest.mark.parametrize(
    "change",
    [
        _deep,
        lambda body: b"[]",
        lambda body: b"1e999",
        _number("size_bytes", 1 << 62),
        _number("size_bytes", 1 << 51),
        _number("size_bytes", -1),
        _number("size_bytes", 1.5),
        _number("epoch", "one"),
        _number("epoch", (1 << 64) - 1),
        _number("epoch", True),
        _number("position", 10**4000),
        _number("members", {}),
        _number("members", [{"number": 1}]),
        _number("descriptor", []),
        _described("name", ["x"]),
        _described("name", "../../etc"),
        _described("kind", "adopted"),
        _described("journal", "x"),
        _described("hang_timeout_seconds", "soon"),
        _described("hang_timeout_seconds", 1e300),
        _described("mount", None),
        _described("mount", {"path": "/x", "filesystem": "overlay"}),
        _described("mount", {"path": "/x", "filesystem": "ext4", "mode": "rwx"}),
    ],
)
def test_what_no_volume_has_is_a_coded_error(
    run_holdfast: Run,
    image: Path,
    hidden: Path,
    disk_directory: Path,
    change: Callable[[bytes], bytes],
    holdfast_home: Path,
) -> None:
    put(image, described(image, hidden), change)
    where = ("--mount", str(disk_directory / "wanted"))
    done = run_holdfast("volume", "attach", "evil", "--leg", f"file:{image}", *where, check=False)
    assert done.returncode in (2, 3, 4, 7), done.stderr
    assert done.stderr.startswith("error["), done.stderr
    assert "a mistake in Holdfast" not in done.stderr
    assert not (disk_directory / "wanted").exists()
    assert not (holdfast_home / "state" / "gates" / "evil").exists()


def test_a_sequence_after_which_there_is_none_is_no_superblock(
    run_holdfast: Run, image: Path, hidden: Path
) -> None:
    put(image, replace(described(image, hidden), sequence=(1 << 64) - 2))
    done = run_holdfast("volume", "attach", "evil", "--leg", f"file:{image}", check=False)
    assert done.returncode == 7, done.stderr
    assert "carries no Holdfast superblock" in done.stderr
