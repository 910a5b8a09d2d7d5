"""An image that a loop device or swap has is never taken, under whatever name it is asked for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from holdfast.containers import open_container
from holdfast.errors import InUse
from tests.faults import LoopLeg

SIZE = 16 << 20


def test_an_attached_image_is_in_use(tmp_path: Path) -> None:
    with LoopLeg(tmp_path / "leg.img", SIZE) as leg:
        container = open_container(f"file:{leg.image}")
        with pytest.raises(InUse, match=f"attached as {leg.device}"):
            container.check_free(SIZE)
    open_container(f"file:{leg.image}").check_free(SIZE)


def test_a_hard_link_does_not_hide_it(tmp_path: Path) -> None:
    with LoopLeg(tmp_path / "leg.img", SIZE) as leg:
        os.link(leg.image, tmp_path / "other.img")
        with pytest.raises(InUse, match=f"attached as {leg.device}"):
            open_container(f"file:{tmp_path}/other.img").check_free(SIZE)


def test_deleting_the_name_does_not_confuse_a_new_image(tmp_path: Path) -> None:
    with LoopLeg(tmp_path / "leg.img", SIZE) as leg:
        leg.image.unlink()
        container = open_container(f"file:{leg.image}")
        container.create(SIZE)
        container.check_free(SIZE)


def test_a_swap_file_is_in_use(tmp_path: Path) -> None:
    image = tmp_path / "swap.img"
    image.write_bytes(bytes(SIZE))
    image.chmod(0o600)
    subprocess.run(["mkswap", str(image)], check=True, capture_output=True)
    swapped = subprocess.run(["swapon", str(image)], check=False, capture_output=True, text=True)
    if swapped.returncode:
        pytest.skip(f"this host cannot swap to a file here: {swapped.stderr.strip()}")
    try:
        with pytest.raises(InUse, match="in use as swap"):
            open_container(f"file:{image}").check_unused()
    finally:
        subprocess.run(["swapoff", str(image)], check=True)
