"""An adopted volume is detached under its users, who wait until another command attaches it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.applications.rebind.parking.record import VERSION
from holdfast.config import Settings
from holdfast.errors import Blocked, InUse, UnreadableRecord
from holdfast.model.recovery import Left
from holdfast.service import Holdfast
from tests.kernel.restoration.bench import application, make_image, mounted
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
    [
        (f'"version": {VERSION}', f'"version": {VERSION + 1}'),
        ('"clock_offset_ns"', '"clock"'),
        ("{", ""),
    ],
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


LOST = [Path.unlink, lambda journal: journal.write_text(""), lambda journal: cut_after(journal, 1)]


@pytest.mark.parametrize("lose", LOST, ids=["deleted", "empty", "its end"])
def test_what_is_parked_is_written_nowhere_any_more(
    settings: Settings, ram_directory: Path, lose: Callable[[Path], object]
) -> None:
    """An administrator deletes it, or its storage has lost it: they say themselves that they wait.

    Nothing is changed. Whoever puts it back gives everybody his files again.
    """
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as running:
            holdfast.restorations.park("data", 60.0)
            (journal,) = settings.state_directory.glob("restorations/*/parking/journal")
            text = journal.read_text()
            lose(journal)
            with pytest.raises(UnreadableRecord, match=rf"\(process {running.pid}\)") as refusal:
                holdfast.attach_volume("data")
            assert "recover --abandon data" in refusal.value.mend
            assert not path.is_mount()
            (left,) = holdfast.recover()
            assert isinstance(left, Left)
            assert f"process {running.pid}" in left
            journal.write_text(text)
            holdfast.attach_volume("data")
            running.wait_for_more()
            assert running.verify() > 0


def test_it_is_given_up(settings: Settings, ram_directory: Path) -> None:
    """Who was parked runs on at once, and is named."""
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record", simple=True) as running:
            holdfast.restorations.park("data", 600.0)
            (journal,) = settings.state_directory.glob("restorations/*/parking/journal")
            journal.unlink()
            found = [each.found for each in holdfast.doctor() if each.subject == "parked handles"]
            assert any(f"(process {running.pid})" in each for each in found)
            words = holdfast.restorations.abandon("data")
            assert f"errors in place of their files have the processes {running.pid}" in words
            wait_until(lambda: running.progress()[1] > 0)
        holdfast.attach_volume("data")


def cut_after(journal: Path, lines: int) -> None:
    """Only its first lines are on storage."""
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:lines]))


DEEP = """
import mmap, os, sys
os.chdir(sys.argv[1])
for _ in range(260):
    os.mkdir("d" * 255)
    os.chdir("d" * 255)
file = os.open("file", os.O_RDWR | os.O_CREAT)
os.truncate(file, 4096)
mapped = mmap.mmap(file, 4096)
os.chdir("/")
os.closerange(file, file + 10)
print("ready", flush=True)
sys.stdin.readline()
"""


def test_one_whose_handle_cannot_be_written_down(settings: Settings, ram_directory: Path) -> None:
    """It is named before anybody is stopped; nobody's handles are lost for it."""
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        program = [sys.executable, "-c", DEEP, str(path)]
        with (
            subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as deep,
            application(path, ram_directory / "record") as running,
        ):
            assert deep.stdout is not None
            assert deep.stdout.readline() == b"ready\n"
            with pytest.raises(Blocked, match=f"process {deep.pid}"):
                holdfast.restorations.park("data", 60.0)
            deep.communicate(timeout=30)
            assert path.is_mount()
            assert holdfast.restorations.in_progress("data") is None
            assert running.verify() > 0
