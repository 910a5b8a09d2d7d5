"""A migration as a job: what is told, what it gives, and what becomes of it when it is ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import Found, Holdfast, Job, MigrateRequest, Progressed, Said, Settings
from holdfast.coordination.turn import turn
from holdfast.errors import InUse, JobDied, JobInterrupted
from holdfast.jobs import Died, Finished, Interrupted
from holdfast.model.receipt import Receipt
from tests.kernel.restoration.bench import (
    Application,
    application,
    is_settled,
    make_image,
    mounted,
)


@pytest.fixture
def running(settings: Settings, ram_directory: Path) -> Iterator[Application]:
    """An application on an adopted volume `data` of ext4."""
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as found:
            yield found


@pytest.fixture
def request_(ram_directory: Path) -> MigrateRequest:
    """The volume is to lie in another image."""
    return MigrateRequest("data", (f"file:{ram_directory}/2.img",), filesystem="btrfs")


def filesystem_of(settings: Settings) -> str:
    """Of the volume, as it is mounted."""
    with Holdfast(settings) as holdfast:
        return holdfast.show_volume("data").filesystem


def assert_it_is_settled(settings: Settings, running: Application) -> None:
    """Nobody stands still, nothing is half done, and the application has everything."""
    assert is_settled(running.pid)
    running.wait_for_more()
    assert running.verify() > 0
    with Holdfast(settings) as holdfast:
        assert holdfast.restorations.in_progress("data") is None
        assert holdfast.recover() == []


def test_it_tells_what_it_does_and_gives_the_receipt(
    settings: Settings, running: Application, request_: MigrateRequest
) -> None:
    with Job(request_, settings) as job:
        events = list(job)
        receipt = job.result()
    said = [each.words for each in events if isinstance(each, Said)]
    steps = ["freeze", "capture", "flush", "lock", "dismount", "restore", "remount"]
    assert said[0] == "prepare the container"
    assert [words for words in said if words in steps] == steps
    assert max(each.percent for each in events if isinstance(each, Progressed)) == 100.0
    assert [each.at for each in events] == sorted(each.at for each in events)
    found = [each.finding.as_json() for each in events if isinstance(each, Found)]
    assert found and all(each in receipt.details["findings"] for each in found)
    with Holdfast(settings) as holdfast:
        assert receipt == holdfast.receipt(receipt.id)
    assert filesystem_of(settings) == "btrfs"
    assert_it_is_settled(settings, running)


@pytest.mark.parametrize("part", ["prepare the container", "freeze", "dismount", "restore"])
def test_killed_in_the_middle(
    settings: Settings, running: Application, request_: MigrateRequest, part: str
) -> None:
    job = Job(request_, settings)
    for event in job:
        if isinstance(event, Said) and event.words == part:
            os.kill(job.pid, signal.SIGKILL)
    if isinstance(job.end, Finished):
        assert part not in ("prepare the container", "freeze")  # it was quicker than we
        return
    assert job.end == Died(signal.SIGKILL)
    with pytest.raises(JobDied):
        job.result()
    with Holdfast(settings) as holdfast:
        (done,) = holdfast.recover()
    finished = done.endswith("finished")
    assert filesystem_of(settings) == ("btrfs" if finished else "ext4")
    assert_it_is_settled(settings, running)


@pytest.mark.parametrize("part", ["prepare the container", "freeze", "restore"])
def test_interrupted_in_the_middle(
    settings: Settings,
    running: Application,
    request_: MigrateRequest,
    ram_directory: Path,
    part: str,
) -> None:
    job = Job(request_, settings)
    for event in job:
        if isinstance(event, Said) and event.words == part:
            job.interrupt()
    if isinstance(job.end, Finished):
        assert part == "restore"  # from Replay on it goes forward
    else:
        assert job.end == Interrupted(signal.SIGTERM)
        with pytest.raises(JobInterrupted):
            job.result()
        assert filesystem_of(settings) == "ext4"
        assert not (ram_directory / "2.img").exists()
    assert_it_is_settled(settings, running)


def test_it_has_its_turn_as_any_command(
    settings: Settings, running: Application, request_: MigrateRequest
) -> None:
    with Job(request_, settings) as job:
        part = next(each.words for each in job if isinstance(each, Said))
        assert part == "prepare the container"
        os.kill(job.pid, signal.SIGSTOP)
        with (
            pytest.raises(InUse, match=rf"process {job.pid}\b"),
            turn(settings.run_directory, "data", wait_seconds=0.1),
        ):
            pytest.fail("two are at work on the volume")
        os.kill(job.pid, signal.SIGCONT)
        assert isinstance(job.result(), Receipt)
    assert_it_is_settled(settings, running)
