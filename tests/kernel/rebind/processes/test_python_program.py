"""A program in Python with buffered files, maps, a lock and a child goes on after every move."""

from __future__ import annotations

import sys

from holdfast.model.handle import HandleOutcome
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import SOURCES, Hold


def test_goes_on(bench: Bench, start: Hold) -> None:
    program = start(sys.executable, SOURCES / "holder.py", bench.path)
    for filesystem in ("xfs", "ext4") * 3:
        assert {line.outcome for line in bench.move(filesystem)} == {HandleOutcome.IDENTICAL}
        program.verify()
