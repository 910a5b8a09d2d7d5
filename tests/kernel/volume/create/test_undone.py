"""A volume whose making fails halfway leaves nothing: no image, gate, device or directory."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.containers import open_container
from holdfast.errors import CommandFailed, DeadlinePassed
from holdfast.gate.members.superblock import container_bytes_needed
from holdfast.gate.outside.launch import gate_is_running
from holdfast.volumes.create import create_volume
from holdfast.volumes.stack.examine import examine_stack
from tests.faults import FuseLeg, LoopLeg
from tests.kernel.volume.stack import SIZE, volume, wish

NEEDED = container_bytes_needed(SIZE)


@pytest.fixture
def settings(holdfast_home: Path) -> Settings:
    return Settings()


def test_everything_that_was_made_is_gone(settings: Settings, ram_directory: Path) -> None:
    urls = [f"file:{ram_directory}/{number}.img" for number in (1, 2)]
    wanted = wish(ram_directory, *urls, options="no-such-option")
    wanted = replace(wanted, mount=replace(wanted.mount, path=f"{ram_directory}/a/b/c"))
    with pytest.raises(CommandFailed, match=r"mount .*no-such-option"):
        create_volume(settings, wanted)
    assert list(ram_directory.iterdir()) == []
    assert examine_stack(settings, "shop").is_empty
    assert not gate_is_running(settings.gate_run_directory("shop"))
    assert not settings.gate_state_directory("shop").exists()
    assert not settings.gate_run_directory("shop").exists()


def test_empty_containers_are_empty_again(settings: Settings, ram_directory: Path) -> None:
    image = ram_directory / "prepared.img"
    with image.open("wb") as file:
        file.truncate(NEEDED)
    with LoopLeg(ram_directory / "disk.img", NEEDED) as leg:
        urls = (f"file:{image}", leg.url)
        with pytest.raises(CommandFailed):
            create_volume(settings, wish(ram_directory, *urls, options="no-such-option"))
        for url in urls:
            open_container(url).check_free(NEEDED)
        with volume(settings, wish(ram_directory, *urls)) as made:
            assert stat.S_ISDIR(Path(made.mount.path).stat().st_mode)


def test_a_leg_that_hangs_is_an_error_and_not_a_hang(
    settings: Settings, ram_directory: Path
) -> None:
    with FuseLeg(ram_directory / "backing.img", ram_directory / "leg.img", NEEDED) as leg:
        leg.stop()
        with pytest.raises(DeadlinePassed, match=r"leg.img did not answer"):
            create_volume(settings, wish(ram_directory, leg.url))
        leg.resume()
    assert not settings.gate_state_directory("shop").exists()
