"""Detaching: refused with names while in use or held, complete and repeatable otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import InUse, VolumeHeld
from holdfast.gate.outside.client import GateClient
from holdfast.gate.outside.launch import gate_is_running
from holdfast.model.volume import VolumeState
from holdfast.volumes.attach import attach_volume
from holdfast.volumes.detach import detach_volume
from holdfast.volumes.gate_device.loop_on_fuse.device_file import device_file_of
from holdfast.volumes.report import report_volume
from holdfast.volumes.stack.examine import examine_stack
from tests.kernel.volume.stack import volume, wish


@pytest.fixture
def settings(holdfast_home: Path) -> Settings:
    return Settings()


def test_nothing_is_left_and_everything_comes_back(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, wish(ram_directory, options="noatime")) as made:
        file = Path(made.mount.path) / "file"
        file.write_text("content")
        for _ in range(2):
            detach_volume(settings, made)
            assert examine_stack(settings, made.name).is_empty
            assert not gate_is_running(settings.gate_run_directory(made.name))
            assert not file.exists()
            assert report_volume(settings, made).state is VolumeState.DETACHED
        for _ in range(2):
            assert attach_volume(settings, made) == made
            assert file.read_text() == "content"
            assert report_volume(settings, made).state is VolumeState.HEALTHY


def test_a_volume_in_use_names_its_users(settings: Settings, ram_directory: Path) -> None:
    program = "import sys; f = open(sys.argv[1], 'w'); print('ready', flush=True); sys.stdin.read()"
    with volume(settings, wish(ram_directory)) as made:
        path = f"{made.mount.path}/open"
        with subprocess.Popen(
            [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            with pytest.raises(InUse, match=rf"python.*process {process.pid}: descriptor 3"):
                detach_volume(settings, made)
            assert report_volume(settings, made).state is VolumeState.HEALTHY
            assert process.stdin is not None
            process.stdin.close()
        detach_volume(settings, made)


def test_a_reader_of_the_device_is_named_and_nothing_is_changed(
    settings: Settings, ram_directory: Path
) -> None:
    """It would keep the gate from ending when the volume is dismounted already."""
    with volume(settings, wish(ram_directory)) as made:
        with device_file_of(settings, made.name).open("rb") as device:
            with pytest.raises(
                InUse, match=rf"process {os.getpid()}: descriptor {device.fileno()}"
            ):
                detach_volume(settings, made)
            assert report_volume(settings, made).state is VolumeState.HEALTHY
        detach_volume(settings, made)


def test_a_held_volume_is_not_detached(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, wish(ram_directory)) as made:
        client = GateClient(settings.gate_run_directory(made.name))
        client.hold(30.0, "a test")
        assert report_volume(settings, made).state is VolumeState.HELD
        with pytest.raises(VolumeHeld, match="a test"):
            detach_volume(settings, made)
        client.release()
        detach_volume(settings, made)
