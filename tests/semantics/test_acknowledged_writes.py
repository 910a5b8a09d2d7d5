"""Claim: with the journal, a write that was only acknowledged survives its leg's volatile cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.outside.client import GateClient
from tests.kernel.fault.bench import fuse_leg
from tests.kernel.volume.stack import volume, wish
from tests.semantics.writing import prepare, read, write

ATTEMPTS = 20


@pytest.mark.parametrize("survival", [0.0, 0.5])
def test_it_is_replayed_onto_the_leg(
    settings: Settings, ram_directory: Path, survival: float
) -> None:
    with fuse_leg(ram_directory) as leg, volume(settings, wish(ram_directory, leg.url)) as made:
        file = Path(made.mount.path) / "file"
        prepare(file, 8)
        leg.volatile()
        for _ in range(ATTEMPTS):  # ext4 commits every five seconds, which flushes the leg
            for number in range(8):
                assert write(file, number, 50 + number).wait() == 0
            if leg.unflushed_blocks() >= 8:
                break
        assert leg.unflushed_blocks() >= 8
        leg.crash(survival, seed=2)
        leg.start()
        assert [read(file, number) for number in range(8)] == list(range(50, 58))
        assert GateClient(settings.gate_run_directory(made.name)).show()["errors_returned"] == 0
