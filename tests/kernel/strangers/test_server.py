"""What the FUSE server of somebody else's says of owners and modes is not believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.containers import open_container
from holdfast.errors import Untrusted
from holdfast.system.files.trusted import open_file
from holdfast.volumes.create import create_volume
from tests.faults.fuse_leg import FuseLeg
from tests.kernel.volume.stack import wish

NOBODY = 65534
SIZE = 200 << 20


def test_a_file_that_a_strangers_server_calls_roots(
    settings: Settings, ram_directory: Path
) -> None:
    """It says "root, 0600, one name": it is no leg, and none of our files."""
    path = ram_directory / "served.img"
    with FuseLeg(ram_directory / "behind.img", path, SIZE, user=NOBODY) as leg:
        assert path.stat().st_uid == 0
        with pytest.raises(Untrusted, match=f"a server of user {NOBODY}"):
            create_volume(settings, wish(ram_directory, leg.url))
        with pytest.raises(Untrusted, match=f"a server of user {NOBODY}"):
            open_file(path, 0)


def test_a_file_that_roots_server_serves(ram_directory: Path) -> None:
    """Its owner is the server's affair, whatever mode it shows."""
    path = ram_directory / "served.img"
    with FuseLeg(ram_directory / "behind.img", path, SIZE) as leg:
        open_container(leg.url).open().close()
