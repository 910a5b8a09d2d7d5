"""Fault: the storage of a container that is to become a leg hangs."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import DeadlinePassed
from tests.kernel.fault.bench import HANG_SECONDS, Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import FLUSHING


@pytest.mark.parametrize("spare", [False, True], ids=["leg", "spare"])
def test_leg_add_hangs(settings: Settings, ram_directory: Path, spare: bool) -> None:
    """The command is told so; legs that return meanwhile are not kept waiting for it."""
    with (
        fuse_leg(ram_directory) as leg,
        fuse_leg(ram_directory, "new") as new,
        Bench(
            settings,
            ram_directory,
            [leg.url, *plain_legs(ram_directory, 2, 2)],
            hang_timeout_seconds=HANG_SECONDS,
        ) as bench,
    ):
        bench.images[leg.url] = leg.image
        activity = bench.start(FLUSHING)
        leg.kill()
        bench.wait_for_leg(1)
        new.hang()
        with pytest.raises(DeadlinePassed):
            bench.gate.add_leg(new.url, spare=spare)
        leg.start()
        bench.wait_until_healthy(2)
        activity.goes_on()
        new.kill()
        bench.check(2)
