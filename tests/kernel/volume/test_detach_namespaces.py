"""Detaching a volume with a gate is all or nothing, in every mount namespace."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import InUse
from holdfast.gate.outside.launch import gate_is_running
from holdfast.model.volume import VolumeState
from holdfast.volumes.detach import detach_volume
from holdfast.volumes.gate_device.loop_on_fuse.device_file import device_file_of
from holdfast.volumes.report import report_volume
from holdfast.volumes.stack.examine import examine_stack
from tests.kernel.volume.stack import volume, wish


@pytest.fixture
def settings(holdfast_home: Path) -> Settings:
    return Settings()


def in_a_namespace_of_its_own(program: str, *options: str) -> subprocess.Popen[bytes]:
    """A shell that says when it has begun, and ends with its standard input."""
    process = subprocess.Popen(
        ["unshare", "--mount", *options, "sh", "-c", f"{program}; echo ready; read x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
    )
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize("what", ["everything", "the gate's device alone"])
def test_copies_in_another_namespace_go_too(
    settings: Settings, ram_directory: Path, what: str
) -> None:
    with volume(settings, wish(ram_directory)) as made:
        program = f"umount {made.mount.path}" if what != "everything" else ":"
        with in_a_namespace_of_its_own(program):
            detach_volume(settings, made)
            assert examine_stack(settings, made.name).is_empty
            assert not gate_is_running(settings.gate_run_directory(made.name))


def test_a_user_there_is_named_and_nothing_is_changed(
    settings: Settings, ram_directory: Path
) -> None:
    with volume(settings, wish(ram_directory)) as made:
        file = Path(made.mount.path) / "file"
        file.write_text("content")
        with in_a_namespace_of_its_own(f"exec 5<{file}") as process:
            with pytest.raises(InUse, match=f"process {process.pid}: descriptor 5"):
                detach_volume(settings, made)
            assert report_volume(settings, made).state is VolumeState.HEALTHY
            assert file.read_text() == "content"
        detach_volume(settings, made)


def test_a_user_of_the_device_there_is_named_and_nothing_is_changed(
    settings: Settings, ram_directory: Path
) -> None:
    with volume(settings, wish(ram_directory)) as made:
        device = device_file_of(settings, made.name)
        with in_a_namespace_of_its_own(f"exec 5<{device}") as process:
            with pytest.raises(InUse, match=f"process {process.pid}: descriptor 5"):
                detach_volume(settings, made)
            assert report_volume(settings, made).state is VolumeState.HEALTHY
        detach_volume(settings, made)
