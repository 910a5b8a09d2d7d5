"""While everybody waits the copy has a time limit, and what an undone move made leaves no trace."""

from __future__ import annotations

import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import DeadlinePassed, HoldfastError
from holdfast.restoration.copying.process.child import Copying
from holdfast.restoration.copying.sides import CopySource, CopyTarget
from holdfast.service import Holdfast, MigrateRequest
from tests.kernel.restoration.bench import application, make_image, mounted
from tests.waiting import wait_until


def test_a_pass_that_takes_too_long_is_given_up(ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    copy = ram_directory / "2.img"
    with copy.open("wb") as file:
        file.truncate(64 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        (path / "data").write_bytes(b"x" * 10_000_000)
        copying = Copying(
            CopySource(path=str(path)), CopyTarget(str(copy), 0, "ext4", "", str(uuid.uuid4()))
        )
        try:
            with pytest.raises(DeadlinePassed):
                copying.run_pass(seconds=0.0)
        finally:
            copying.close()


@contextmanager
def filled_by_others(folder: Path, once_there: Path) -> Iterator[None]:
    """Somebody else takes all the room of the file system as soon as that file is there."""

    def fill() -> None:
        wait_until(once_there.exists)
        with (folder / "others").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(1 << 20)):
                pass

    filling = threading.Thread(target=fill)
    filling.start()
    try:
        yield
    finally:
        filling.join()


def test_storage_below_the_image_that_is_full_is_noticed_while_everybody_runs(
    settings: Settings, ram_directory: Path
) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=160 << 20)
    small = ram_directory / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "none", str(small)], check=True)
    try:
        with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
            (path / "data").write_bytes(b"x" * 40_000_000)
            holdfast.adopt_volume("data", str(path))
            with (
                application(path, ram_directory / "record") as running,
                filled_by_others(small, small / "2.img"),
            ):
                with pytest.raises(HoldfastError):
                    holdfast.restorations.migrate(
                        MigrateRequest("data", (f"file:{small}/2.img",), filesystem="ext4")
                    )
                running.wait_for_more()
                assert running.verify() > 0
            steps = [step.name for step in holdfast.receipts("data")[0].steps]
            assert "freeze" not in steps
            assert [each.name for each in small.iterdir()] == ["others"]
    finally:
        subprocess.run(["umount", str(small)], check=True)
