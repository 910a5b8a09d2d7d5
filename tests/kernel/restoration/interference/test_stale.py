"""Handles on a mount that somebody dismounted lazily are moved to the one in its place."""

from __future__ import annotations

import subprocess
from pathlib import Path

from holdfast.config import Settings
from holdfast.service import Holdfast
from holdfast.system.mounts.mount_table import mount_at
from tests.kernel.restoration.bench import application, make_image, mounted


def mount_numbers(pid: int) -> set[int]:
    """Mounts through which the process's descriptors and directory were opened."""
    found = set()
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        lines = dict(line.split(":\t") for line in entry.read_text().splitlines() if ":\t" in line)
        found.add(int(lines["mnt_id"]))
    return found


def test_handles_leave_the_stale_mount(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as running:
            before = mount_at(path)
            assert before is not None
            subprocess.run(["umount", "--lazy", str(path)], check=True)
            subprocess.run(["mount", before.source, str(path)], check=True)
            after = mount_at(path)
            assert after is not None
            assert before.identifier in mount_numbers(running.pid)
            assert len(holdfast.restorations.rebind("data", dry_run=True)) == 1
            assert before.identifier in mount_numbers(running.pid)
            moved = holdfast.restorations.rebind("data")
            assert len(moved) == 1
            receipt = holdfast.receipts("data")[0]
            assert running.process.poll() is None, receipt
            assert str(running.pid) in moved[0]
            assert before.identifier not in mount_numbers(running.pid)
            assert after.identifier in mount_numbers(running.pid)
            running.wait_for_more()
            assert running.verify() > 0
        assert holdfast.restorations.rebind("data") == ()
        assert holdfast.restorations.in_progress("data") is None
