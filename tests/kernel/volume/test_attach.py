"""Attaching finds a volume again: after a crash, without its state, never the wrong one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import AlreadyExists, InUse, NoSuchVolume, StorageFailed
from holdfast.gate.outside.client import GateClient
from holdfast.gate.outside.launch import gate_is_running
from holdfast.model.volume import Volume, VolumeState
from holdfast.system.mounts.mount_table import mount_at
from holdfast.volumes.attach import attach_volume, rebuild_volume
from holdfast.volumes.detach import detach_volume
from holdfast.volumes.report import report_volume
from holdfast.volumes.stack.examine import examine_stack
from tests.faults import SmallDisk
from tests.faults.hanging_loop import Where, hanging_loop
from tests.faults.mounting import mount_image
from tests.hanging_reader import hanging_reader
from tests.kernel.volume.stack import volume, wish
from tests.recovering import recover
from tests.waiting import wait_until


@pytest.fixture
def settings(holdfast_home: Path) -> Settings:
    return Settings()


def two_legs(folder: Path) -> Volume:
    return wish(folder, f"file:{folder}/1.img", f"file:{folder}/2.img")


def kill_the_gate(settings: Settings, made: Volume) -> None:
    """Keeper and worker at once, before either can bring the other back."""
    run_directory = settings.gate_run_directory(made.name)
    shown = GateClient(run_directory).show()
    for process in ("keeper_pid", "worker_pid"):
        os.kill(shown[process], signal.SIGSTOP)
    for process in ("keeper_pid", "worker_pid"):
        os.kill(shown[process], signal.SIGKILL)
    wait_until(lambda: not gate_is_running(run_directory))


def write_durably(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def test_a_crash_of_everything_leaves_what_was_acknowledged(
    settings: Settings, ram_directory: Path
) -> None:
    with volume(settings, two_legs(ram_directory)) as made:
        file = Path(made.mount.path) / "file"
        write_durably(file, "acknowledged")
        kill_the_gate(settings, made)
        report = report_volume(settings, made)
        assert (report.state, report.gate) == (VolumeState.FAILED, None)
        attach_volume(settings, made)
        assert file.read_text() == "acknowledged"
        wait_until(lambda: report_volume(settings, made).state is VolumeState.HEALTHY)


def test_recover_takes_away_the_dead_and_leaves_the_living(
    settings: Settings, ram_directory: Path
) -> None:
    with (
        volume(settings, wish(ram_directory, name="dead")) as dead,
        volume(settings, wish(ram_directory, name="living")) as living,
    ):
        assert recover(settings) == []
        kill_the_gate(settings, dead)
        done = recover(settings)
        assert done
        assert not [line for line in done if "living" in line]
        assert examine_stack(settings, "dead").is_empty
        assert mount_at(dead.mount.path) is None
        assert report_volume(settings, living).state is VolumeState.HEALTHY
        assert recover(settings) == []


def test_a_dead_volume_that_is_still_open_is_dismounted_too(
    settings: Settings, ram_directory: Path
) -> None:
    with volume(settings, wish(ram_directory)) as made:
        file = Path(made.mount.path) / "file"
        write_durably(file, "acknowledged")
        with file.open():
            kill_the_gate(settings, made)
            attach_volume(settings, made)
            assert file.read_text() == "acknowledged"


def test_the_state_directory_may_be_lost(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, two_legs(ram_directory)) as made:
        write_durably(Path(made.mount.path) / "file", "content")
        detach_volume(settings, made)
        shutil.rmtree(settings.gate_state_directory(made.name))
        found = rebuild_volume(settings, made.name, made.leg_urls)
        assert found == replace(made, attached=False)
        attach_volume(settings, found)
        assert (Path(made.mount.path) / "file").read_text() == "content"
        detach_volume(settings, made)
        with pytest.raises(NoSuchVolume, match="shop"):
            rebuild_volume(settings, "other", made.leg_urls)


def test_a_leg_that_is_mounted_by_hand_is_refused(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, two_legs(ram_directory)) as made:
        detach_volume(settings, made)
        directory = ram_directory / "by hand"
        directory.mkdir()
        image = made.leg_urls[1].removeprefix("file:")
        mount_image(image, directory)
        try:
            with pytest.raises(InUse, match="attached as /dev/loop"):
                attach_volume(settings, made)
            assert not gate_is_running(settings.gate_run_directory(made.name))
        finally:
            subprocess.run(["umount", str(directory)], check=True)


def test_a_leg_that_somebody_may_have_attached_is_refused(
    settings: Settings, ram_directory: Path, disk_directory: Path
) -> None:
    """Somebody writes to it, and a device cannot be asked whether it is who does."""
    with volume(settings, two_legs(ram_directory)) as made:
        detach_volume(settings, made)
        image = Path(made.leg_urls[1].removeprefix("file:"))
        with hanging_loop(disk_directory, Where.ELSEWHERE) as device:
            reader = hanging_reader(device)
            with image.open("r+b"), pytest.raises(InUse, match=f"2.img may be attached: {device}"):
                attach_volume(settings, made)
            assert not gate_is_running(settings.gate_run_directory(made.name))
        reader.wait()


def test_another_file_system_on_the_legs_is_not_mounted(
    settings: Settings, ram_directory: Path
) -> None:
    with volume(settings, wish(ram_directory)) as made:
        detach_volume(settings, made)
        image = made.leg_urls[0].removeprefix("file:")
        size = str(made.size_bytes // 1024)
        subprocess.run(["mkfs.ext4", "-q", "-F", image, size], check=True)
        with pytest.raises(StorageFailed, match="recorded is ext4 with UUID"):
            attach_volume(settings, made)
        assert examine_stack(settings, made.name).is_empty
        assert not gate_is_running(settings.gate_run_directory(made.name))


def test_a_mount_path_that_is_taken_is_left_alone(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, wish(ram_directory)) as made:
        detach_volume(settings, made)
        with SmallDisk(Path(made.mount.path), 1 << 20):
            with pytest.raises(AlreadyExists, match="is mounted at"):
                attach_volume(settings, made)
            assert not gate_is_running(settings.gate_run_directory(made.name))


def test_a_mount_directory_that_was_removed_is_made_again(
    settings: Settings, ram_directory: Path
) -> None:
    with volume(settings, wish(ram_directory)) as made:
        detach_volume(settings, made)
        Path(made.mount.path).rmdir()
        attach_volume(settings, made)
        assert mount_at(made.mount.path) is not None
