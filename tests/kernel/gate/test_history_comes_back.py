"""The storage of a history dies while a segment is open: closing it fails, and it can be written
again when it is there again."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.gate.log.history.layout import frame_file_bytes
from holdfast.gate.log.history.writing import HistoryWriter
from holdfast.system.resources.memory import aligned_buffer
from tests.faults.fuse_tree import FuseTree


def test_after_a_server_that_died(ram_directory: Path) -> None:
    served, place = ram_directory / "served", ram_directory / "history"
    served.mkdir(mode=0o700)
    writer = HistoryWriter(place, b"v" * 16)
    with FuseTree(served, place) as tree:
        writer.open(first=True)
        writer.begin(0)
        tree.kill()
        for _ in range(2):
            with pytest.raises(OSError, match="not connected"):
                writer.open()
    with FuseTree(served, place):
        writer.open()
        writer.begin(writer.durable)
        frame = memoryview(aligned_buffer(frame_file_bytes(4096)))
        writer.write(frame, 4096, 1, 1, 1)
        writer.sync()
        assert writer.durable == 4096
        writer.close()
