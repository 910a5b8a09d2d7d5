"""Which loop devices show a file: all of them are found, and nobody's storage is waited for."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from holdfast.errors import DeadlinePassed
from holdfast.system.children.run import run
from holdfast.system.storage.filesystem import grow_filesystem
from holdfast.system.storage.loop import LoopDevice, loop_devices
from holdfast.system.storage.loop_backing import ASK_SECONDS, backing_identities, devices_showing
from holdfast.system.storage.loop_note import note_filesystem, noted_filesystem
from tests.faults.hanging_loop import Where, hanging_loop
from tests.faults.mounting import attach_to, unmount
from tests.faults.own_loop import own_loop
from tests.hanging_reader import hanging_reader
from tests.waiting import wait_until

Attach = Callable[..., str]


@pytest.fixture
def image(ram_directory: Path) -> Path:
    path = ram_directory / "ours.img"
    with path.open("wb") as file:
        file.truncate(32 << 20)
    return path


@pytest.fixture
def attach() -> Iterator[Attach]:
    """`attach(path, *options)`: the loop device."""
    with ExitStack() as stack:

        def losetup(path: Path, *options: str) -> str:
            command = ["losetup", *options, "--find", "--show", str(path)]
            device = subprocess.check_output(command, text=True).strip()
            stack.callback(subprocess.run, ["losetup", "--detach", device], check=True)
            return device

        yield losetup


@pytest.fixture(params=list(Where), ids=[where.name for where in Where])
def stranger(disk_directory: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    with hanging_loop(disk_directory, request.param) as device:
        yield device


def _alone(device: str) -> list[LoopDevice]:
    """Not the devices of others on this host."""
    return [each for each in loop_devices() if each.device == device]


def _shown(path: Path) -> list[str]:
    return [each.device for each in devices_showing(path)]


@contextmanager
def _written(image: Path) -> Iterator[None]:
    """Somebody has it open for writing, as a loop device has."""
    with image.open("r+b"):
        yield


def test_under_whatever_name(image: Path, attach: Attach, ram_directory: Path) -> None:
    other, folder = ram_directory / "other.img", ram_directory / "bound"
    os.link(image, other)
    folder.mkdir()
    subprocess.run(["mount", "--bind", str(ram_directory), str(folder)], check=True)
    try:
        devices = [attach(image), attach(other), attach(folder / "ours.img")]
    finally:
        unmount(folder)
    link = ram_directory / "link.img"
    link.symlink_to(image)
    for path in (image, other, link):
        assert sorted(_shown(path)) == sorted(devices)


def test_one_that_only_reads(image: Path, attach: Attach) -> None:
    device = attach(image, "--read-only")
    assert _shown(image) == [device]


def test_another_image_in_its_place_is_not_shown(image: Path, attach: Attach) -> None:
    device = attach(image)
    with image.with_name("new.img").open("wb") as file:
        file.truncate(32 << 20)
    image.with_name("new.img").rename(image)
    with _written(image):
        assert devices_showing(image, _alone(device)) == []


def test_where_nothing_is(ram_directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        devices_showing(ram_directory / "nothing")


def test_what_is_behind_a_device(image: Path, attach: Attach) -> None:
    device, status = attach(image), image.stat()
    assert backing_identities([device]) == {device: (status.st_dev, status.st_ino)}


def test_nobody_is_asked_about_a_file_that_nobody_writes(stranger: str, image: Path) -> None:
    begun = time.monotonic()
    assert _shown(image) == []
    assert time.monotonic() - begun < ASK_SECONDS


def test_who_hangs_shows_another_file(stranger: str, image: Path, attach: Attach) -> None:
    with _written(image):
        assert devices_showing(image, _alone(stranger)) == []
    device = attach(image)
    assert _shown(image) == [device]
    assert stranger not in backing_identities([stranger, device])


def test_who_hangs_and_only_reads_shows_another_file(disk_directory: Path, image: Path) -> None:
    with hanging_loop(disk_directory, Where.ELSEWHERE, read_only=True):
        assert _shown(image) == []


def test_one_that_cannot_be_opened_may_show_anything(
    disk_directory: Path, image: Path, attach: Attach
) -> None:
    """Its last user waits in close(2) and has the device locked."""
    with hanging_loop(disk_directory, Where.ELSEWHERE) as device:
        reader = hanging_reader(device)
        assert _shown(image) == [], "whoever writes to it would have it open"
        told = f"{device} did not say .* is in state D, in .*open"
        with _written(image), pytest.raises(DeadlinePassed, match=told):
            devices_showing(image)
        ours = attach(image)
        assert _shown(image) == [ours], "who writes to it is found"
    reader.wait()

    def is_buried() -> bool:
        run(["true"])
        return "losetup" not in _children()

    wait_until(is_buried, "a program that could not be killed is a zombie for ever")


def _children() -> list[str]:
    """Names of this process's children, zombies too."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids]


def _tool(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Another losetup: the host takes the processor from it, or kills it, at that place."""
    folder.mkdir()
    tool = folder / "losetup"
    tool.write_text(f"#!/bin/sh\nfor device; do :; done\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    "script",
    ['exec 3<"$device"; kill -STOP $$', "kill -STOP $$", 'exec 3<"$device"; while :; do :; done'],
    ids=["with the device open", "before that", "too slow"],
)
@pytest.mark.parametrize("name", ["ours.img", "linked.img"])
def test_who_gets_no_processor_may_have_been_asking_about_this_file(
    image: Path,
    attach: Attach,
    ram_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    name: str,
) -> None:
    if name != image.name:
        os.link(image, ram_directory / name)
    device = attach(ram_directory / name)
    _tool(ram_directory / "bin", monkeypatch, script)
    with pytest.raises(DeadlinePassed, match=f"{device} did not say"):
        devices_showing(image, _alone(device))


def test_who_waits_to_open_a_device_for_some_seconds_is_waited_for(
    image: Path, attach: Attach, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While somebody attaches it, or detaches it, say: open(2) of a FIFO waits just so."""
    device, fifo = attach(image), ram_directory / "fifo"
    os.mkfifo(fifo)
    losetup = shutil.which("losetup")
    later = f"{{ sleep {ASK_SECONDS + 1.5}; : >{fifo}; }} >/dev/null &"
    _tool(ram_directory / "bin", monkeypatch, f'{later} exec 3<{fifo}; exec {losetup} "$@"')
    assert devices_showing(image, _alone(device)) == _alone(device)


def test_who_gets_no_processor_and_only_reads_may_show_it(
    image: Path, attach: Attach, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = attach(image, "--read-only")
    _tool(ram_directory / "bin", monkeypatch, 'exec 3<"$device"; kill -STOP $$')
    with pytest.raises(DeadlinePassed, match=f"{device} did not say"):
        devices_showing(image, _alone(device))


def test_who_was_killed_has_not_answered(
    image: Path, attach: Attach, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = attach(image)
    _tool(ram_directory / "bin", monkeypatch, "kill -KILL $$")
    with pytest.raises(DeadlinePassed, match=f"{device} did not say"):
        devices_showing(image, _alone(device))


@pytest.mark.parametrize(
    "ending",
    ["echo; exec >&- 2>&-; sleep 1", "kill -STOP $$"],
    ids=["told, on a busy host", "the one who asks stands still"],
)
def test_one_that_is_detached_meanwhile_shows_nothing(
    image: Path, ram_directory: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """losetup tells it by an empty line, and ends a moment after that."""
    other = ram_directory / "other.img"
    shutil.copy(image, other)
    losetup = shutil.which("losetup")
    with own_loop() as device, _written(image):
        assert attach_to(device, other)
        alone = _alone(device)
        _tool(ram_directory / "bin", monkeypatch, f"{losetup} --detach $device; {ending}")
        assert devices_showing(image, alone) == []


def test_whoever_writes_to_the_file_may_let_go_of_it_while_others_are_asked(
    image: Path,
    attach: Attach,
    ram_directory: Path,
    disk_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever just made it, say: then no device that can write shows it, whatever it says."""
    other = disk_directory / "other.img"
    shutil.copy(image, other)
    device = attach(other)
    with image.open("r+b") as file:
        writer = subprocess.Popen(["sleep", "infinity"], stdout=file)
    try:
        _tool(ram_directory / "bin", monkeypatch, f"kill {writer.pid}; kill -STOP $$")
        assert devices_showing(image, _alone(device)) == []
    finally:
        writer.kill()
        writer.wait()


def test_what_was_noted_counts_for_one_attachment(image: Path, disk_directory: Path) -> None:
    other = disk_directory / "other.img"
    shutil.copy(image, other)
    with own_loop() as device:
        assert attach_to(device, other)
        assert noted_filesystem(device) is None
        note_filesystem(device)
        assert noted_filesystem(device) == other.stat().st_dev != image.stat().st_dev
        with _written(image):
            assert _shown(other) == [device]
            assert devices_showing(image, _alone(device)) == []
        subprocess.run(["losetup", "--detach", device], check=True)
        wait_until(lambda: attach_to(device, image), "the device is not free")
        assert noted_filesystem(device) is None
        assert _shown(image) == [device]
        subprocess.run(["losetup", "--detach", device], check=True)


def test_an_ext4_grows_beside_a_mounted_one_that_hangs(
    disk_directory: Path, ram_directory: Path, image: Path, attach: Attach
) -> None:
    """resize2fs asks each mounted loop device before its own."""
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    folder = ram_directory / "mnt"
    folder.mkdir()
    with hanging_loop(disk_directory, Where.MOUNTED):
        device = attach(image)
        subprocess.run(["mount", device, str(folder)], check=True)
        try:
            grow_filesystem("ext4", device, str(folder))
        finally:
            subprocess.run(["umount", str(folder)], check=True)
