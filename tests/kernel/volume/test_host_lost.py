"""All state of the host is lost: the volume is found from the legs that prove it, without force."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import NoSource
from holdfast.gate.outside.client import GateClient
from holdfast.volumes.attach import attach_volume, rebuild_volume
from holdfast.volumes.detach import detach_volume
from tests.kernel.volume.stack import volume, wish
from tests.waiting import wait_until


@pytest.fixture
def settings(holdfast_home: Path) -> Settings:
    return Settings()


def test_a_leg_that_failed_before_is_not_needed(settings: Settings, ram_directory: Path) -> None:
    """Nor does it pass for a source where it alone is there."""
    first, second = images = [ram_directory / f"{number}.img" for number in (1, 2)]
    wanted = wish(ram_directory, *(f"file:{image}" for image in images))
    with volume(settings, wanted) as made:
        client = GateClient(settings.gate_run_directory(made.name))
        away = second.rename(ram_directory / "away")
        wait_until(lambda: client.show()["legs"][1]["state"] == "failed")
        (Path(made.mount.path) / "order").write_text("1 piece")
        detach_volume(settings, made)
        shutil.rmtree(settings.gate_state_directory(made.name))
        found = rebuild_volume(settings, made.name, [f"file:{first}"])
        attach_volume(settings, found)
        assert (Path(made.mount.path) / "order").read_text() == "1 piece"
        detach_volume(settings, found)
        shutil.rmtree(settings.gate_state_directory(made.name))
        away.rename(second)
        hidden = first.rename(ram_directory / "hidden")
        stale = rebuild_volume(settings, made.name, [f"file:{second}"])
        with pytest.raises(NoSource, match="may be newer"):
            attach_volume(settings, stale)
        hidden.rename(first)
