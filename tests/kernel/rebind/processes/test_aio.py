"""Requests of Linux AIO that are under way when all are stopped: io_submit(2), io_getevents(2)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from holdfast.model.handle import HandleOutcome
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import SOURCES, Hold


@pytest.fixture(scope="session")
def aio(program_folder: Path) -> Path:
    """aio.c, compiled."""
    program = program_folder / "aio"
    options = ["-O2", "-Wall", "-pthread"]
    subprocess.run(["gcc", *options, "-o", program, SOURCES / "aio.c"], check=True)
    return program


@pytest.mark.parametrize("how", ["direct", "buffered"])
def test_requests_end_on_the_old_storage_and_go_on_on_the_new(
    bench: Bench, start: Hold, aio: Path, how: str
) -> None:
    running = start(aio, bench.path / "file", how)
    running.verify()
    for filesystem in ("xfs", "btrfs", "ext4"):
        assert {line.outcome for line in bench.move(filesystem)} == {HandleOutcome.IDENTICAL}
        running.verify()
