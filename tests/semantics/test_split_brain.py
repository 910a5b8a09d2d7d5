"""Claim: two gates never use one container, and legs that went separate ways are not joined."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import InUse, NoSource
from holdfast.gate.outside.launch import start_gate
from holdfast.volumes.attach import attach_volume, rebuild_volume
from holdfast.volumes.detach import detach_volume
from tests.kernel.volume.stack import volume, wish


def test_a_leg_in_use_is_refused(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, wish(ram_directory)) as made:
        copy = Settings(home=ram_directory / "other")
        shutil.copytree(
            settings.gate_state_directory(made.name), copy.gate_state_directory(made.name)
        )
        with pytest.raises(InUse, match="locked by another process"):
            attach_volume(copy, replace(made, mount=replace(made.mount, path=f"{copy.home}/mnt")))
        with pytest.raises(NoSource):  # not even when the checks before it are left out
            start_gate(
                copy.gate_state_directory(made.name), copy.gate_run_directory(made.name), force=True
            )


def test_two_histories_are_not_joined(settings: Settings, ram_directory: Path) -> None:
    """Each leg is used alone, by force, on a host that cannot see the other one."""
    images = [ram_directory / "1.img", ram_directory / "2.img"]
    away = ram_directory / "away.img"
    urls = [f"file:{image}" for image in images]
    with volume(settings, wish(ram_directory, *urls)) as made:
        detach_volume(settings, made)
        for number, image in enumerate(images):
            other = images[1 - number]
            other.rename(away)
            host = Settings(home=ram_directory / f"host-{number}")
            here = replace(made, mount=replace(made.mount, path=str(ram_directory / f"m{number}")))
            rebuild_volume(host, made.name, [f"file:{image}"])
            with pytest.raises(NoSource):
                attach_volume(host, here)
            attach_volume(host, here, force=True)
            (Path(here.mount.path) / "file").write_text(f"history {number}")
            detach_volume(host, here)
            away.rename(other)
        both = Settings(home=ram_directory / "both")
        rebuild_volume(both, made.name, urls)
        with pytest.raises(NoSource, match="two histories"):
            attach_volume(both, made)
