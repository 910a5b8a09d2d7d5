"""Fault: the server of a leg's storage dies (ENOTCONN), and is started again later."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.containers import open_container
from holdfast.errors import ContainerFailed
from holdfast.gate.members.configuration import LegEntry
from holdfast.gate.members.leg import open_leg
from tests.kernel.fault.bench import Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import IDLE, ONE, Cell, cells
from tests.kernel.volume.stack import SIZE


@cells()
def test_dead_server(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """Held, or served by the other leg, until it is back; then it is brought up to date."""
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, cell.legs)]
        with Bench(settings, ram_directory, urls) as bench:
            bench.images[leg.url] = leg.image
            with bench.during(cell) as goes_on:
                leg.kill()
                if cell.legs == ONE:
                    if cell.activity != IDLE:
                        bench.wait_until_held()
                else:
                    goes_on()
                    bench.wait_for_leg(1)
                leg.start()
            bench.wait_until_healthy()
            bench.check(cell.legs)


def test_what_an_earlier_worker_had_of_it_is_closed(ram_directory: Path) -> None:
    """It cannot even be examined; each look that left it open would keep a lock as well."""
    with fuse_leg(ram_directory) as leg:
        device = open_container(leg.url).open()
        leg.kill()
        inherited = os.dup(device.descriptor)
        with pytest.raises(ContainerFailed):
            open_leg(LegEntry(1, "leg-1", leg.url), SIZE, inherited=inherited)
        assert not os.path.lexists(f"/proc/self/fd/{inherited}")
        device.release()
        device.close()
