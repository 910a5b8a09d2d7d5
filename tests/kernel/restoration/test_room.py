"""A large file without a name is open, and the disk of Holdfast's own state is too small for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import Blocked, TooSmall
from holdfast.model.finding import Verdict
from holdfast.service import AssessRequest, Holdfast, MigrateRequest
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.restoration.bench import make_image, mounted

MIB = 1 << 20

PROGRAM = """
import os, sys
file = os.open(sys.argv[1] + "/large", os.O_RDWR | os.O_CREAT)
for _ in range(int(sys.argv[2])):
    os.write(file, bytes([65]) * (1 << 20))
os.fsync(file)
os.unlink(sys.argv[1] + "/large")
print("ready", flush=True)
for line in sys.stdin:
    print(os.pread(file, 3, 0).decode(), flush=True)
"""


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    folder.mkdir()
    size = f"size={size_bytes}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_found_before_anything_begins(ram_directory: Path) -> None:
    first = make_image(ram_directory / "1.img")
    with (
        mounted(first, ram_directory / "mnt") as path,
        small_disk(ram_directory / "state", 100 * MIB) as state,
    ):
        little = Settings(home=state / "home")
        program = Program([sys.executable, "-c", PROGRAM, path, "60"])
        try:
            with Holdfast(little) as holdfast:
                holdfast.adopt_volume("data", str(path))
                url = f"file:{ram_directory}/2.img"
                found = holdfast.restorations.assess(
                    AssessRequest("data", urls=(url,), filesystem="ext4")
                )
                told = [each for each in found.plan.findings if "without a name" in each.subject]
                assert [each.verdict for each in told] == [Verdict.BLOCKS]
                with pytest.raises(Blocked, match="carried over"):
                    holdfast.restorations.migrate(MigrateRequest("data", (url,), filesystem="ext4"))
            assert program.ask() == "AAA"
            assert not (ram_directory / "2.img").exists()
        finally:
            program.close()


def test_found_while_everybody_stands(ram_directory: Path) -> None:
    """Others have filled the disk meanwhile: all go on as if nothing had happened."""
    bench = Bench(ram_directory)
    try:
        program = Program([sys.executable, "-c", PROGRAM, bench.path, "20"])
        try:
            with small_disk(ram_directory / "small", 70 * MIB) as small:
                bench.record = small / "record"
                rebind = bench.rebind()
                rebind.stop()
                with pytest.raises(TooSmall):
                    rebind.park()
                assert not bench.record.exists()
                assert program.ask() == "AAA"
        finally:
            program.close()
    finally:
        bench.close()
