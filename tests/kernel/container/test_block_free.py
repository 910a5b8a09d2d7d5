"""A block device is taken only when nothing uses it and nothing is on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.containers import open_container
from holdfast.errors import HoldsData, InUse, TooSmall
from tests.faults import LoopLeg

SIZE = 32 << 20


@pytest.fixture
def leg(tmp_path: Path) -> Iterator[LoopLeg]:
    with LoopLeg(tmp_path / "disk.img", SIZE) as leg:
        yield leg


def test_an_empty_device_is_free(leg: LoopLeg) -> None:
    container = open_container(leg.url)
    container.check_free(SIZE)
    assert not container.create(SIZE)
    container.remove()
    assert container.exists()


def test_a_device_that_is_too_small_is_refused(leg: LoopLeg) -> None:
    with pytest.raises(TooSmall, match=f"has {SIZE} bytes"):
        open_container(leg.url).check_free(SIZE + 4096)


@pytest.mark.parametrize("offset", [100, SIZE - 4096])
def test_bytes_at_its_edges_are_data(leg: LoopLeg, offset: int) -> None:
    with leg.device.open("r+b") as device:
        device.seek(offset)
        device.write(b"something")
    with pytest.raises(HoldsData, match=f"at byte {offset}$"):
        open_container(leg.url).check_free(SIZE)


def test_a_file_system_is_data_and_named(leg: LoopLeg) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-L", "precious", str(leg.device)], check=True)
    with pytest.raises(HoldsData, match="holds ext4 'precious'"):
        open_container(leg.url).check_free(SIZE)


@pytest.mark.parametrize("kind", ["ext4", "btrfs"])
def test_a_mounted_device_is_in_use(tmp_path: Path, kind: str) -> None:
    with LoopLeg(tmp_path / "disk.img", 128 << 20) as leg:
        subprocess.run([f"mkfs.{kind}", "-q", str(leg.device)], check=True)
        point = tmp_path / "mounted here"
        point.mkdir()
        subprocess.run(["mount", str(leg.device), str(point)], check=True)
        try:
            with pytest.raises(InUse, match=r"is mounted at .*mounted here"):
                open_container(leg.url).check_free(SIZE)
        finally:
            subprocess.run(["umount", str(point)], check=True)


def test_swap_is_in_use(leg: LoopLeg) -> None:
    subprocess.run(["mkswap", str(leg.device)], check=True, capture_output=True)
    subprocess.run(["swapon", str(leg.device)], check=True)
    try:
        with pytest.raises(InUse, match="in use as swap"):
            open_container(leg.url).check_free(SIZE)
    finally:
        subprocess.run(["swapoff", str(leg.device)], check=True)


def test_a_device_below_another_is_in_use(leg: LoopLeg) -> None:
    name = f"holdfast-test-{os.getpid()}"
    table = f"0 {SIZE // 512 - 2048} linear {leg.device} 0"
    try:
        made = subprocess.run(
            ["dmsetup", "create", name, "--table", table],
            check=False,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        pytest.skip("dmsetup is not installed")
    if made.returncode:
        pytest.skip(f"this host has no device mapper: {made.stderr.splitlines()[0]}")
    try:
        with pytest.raises(InUse, match="is part of dm-"):
            open_container(leg.url).check_free(SIZE)
    finally:
        subprocess.run(["dmsetup", "remove", name], check=True)


def test_a_second_gate_cannot_open_it(leg: LoopLeg) -> None:
    container = open_container(leg.url)
    device = container.open()
    try:
        assert device.size_bytes() == SIZE
        with pytest.raises(BlockingIOError):
            container.open()
        with pytest.raises(InUse, match="exclusive"):
            container.check_free(SIZE)
    finally:
        device.close()
    container.check_free(SIZE)


def test_growing_waits_for_the_administrator(leg: LoopLeg) -> None:
    container = open_container(leg.url)
    container.grow(SIZE)
    with pytest.raises(TooSmall, match=r"are needed"):
        container.grow(2 * SIZE)
    leg.grow(2 * SIZE)
    subprocess.run(["losetup", "-c", str(leg.device)], check=True)
    container.grow(2 * SIZE)
