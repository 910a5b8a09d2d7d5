"""The other injectors do what tests rely on."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import (
    FuseLeg,
    LoopLeg,
    MemoryHog,
    NbdLeg,
    PowerCut,
    SmallDisk,
    destroy_superblock,
    flip_bits,
    stopped,
)
from tests.leftovers import Leftovers, process_state
from tests.waiting import wait_until


def test_nbdkit_fails_on_demand(ram_directory: Path) -> None:
    with NbdLeg(ram_directory / "leg.img", ram_directory / "served.img", 8 << 20) as leg:
        descriptor = os.open(leg.path, os.O_RDWR)
        assert os.pwrite(descriptor, b"a" * 4096, 0) == 4096
        os.fsync(descriptor)
        assert leg.image.read_bytes()[:4096] == b"a" * 4096
        leg.failing(True)
        with pytest.raises(OSError) as caught:
            os.pwrite(descriptor, b"b" * 4096, 0)
            os.fsync(descriptor)
        assert caught.value.errno == errno.EIO
        leg.failing(False)
        assert os.pwrite(descriptor, b"c" * 4096, 4096) == 4096
        os.close(descriptor)


def test_a_loop_leg_is_a_block_device_that_can_grow(image: Path) -> None:
    with LoopLeg(image) as leg:
        assert leg.device.is_block_device()
        leg.grow(128 << 20)
        descriptor = os.open(leg.device, os.O_RDONLY)
        assert os.lseek(descriptor, 0, os.SEEK_END) == 128 << 20
        os.close(descriptor)


def test_a_small_disk_fills_and_frees(ram_directory: Path) -> None:
    with SmallDisk(ram_directory / "small", 4 << 20) as disk:
        disk.fill()
        assert disk.free_bytes() == 0
        with pytest.raises(OSError) as caught:
            (disk.path / "file").write_bytes(bytes(4096))
        assert caught.value.errno == errno.ENOSPC
        disk.free()
        assert (disk.path / "file").write_bytes(bytes(4096)) == 4096
        disk.grow(8 << 20)
        assert disk.free_bytes() > 7 << 20


def test_images_are_damaged_where_asked(image: Path) -> None:
    flip_bits(image, 4096, 2, 0x81)
    destroy_superblock(image, 4096)
    content = image.read_bytes()
    assert content[4095:4099] == b"\0\x81\x81\0"
    assert content[-4096:] == b"\xa5" * 4096
    assert content[-4097] == 0


WRITER = """
import os, struct, sys
files = [os.open(path, os.O_WRONLY | os.O_CREAT) for path in sys.argv[1:]]
number = 0
while True:
    for file in files:
        os.pwrite(file, struct.pack("<Q", number), 0)
    if number == 0:
        print("running", flush=True)
    number += 1
"""


def test_a_power_cut_shows_all_files_at_one_instant(ram_directory: Path) -> None:
    """A writer numbers file one before file two: at any instant they differ by at most one."""
    files = [ram_directory / "one", ram_directory / "two"]
    shell = f"{sys.executable} -c '{WRITER}' {files[0]} {files[1]}; true"
    process = subprocess.Popen(["sh", "-c", shell], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        seen = set()
        for number in range(20):
            copies = PowerCut(files, ram_directory / f"copy{number}").copy([process.pid])
            one, two = (int.from_bytes(copy.read_bytes(), "little") for copy in copies)
            assert one - two in (0, 1)
            seen.add(one)
        assert len(seen) > 1
    finally:
        with stopped([process.pid]) as everyone:
            for number in everyone:
                os.kill(number, 9)
        process.wait()
        process.stdout.close()


def test_stopped_processes_are_stopped_and_continue() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            with stopped([process.pid]):
                assert process_state(process.pid) == "T"
            wait_until(lambda: process_state(process.pid) in "SR")  # it may just load its program
        finally:
            process.kill()


def test_the_memory_hog_holds_what_it_says() -> None:
    with MemoryHog(64 << 20) as hog:
        assert not hog.killed


def test_leftovers_are_found_and_removed(ram_directory: Path) -> None:
    """The check of tests/conftest.py can fail: what is forgotten here is found."""
    left = Leftovers("no such run", (ram_directory,))
    assert left.find() == []
    served = ram_directory / "served.img"
    leg = FuseLeg(ram_directory / "leg.img", served, 64 << 20)
    leg.start()
    answer = subprocess.run(
        ["losetup", "--find", "--show", str(served)], check=True, capture_output=True, text=True
    )
    device = answer.stdout.strip()
    block = Path("/sys/block", Path(device).name)
    sequence = (block / "diskseq").read_text()
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    mountpoint = ram_directory / "mount"
    mountpoint.mkdir()
    subprocess.run(["mount", device, str(mountpoint)], check=True)
    found = "\n".join(left.find())
    assert f"process {leg.process_id}:" in found
    assert f"mount {mountpoint}" in found
    assert f"mount {served}" in found
    assert f"loop device {device}" in found
    left.remove()
    leg.kill()
    assert left.find() == []
    # Somebody else may look at it still, or have been given its number since.
    wait_until(lambda: not (block / "loop").exists() or (block / "diskseq").read_text() != sequence)
