"""A history that somebody removes, exchanges, damages, or that cannot be written: never in silence,
never more than is asked for, and whoever writes to the volume hears nothing of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import HistoryFailed, HoldsData
from holdfast.model.trouble import troubles_of
from holdfast.model.volume import JournalFailurePolicy
from holdfast.service import Holdfast
from tests.faults.small_disk import SmallDisk
from tests.kernel.gate.kept_volume import Writer, made, succeed, write
from tests.waiting import wait_until

RunHoldfast = Callable[..., Any]


@pytest.fixture(name="holdfast")
def _holdfast(holdfast_home: Path) -> Iterator[Holdfast]:
    with Holdfast() as found:
        yield found


def troubles(holdfast: Holdfast) -> list[str]:
    """What `status` says of the history."""
    found = troubles_of(holdfast.show_volume("shop"))
    return [each.words for each in found if each.about == "history"]


def outcomes(holdfast: Holdfast) -> list[str]:
    """Of the receipts that tell of a history that goes on."""
    found = [each.outcome for each in holdfast.receipts("shop")]
    return [each for each in found if each.startswith("the history goes on")]


@pytest.mark.parametrize("what", ["directory", "mount"])
def test_taken_away_while_it_is_written(
    holdfast: Holdfast, run_holdfast: RunHoldfast, ram_directory: Path, what: str
) -> None:
    """Within seconds: it fails, and says so, until it is begun again."""
    with (
        SmallDisk(ram_directory / "small", 64 << 20) as disk,
        made(holdfast, ram_directory) as mount,
        Writer(mount) as writer,
    ):
        history = disk.path / "history"
        holdfast.histories.keep("shop", str(history), None, None)
        writer.go_on()
        assert troubles(holdfast) == []
        if what == "directory":
            shutil.rmtree(history)
        else:
            subprocess.run(["umount", "--lazy", disk.path], check=True)
        wait_until(lambda: bool(troubles(holdfast)))
        writer.go_on()
        assert run_holdfast("status", "--check", check=False).returncode == 1
        assert "history" in run_holdfast("status", check=False).stdout
        assert run_holdfast("history", "shop", "--verify", check=False).returncode == 7
        assert "fails" in run_holdfast("history", "shop").stdout
        writer.go_on()
        holdfast.histories.end("shop")
        holdfast.histories.keep("shop", str(ram_directory / "another"), None, None)
        writer.go_on()
        assert troubles(holdfast) == []
        if what == "mount":
            subprocess.run(["mount", "-t", "tmpfs", "small", disk.path], check=True)


@pytest.mark.parametrize("which", ["all", "newest"])
def test_segments_removed_while_they_are_written(
    holdfast: Holdfast, ram_directory: Path, which: str
) -> None:
    """It is begun anew, and a receipt says that something is missing."""
    history = ram_directory / "history"
    with made(holdfast, ram_directory) as mount, Writer(mount) as writer:
        holdfast.histories.keep("shop", str(history), None, None)
        writer.go_on()
        succeed(holdfast.settings.gate_run_directory("shop"))
        writer.go_on()
        segments = sorted(history.glob("segment-*"))
        for each in segments if which == "all" else segments[-1:]:
            each.unlink()
        wait_until(lambda: "the history goes on, with a gap" in outcomes(holdfast))
        writer.go_on()
        report = holdfast.histories.show("shop", verify=True)
        assert (report.state, report.reason) == ("written", "")
        assert len(report.stretches) == (1 if which == "all" else 2)
        if which == "newest":
            assert "removed" in report.stretches[0].reason


def test_segments_removed_at_rest(holdfast: Holdfast, ram_directory: Path) -> None:
    """Nothing says that there was more, but a file of six bytes; also after the host went down."""
    history = ram_directory / "history"
    with made(holdfast, ram_directory) as mount:
        holdfast.histories.keep("shop", str(history), None, None)
        write(mount, 1)
        holdfast.detach_volume("shop")
        position = holdfast.histories.show("shop").stretches[0].position
        for each in history.glob("segment-*"):
            each.unlink()
        holdfast.attach_volume("shop")
        write(mount, 2)
        wait_until(lambda: "the history goes on, with a gap" in outcomes(holdfast))
        report = holdfast.histories.show("shop", verify=True)
        assert len(report.stretches) == 1 and report.stretches[0].position > position
        holdfast.histories.end("shop")
        for each in history.glob("segment-*"):
            each.unlink()
        count = len(outcomes(holdfast))
        holdfast.histories.keep("shop", str(history), None, None)  # on purpose: nothing to tell
        write(mount, 3)
        assert len(outcomes(holdfast)) == count


def test_exchanged_at_rest(holdfast: Holdfast, ram_directory: Path) -> None:
    """Neither volume takes the other one's for its own, or removes anything."""
    ours, theirs, aside = (ram_directory / each for each in ("ours", "theirs", "aside"))
    with made(holdfast, ram_directory), made(holdfast, ram_directory, "mail"):
        holdfast.histories.keep("shop", str(ours), None, None)
        holdfast.histories.keep("mail", str(theirs), None, None)
        for name in ("shop", "mail"):
            holdfast.detach_volume(name)
        before = sorted(each.read_bytes()[:4096] for each in ram_directory.glob("*/segment-*"))
        ours.rename(aside)
        theirs.rename(ours)
        aside.rename(theirs)
        for name in ("shop", "mail"):
            with pytest.raises(HistoryFailed, match="another volume"):
                holdfast.attach_volume(name)
        after = sorted(each.read_bytes()[:4096] for each in ram_directory.glob("*/segment-*"))
        assert after == before
        ours.rename(aside)
        theirs.rename(ours)
        aside.rename(theirs)


def test_a_volume_that_is_deleted_says_where_its_history_stays(
    run_holdfast: RunHoldfast, ram_directory: Path
) -> None:
    history, leg = ram_directory / "history", f"file:{ram_directory}/shop.img"
    mount = ram_directory / "mnt"
    run_holdfast("volume", "create", "shop", "--size", "64M", "--mount", mount, "--leg", leg)
    would = run_holdfast("history", "shop", "--at", history, "--dry-run", json=True)
    assert str(history) in would["would"][0] and would["findings"]
    assert not history.exists()
    run_holdfast("history", "shop", "--at", history)
    left = run_holdfast("volume", "delete", "shop", "--yes").stderr
    assert str(history) in left and (history / "lock").exists()


def test_a_directory_that_is_in_use(holdfast: Holdfast, ram_directory: Path) -> None:
    """Nothing in it is touched, nor is it made private."""
    place = ram_directory / "srv"
    place.mkdir(mode=0o755)
    for name in ("check", "lock", "data"):
        other = place / name
        other.write_bytes(b"theirs")
        other.chmod(0o600)
        with made(holdfast, ram_directory), pytest.raises(HoldsData):
            holdfast.histories.keep("shop", str(place), None, None)
        assert other.read_bytes() == b"theirs"
        other.unlink()
    assert place.stat().st_mode & 0o777 == 0o755


def test_damage_is_found(
    holdfast: Holdfast, run_holdfast: RunHoldfast, ram_directory: Path
) -> None:
    """In the middle, at a first page, torn off: `--verify` says where, and what can be reached."""
    history = ram_directory / "history"
    with made(holdfast, ram_directory) as mount:
        holdfast.histories.keep("shop", str(history), None, None)
        for number in range(4):
            for _ in range(3):
                write(mount, number)
            succeed(holdfast.settings.gate_run_directory("shop"))
        write(mount, 4)
        assert run_holdfast("history", "shop", "--verify").returncode == 0
        first, second, third, *_ = sorted(history.glob("segment-*"))
        with first.open("r+b") as file:
            file.seek(4096 + 100)
            file.write(b"damage")
        with second.open("r+b") as file:
            file.truncate(4096 + 64)
        with third.open("r+b") as file:
            file.write(b"damage")
        assert run_holdfast("history", "shop").returncode == 0
        found = run_holdfast("history", "shop", "--verify", json=False, check=False)
        assert found.returncode == 1
        assert "damaged" in found.stdout and "missing" in found.stdout
        report = holdfast.histories.show("shop", verify=True)
        assert [each.is_damaged for each in report.stretches] == [True, True, False]
        assert troubles(holdfast) == []  # it is written: what is new is kept
        holdfast.detach_volume("shop")
        holdfast.attach_volume("shop")
        write(mount, 5)
        assert holdfast.histories.show("shop").state == "written"
        with sorted(history.glob("segment-*"))[-1].open("r+b") as file:
            file.seek(4096 + 100)
            file.write(b"damage")
        assert holdfast.histories.show("shop", verify=True).stretches[-1].is_damaged


def test_full_then_read_only_and_back(holdfast: Holdfast, ram_directory: Path) -> None:
    """Said until it can be written again; then a receipt, one for all attempts."""
    with (
        SmallDisk(ram_directory / "small", 64 << 20) as disk,
        made(holdfast, ram_directory) as mount,
    ):
        history = disk.path / "history"
        report = holdfast.histories.keep("shop", str(history), None, None)
        assert any("without --limit" in each for each in report.findings)
        with Writer(mount) as writer:
            writer.go_on()
            disk.fill()
            wait_until(lambda: bool(troubles(holdfast)))
            writer.go_on()
        disk.free()  # not while he writes: he would fill it again
        wait_until(lambda: not troubles(holdfast))
        wait_until(lambda: bool(outcomes(holdfast)))
        assert len(outcomes(holdfast)) == 1
        holdfast.detach_volume("shop")
        disk.read_only(True)
        assert holdfast.histories.show("shop", verify=True).is_read
        with pytest.raises(HistoryFailed, match="Read-only"):
            holdfast.attach_volume("shop")
        disk.read_only(False)
        holdfast.attach_volume("shop")
        hold = JournalFailurePolicy.HOLD
        assert holdfast.histories.keep("shop", "", None, None, hold).on_failure == "hold"
