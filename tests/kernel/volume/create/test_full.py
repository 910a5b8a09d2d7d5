"""The disk below fills up while a volume is made: an error within seconds, and nothing is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import TooSmall
from holdfast.gate.members.configuration import load_configuration
from holdfast.gate.outside.launch import gate_is_running
from holdfast.model.reporter import Reporter
from holdfast.volumes.create import create_volume
from holdfast.volumes.stack.examine import examine_stack
from tests.faults import SmallDisk
from tests.kernel.volume.stack import volume, wish


def test_the_disk_fills_meanwhile(settings: Settings, ram_directory: Path) -> None:
    with SmallDisk(ram_directory / "disk", 24 << 20) as disk:

        def fill(words: str) -> None:
            if words.startswith("make the"):
                disk.fill()

        wanted = wish(ram_directory, f"file:{disk.path}/leg.img", size_bytes=1 << 30)
        with pytest.raises(TooSmall, match="no space left"):
            create_volume(settings, wanted, reporter=Reporter(say=fill))
        assert [each.name for each in disk.path.iterdir()] == ["ballast"]
        assert examine_stack(settings, wanted.name).is_empty
        assert not gate_is_running(settings.gate_run_directory(wanted.name))
        assert not settings.gate_state_directory(wanted.name).exists()
        assert not Path(wanted.mount.path).exists()
        disk.free()
        with volume(settings, wanted) as made:  # nothing is in its way
            configuration = load_configuration(settings.gate_state_directory(made.name))
            assert configuration.hold_timeout_seconds == wanted.hold_timeout_seconds


def test_there_is_room_again_before_it_is_told(
    settings: Settings, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What finds room after the write that failed ends the hold, and takes no cause with it."""
    with SmallDisk(ram_directory / "disk", 24 << 20) as disk:
        tools = ram_directory / "tools"
        tools.mkdir()
        make = tools / "mkfs.ext4"
        make.write_text(
            f"""#!/bin/sh
            for device; do :; done
            store() {{ dd if=/dev/urandom of="$device" bs=4k count=1 seek=$1 oflag=direct; }}
            dd if=/dev/zero of={disk.path}/ballast bs=4k
            store 1000 && exit 0
            rm {disk.path}/ballast
            store 2000
            exit 1
            """
        )
        make.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
        wanted = wish(ram_directory, f"file:{disk.path}/leg.img", size_bytes=1 << 30)
        with pytest.raises(TooSmall, match="no space left"):
            create_volume(settings, wanted)
        assert not list(disk.path.iterdir())
