"""An adopted volume is detached under its users, who wait until another command attaches it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import InUse
from holdfast.service import Holdfast
from tests.kernel.restoration_bench import application, make_image, mounted
from tests.waiting import wait_until


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of its own: it exits, and with it everything that held the processes."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("holdfast")), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_users_wait_until_it_is_attached(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as running:
            with pytest.raises(InUse):
                holdfast.detach_volume("data")
            done = command("volume", "detach", "data", "--park", "60s")
            assert done.returncode == 0, done.stderr
            assert not path.is_mount()
            # The administrator can do what needs an unmounted device.
            subprocess.run(["e2fsck", "-f", "-n", str(image)], check=True, capture_output=True)
            lines, errors, _ = running.progress()
            assert errors == 0
            assert running.progress()[0] == lines, "it runs, and must not"
            assert command("recover").returncode == 0
            assert not path.is_mount(), "what waits on purpose is left alone"
            done = command("volume", "attach", "data")
            assert done.returncode == 0, done.stderr
            running.wait_for_more()
            assert running.verify() > lines
        assert holdfast.receipts("data")[0].strategy == "detach"


def test_after_the_deadline_they_run_with_errors_until_it_is_attached(
    settings: Settings, ram_directory: Path
) -> None:
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record", simple=True) as running:
            done = command("volume", "detach", "data", "--park", "8s")
            assert done.returncode == 0, done.stderr
            wait_until(lambda: running.progress()[1] > 0)
            assert running.process.poll() is None, "it must not crash"
            assert "beyond its deadline" in command("recover").stdout
            assert command("volume", "attach", "data").returncode == 0
            running.wait_for_more()  # what it has open leads to its files again
        assert (path / "log").exists()
