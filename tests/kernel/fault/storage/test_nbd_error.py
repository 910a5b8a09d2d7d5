"""Fault: the error filter of a leg's NBD server fails every request (nbdkit, nbdfuse)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.members.superblock import container_bytes_needed
from tests.faults import NbdLeg
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import IDLE, ONE, Cell, cells
from tests.kernel.volume.stack import SIZE

pytestmark = pytest.mark.skipif(
    not (shutil.which("nbdkit") and shutil.which("nbdfuse")), reason="needs nbdkit and nbdfuse"
)


@cells()
def test_nbd_error(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """A server that we did not write fails, and serves again later."""
    image, path = ram_directory / "nbd.image", ram_directory / "nbd.img"
    with NbdLeg(image, path, container_bytes_needed(SIZE)) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, cell.legs)]
        with Bench(settings, ram_directory, urls) as bench:
            bench.images[leg.url] = image
            with bench.during(cell) as goes_on:
                leg.failing(True)
                if cell.legs == ONE:
                    if cell.activity != IDLE:
                        bench.wait_until_held()
                else:
                    goes_on()
                    bench.wait_for_leg(1)
                leg.failing(False)
            bench.wait_until_healthy()
            bench.check(cell.legs)
