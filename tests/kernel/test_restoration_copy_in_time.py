"""While everybody waits the copy has a time limit, and what an undone move made leaves no trace."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import DeadlinePassed, HoldfastError
from holdfast.restoration.copying.child import Copying, Source, Target
from holdfast.service import Holdfast
from tests.kernel.restoration_bench import application, make_image, mounted


def test_a_pass_that_takes_too_long_is_given_up(ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    copy = ram_directory / "2.img"
    with copy.open("wb") as file:
        file.truncate(64 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        (path / "data").write_bytes(b"x" * 10_000_000)
        copying = Copying(
            Source(path=str(path)), Target(str(copy), 0, "ext4", "", str(uuid.uuid4()))
        )
        try:
            with pytest.raises(DeadlinePassed):
                copying.run_pass(seconds=0.0)
        finally:
            copying.close()


def test_storage_below_the_image_that_is_full_is_noticed_while_everybody_runs(
    settings: Settings, ram_directory: Path
) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=160 << 20)
    small = ram_directory / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "none", str(small)], check=True)
    try:
        with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
            (path / "data").write_bytes(b"x" * 40_000_000)
            holdfast.adopt_volume("data", str(path))
            with application(path, ram_directory / "record") as running:
                with pytest.raises(HoldfastError, match="the copy failed"):
                    holdfast.restorations.migrate("data", f"file:{small}/2.img", "ext4")
                running.wait_for_more()
                assert running.verify() > 0
            steps = [step.name for step in holdfast.receipts("data")[0].steps]
            assert "freeze" not in steps
            assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
