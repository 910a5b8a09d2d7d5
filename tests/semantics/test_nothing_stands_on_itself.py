"""Claim: journal and catalog never lie on a managed volume, and no volume is below itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import OwnLeg
from holdfast.volumes.attach import attach_volume
from holdfast.volumes.checks.foundation import check_not_own_leg
from holdfast.volumes.create import create_volume
from tests.kernel.volume.stack import SIZE, volume, wish


def test_state_on_a_managed_volume_is_refused(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, wish(ram_directory, name="below")) as below:
        inside = Settings(home=Path(below.mount.path) / "home")
        with pytest.raises(OwnLeg):
            create_volume(inside, wish(ram_directory))
        assert not list(Path(below.mount.path).glob("home/state/gates/*"))


def test_a_volume_over_its_own_state_is_refused(settings: Settings, ram_directory: Path) -> None:
    over = wish(ram_directory)
    over = replace(over, mount=replace(over.mount, path=str(settings.state_directory)))
    with pytest.raises(OwnLeg):
        create_volume(settings, over)


def test_a_leg_inside_the_volume_is_refused(settings: Settings, ram_directory: Path) -> None:
    wanted = wish(ram_directory)
    Path(wanted.mount.path).mkdir()
    with pytest.raises(OwnLeg):
        create_volume(settings, replace(wanted, leg_urls=(f"file:{wanted.mount.path}/a.img",)))


def test_a_chain_back_to_the_volume_is_refused(settings: Settings, ram_directory: Path) -> None:
    with volume(settings, wish(ram_directory, name="lower", size_bytes=2 * SIZE)) as lower:
        upper = wish(ram_directory, f"file:{lower.mount.path}/a.img", name="upper")
        with volume(settings, upper) as made:
            with pytest.raises(OwnLeg):
                check_not_own_leg(
                    settings, "lower", lower.mount.path, f"file:{made.mount.path}/b.img"
                )
            attach_volume(settings, made)  # standing on another one is no harm
