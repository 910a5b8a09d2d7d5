"""HOLDFAST_HOME on a disk: kills of all, detach, attach; what is left after delete."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.log.ring import FILE_NAME
from tests.kernel.fault.bench import Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import FLUSHING


@pytest.mark.parametrize("legs", [1, 2])
def test_all_killed(holdfast_home: Path, ram_directory: Path, legs: int) -> None:
    settings = Settings()
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, legs)]
        with Bench(settings, ram_directory, urls) as bench:
            bench.images[leg.url] = leg.image
            leg.volatile()
            activity = bench.start(FLUSHING)
            activity.goes_on()
            bench.kill_everything()
            result = activity.stop()
            leg.crash()
            leg.start()
            bench.detach()
            kept = (bench.run_directory / FILE_NAME).exists()
            bench.attach()
            bench.wait_until_healthy()
            assert kept
            bench.check_after_loss(result.acknowledged, legs)
            assert not (bench.run_directory / FILE_NAME).exists(), "a clean detach leaves it"
            run_directory = bench.run_directory
        assert not run_directory.exists()
