"""Fault: a leg is smaller than its volume."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import NoSource, TooSmall
from holdfast.gate.members.superblock import container_bytes_needed
from tests.but_times import but_times
from tests.faults import LoopLeg
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import FLUSHING
from tests.kernel.volume.stack import SIZE
from tests.waiting import wait_until


@pytest.mark.parametrize("verb", ["add", "replace", "spare"])
def test_a_new_leg(settings: Settings, ram_directory: Path, verb: str) -> None:
    """Refused before anything is changed, by one page as well."""
    image = ram_directory / "small.img"
    with (
        LoopLeg(image, container_bytes_needed(SIZE) - 4096) as small,
        Bench(settings, ram_directory, plain_legs(ram_directory, 1, 1)) as bench,
    ):
        activity = bench.start(FLUSHING)
        before = bench.gate.show()
        with pytest.raises(TooSmall):
            if verb == "replace":
                bench.gate.replace_leg("1", small.url)
            else:
                bench.gate.add_leg(small.url, spare=verb == "spare")
        after = bench.gate.show()
        assert but_times(after["legs"]) == but_times(before["legs"])
        assert after["spares"] == []
        assert after["epoch"] == before["epoch"]
        assert image.read_bytes().count(0) == image.stat().st_size
        activity.goes_on()
        bench.check(1)


def test_two_legs_at_attach(settings: Settings, ram_directory: Path) -> None:
    """A leg that lost its end serves nothing; the other one does."""
    urls = plain_legs(ram_directory, 1, 2)
    with Bench(settings, ram_directory, urls) as bench:
        result = bench.start(FLUSHING).stop()
        bench.detach()
        os.truncate(urls[0].removeprefix("file:"), SIZE // 2)
        bench.attach()
        wait_until(lambda: "truncated" in bench.reason(1))
        assert bench.leg_states() == {1: "failed", 2: "in-sync"}
        bench.gate.replace_leg("1", f"file:{ram_directory}/new.img")
        bench.wait_until_healthy(2)
        bench.check_after_loss(result.acknowledged, 2)


def test_one_leg_at_attach(settings: Settings, ram_directory: Path) -> None:
    """Refused: half of the data is no source, not even by force."""
    urls = plain_legs(ram_directory, 1, 1)
    with Bench(settings, ram_directory, urls) as bench:
        bench.start(FLUSHING).stop()
        bench.detach()
        os.truncate(urls[0].removeprefix("file:"), SIZE // 2)
        for force in (False, True):
            with pytest.raises(NoSource):
                bench.attach(force=force)
