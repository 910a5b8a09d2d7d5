"""Not a fault: legs are added, replaced and removed under load."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import LastLeg
from holdfast.gate.members.superblock import container_bytes_needed
from tests.faults import LoopLeg
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import IDLE, ONE, Cell, cells
from tests.kernel.volume.stack import SIZE


@cells()
@pytest.mark.parametrize("kind", ["file", "block"])
def test_replace(settings: Settings, ram_directory: Path, cell: Cell, kind: str) -> None:
    """The new leg is filled under load, then the old one leaves and is a leg no more."""
    urls = plain_legs(ram_directory, 1, cell.legs)
    with LoopLeg(ram_directory / "disk.img", container_bytes_needed(SIZE)) as disk:
        new = disk.url if kind == "block" else f"file:{ram_directory}/new.img"
        with Bench(settings, ram_directory, urls) as bench:
            bench.images[disk.url] = disk.image
            with bench.during(cell):
                bench.gate.replace_leg("1", new)
                bench.wait_until_healthy(cell.legs)
            assert new in [leg["url"] for leg in bench.gate.show()["legs"]]
            assert bench.wait_for_receipt("replacement")["outcome"] == "in sync"
            bench.check(cell.legs)


@cells(legs=(ONE,))
def test_add_and_remove(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """Two more legs come, the first ones go, the last one must stay."""
    urls = plain_legs(ram_directory, 1, 3)
    with Bench(settings, ram_directory, urls[:1]) as bench:
        with bench.during(cell):
            bench.gate.add_leg(urls[1])
            bench.gate.add_leg(urls[2])
            bench.wait_until_healthy(3)
            bench.gate.remove_leg("1")
            bench.gate.remove_leg(urls[1])
            with pytest.raises(LastLeg):
                bench.gate.remove_leg("3")
            if cell.activity != IDLE:
                assert bench.activity is not None
                bench.activity.goes_on()
        assert bench.leg_states() == {3: "in-sync"}
        bench.check(1)
