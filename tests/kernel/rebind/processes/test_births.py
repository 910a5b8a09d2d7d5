"""A process that waits in vfork(2) for a child cannot be stopped before the child runs on."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import SOURCES, Hold


def test_parent_in_vfork_is_moved(bench: Bench, start: Hold, tmp_path: Path) -> None:
    program = tmp_path / "parent"
    subprocess.run(["gcc", "-O2", "-o", program, SOURCES / "parent.c"], check=True)
    file = bench.path / "children"
    parent = start(program, file, cwd="/")
    for filesystem in ("xfs", "ext4"):
        parent.verify()
        before = file.read_text()
        bench.move(filesystem)
        parent.verify()
        assert len(file.read_text()) > len(before)
