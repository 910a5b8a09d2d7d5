"""An adopted volume is detached under its users, who wait until another command attaches it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import InUse, UnreadableRecord
from holdfast.model.recovery import Left
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


@pytest.mark.parametrize(
    ("before", "after"),
    [('"version": 2', '"version": 3'), ('"clock_offset_ns"', '"clock"'), ("{", "")],
    ids=["newer", "field", "torn"],
)
def test_what_is_parked_cannot_be_read(
    settings: Settings, ram_directory: Path, before: str, after: str
) -> None:
    """Nothing is changed: whoever can read it finishes it, and everybody has his files again."""
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as running:
            holdfast.restorations.park("data", 60.0)
            (journal,) = settings.state_directory.glob("restorations/*/parking/journal")
            text = journal.read_text()
            journal.write_text(text.replace(before, after))
            for _ in range(2):
                with pytest.raises(UnreadableRecord) as refusal:
                    holdfast.attach_volume("data")
                assert "recover --abandon data" in refusal.value.mend
            assert not path.is_mount()
            (left,) = holdfast.recover()
            assert isinstance(left, Left)
            assert not holdfast.receipts("data")
            journal.write_text(text)
            holdfast.attach_volume("data")
            running.wait_for_more()
            assert running.verify() > 0
