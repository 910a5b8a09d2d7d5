"""A history begun, limited, ended and begun again under a file system in use, by the service."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import (
    ForeignLeg,
    HistoryFailed,
    InUse,
    InvalidOption,
    OwnLeg,
    Untrusted,
)
from holdfast.gate.runtime.shared_page import read_counters
from holdfast.model.volume import JournalFailurePolicy
from holdfast.service import Holdfast
from tests.faults.fuse_tree import FuseTree
from tests.faults.images import copy_image
from tests.faults.power_cut import PowerCut
from tests.faults.small_disk import SmallDisk
from tests.kernel.gate.kept_volume import Writer, kill, made, script, succeed, write
from tests.kernel.volume.stack import SIZE
from tests.waiting import wait_until


@pytest.fixture(name="holdfast")
def _holdfast(settings: Settings) -> Iterator[Holdfast]:
    with Holdfast(settings) as found:
        yield found


def test_under_a_writer_and_back(
    holdfast: Holdfast, ram_directory: Path, soak_rounds: Callable[[int, int], int]
) -> None:
    """A copy that is made while the volume is in use is brought to the end; whoever writes hears
    nothing of all that; what was not kept is a gap."""
    history, image = ram_directory / "history", ram_directory / "image.img"
    with made(holdfast, ram_directory) as mount, Writer(mount) as writer:
        for number in range(soak_rounds(2, 40)):
            writer.go_on()
            report = holdfast.histories.keep("shop", str(history), None, None)
            assert report.state == "written"
            assert len(report.stretches) == number + 1
            assert any("shares a disk" in each for each in report.findings)
            writer.go_on()
            base = holdfast.histories.show("shop").base_position
            copy_image(ram_directory / "shop.img", image)
            writer.go_on()
            holdfast.histories.keep("shop", "", 3600.0, None)
            writer.go_on()
            report = holdfast.histories.show("shop", verify=True)
            assert report.keep_seconds == 3600
            assert [bool(each.reason) for each in report.stretches] == [True] * number + [False]
            last = holdfast.histories.show("shop").position
            assert script(history, image, base, last) == 0
            assert holdfast.histories.end("shop").state == "off"
            writer.go_on()
            assert holdfast.histories.end("shop").state == "off"
        holdfast.histories.keep("shop", str(history), None, None)
        base = holdfast.histories.show("shop").base_position
        copy_image(ram_directory / "shop.img", image)
        writer.go_on()
        subprocess.run(["fsfreeze", "--freeze", mount], check=True)
        try:
            last = int(str(holdfast.show_volume("shop").gate.journal["position"]))  # type: ignore[union-attr]
            data = (ram_directory / "shop.img").read_bytes()[:SIZE]
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", mount], check=True)
        wait_until(lambda: holdfast.histories.show("shop").position >= last)
        assert script(history, image, base, last) == 0
        assert image.read_bytes()[:SIZE] == data


def test_killed_while_it_is_switched(
    holdfast: Holdfast, ram_directory: Path, soak_rounds: Callable[[int, int], int]
) -> None:
    """The worker is killed at any moment: it is on, or off, and whoever writes hears nothing."""
    history = ram_directory / "history"
    with made(holdfast, ram_directory) as mount, Writer(mount) as writer:
        run_directory = holdfast.settings.gate_run_directory("shop")
        for number in range(soak_rounds(6, 300)):
            counters = read_counters(run_directory)
            assert counters is not None
            timer = threading.Timer(0.002 * (number % 40), kill, (counters.worker_pid,))
            timer.start()
            if number % 2:
                holdfast.histories.end("shop")
                wanted = "off"
            else:
                holdfast.histories.keep("shop", str(history), None, None)
                wanted = "written"
            timer.join()
            assert holdfast.histories.show("shop").state == wanted
            writer.go_on(2)
        holdfast.histories.keep("shop", str(history), None, None)
        report = holdfast.histories.show("shop", verify=True)
        assert all(each.reason for each in report.stretches[:-1])


def test_places_that_will_not_do(holdfast: Holdfast, ram_directory: Path) -> None:
    """Each is refused before anything is changed."""
    history, keep = ram_directory / "history", holdfast.histories.keep
    others = ram_directory / "others"
    others.mkdir()
    with made(holdfast, ram_directory) as mount, made(holdfast, ram_directory, "mail"):
        generation = holdfast.show_volume("shop").gate.takeovers  # type: ignore[union-attr]
        with pytest.raises(OwnLeg):
            keep("shop", str(mount / "history"), None, None)
        with pytest.raises(OwnLeg):
            keep("shop", str(ram_directory / "mnt-mail" / "history"), None, None)
        with pytest.raises(HistoryFailed):
            keep("shop", str(ram_directory / "not" / "there"), None, None)
        with pytest.raises(InvalidOption):
            keep("shop", "", 3600.0, None)
        with pytest.raises(InvalidOption):
            keep("shop", str(history), None, 1 << 20)
        others.chmod(0o777)
        with pytest.raises(Untrusted):
            keep("shop", str(others), None, None)
        keep("mail", str(history), None, None)
        with pytest.raises(InUse):
            keep("shop", str(history), None, None)
        holdfast.histories.end("mail")
        with pytest.raises(ForeignLeg):
            keep("shop", str(history), None, None)
        assert holdfast.show_volume("shop").gate.takeovers == generation  # type: ignore[union-attr]
        assert holdfast.histories.show("shop").state == "off"


def test_away_at_the_start(holdfast: Holdfast, ram_directory: Path) -> None:
    """A disk that is not mounted is told from a history that is empty; without it the volume is
    attached once the history was ended, and what was not kept is a gap."""
    history, away = ram_directory / "history", ram_directory / "away"
    with made(holdfast, ram_directory) as mount:
        holdfast.histories.keep("shop", str(history), None, None)
        write(mount, 1)
        holdfast.detach_volume("shop")
        assert holdfast.histories.show("shop").state == "resting"
        history.rename(away)
        with pytest.raises(HistoryFailed):
            holdfast.attach_volume("shop")
        history.mkdir(mode=0o700)  # where its disk was mounted
        with pytest.raises(HistoryFailed):
            holdfast.attach_volume("shop")
        assert holdfast.histories.end("shop").state == "off"
        holdfast.attach_volume("shop")
        write(mount, 2)
        history.rmdir()
        away.rename(history)
        report = holdfast.histories.keep("shop", str(history), None, None)
        assert len(report.stretches) == 2
        assert report.stretches[0].reason


def test_no_more_than_its_limit(holdfast: Holdfast, ram_directory: Path) -> None:
    """The oldest segments go; what is left is whole."""
    history = ram_directory / "history"
    limit = 256 << 20
    with made(holdfast, ram_directory) as mount:
        first = holdfast.histories.keep("shop", str(history), 0, limit).stretches[0]
        for number in range(12):
            with (mount / "large").open("r+b" if number else "wb", buffering=0) as file:
                for _ in range(30):
                    file.write(os.urandom(1 << 20))
                os.fsync(file.fileno())
        report = holdfast.histories.show("shop", verify=True)
        assert sum(each.stat().st_size for each in history.iterdir()) <= limit
        assert len(report.stretches) == 1
        assert report.stretches[0].position > first.position


def test_full_and_ended(holdfast: Holdfast, ram_directory: Path) -> None:
    """As its policy says, the volume goes on; it can be ended in that state."""
    with (
        SmallDisk(ram_directory / "small", 40 << 20) as disk,
        made(holdfast, ram_directory) as mount,
    ):
        history = disk.path / "history"
        holdfast.histories.keep("shop", str(history), None, None)
        disk.fill()
        with (mount / "large").open("wb", buffering=0) as file:
            file.write(os.urandom(12 << 20))
            os.fsync(file.fileno())
        wait_until(lambda: holdfast.histories.show("shop").state == "fails")
        assert "No space" in holdfast.histories.show("shop").reason
        assert holdfast.histories.end("shop").state == "off"
        write(mount, 3)
        with pytest.raises(HistoryFailed):
            holdfast.histories.keep("shop", str(history), None, None)
        assert holdfast.histories.show("shop").state == "off"


def test_ended_while_it_hangs(holdfast: Holdfast, ram_directory: Path) -> None:
    """Whoever waits for it goes on, with both legs, and hears no error; nor does a worker that is
    killed meanwhile keep the legs from the next one."""
    served, path = ram_directory / "served", ram_directory / "tree"
    served.mkdir(mode=0o700)
    path.mkdir()
    with (
        FuseTree(served, path) as tree,
        made(holdfast, ram_directory, hang_timeout_seconds=5.0) as mount,
    ):
        holdfast.legs.add("shop", f"file:{ram_directory}/second.img")
        holdfast.histories.keep("shop", str(path), None, None, JournalFailurePolicy.HOLD)
        with Writer(mount) as writer, ExitStack() as stopped:
            writer.go_on()
            tree.stop()
            stopped.callback(tree.resume)
            wait_until(lambda: holdfast.histories.show("shop").state == "fails")
            succeed(holdfast.settings.gate_run_directory("shop"))
            in_sync = ["in-sync"] * 2  # though the worker before hangs
            wait_until(
                lambda: [str(leg.state) for leg in holdfast.show_volume("shop").legs] == in_sync
            )
            written = writer.written
            assert holdfast.histories.end("shop").state == "off"
            wait_until(lambda: writer.written > written + 1)
            assert [str(leg.state) for leg in holdfast.show_volume("shop").legs] == in_sync


def test_power_cut_while_it_is_switched(
    holdfast: Holdfast, ram_directory: Path, soak_rounds: Callable[[int, int], int]
) -> None:
    """Leg, history and gate.json of one instant. Where the history is on, what it has since the
    volume was attached again leads to what the leg has."""
    history, image = ram_directory / "history", ram_directory / "image.img"
    leg = ram_directory / "shop.img"
    history.mkdir(mode=0o700)
    with made(holdfast, ram_directory) as mount:
        run_directory = holdfast.settings.gate_run_directory("shop")
        saved = holdfast.settings.gate_state_directory("shop") / "gate.json"
        for number in range(soak_rounds(3, 100)):
            with Writer(mount) as writer:
                writer.go_on(3)
                switch = threading.Thread(
                    target=holdfast_switch, args=(holdfast.settings, str(history), number % 2)
                )
                switch.start()
                switch.join(0.03 * (number % 13))
                counters = read_counters(run_directory)
                assert counters is not None
                flushed = writer.written
                processes = [counters.keeper_pid, counters.worker_pid]
                try:
                    cut = PowerCut([leg, history, saved], ram_directory / f"cut-{number}")
                    copies = cut.copy(processes)
                except ProcessLookupError:  # the worker was just succeeded
                    continue
                finally:
                    switch.join()
            assert flushed
            holdfast.detach_volume("shop")
            (run_directory / "ring").unlink(missing_ok=True)
            shutil.rmtree(history)
            for copy, place in zip(copies, (leg, history, saved), strict=True):
                copy.rename(place)
            holdfast.attach_volume("shop")
            report = holdfast.histories.show("shop")
            write(mount, number)
            if report.state == "off":
                continue
            base = holdfast.histories.show("shop").base_position
            copy_image(leg, image)
            write(mount, number + 1)
            holdfast.detach_volume("shop")
            assert script(history, image, base) == 0
            assert image.read_bytes()[:SIZE] == leg.read_bytes()[:SIZE]
            holdfast.attach_volume("shop")


def holdfast_switch(settings: Settings, history: str, ends: int) -> None:
    """By another command."""
    with Holdfast(settings) as other:
        if ends:
            other.histories.end("shop")
        else:
            other.histories.keep("shop", history, None, None)
