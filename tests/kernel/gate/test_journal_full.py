"""The journal on a file system that fills up: ENOSPC, and it stays consistent."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.gate.log.journal import Journal, Kind

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def small_directory(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs with room for three segments of 64 KiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", mount], check=True)
    yield mount
    subprocess.run(["umount", mount], check=True)


def test_full_then_trimmed(small_directory: Path) -> None:
    journal = Journal(small_directory / "journal", segment_bytes=64 << 10)
    journal.open()
    try:
        ends: list[int] = []
        with pytest.raises(OSError) as raised:
            while True:
                ends.append(journal.append(Kind.DATA, len(ends), 8192, memoryview(bytes(8192))))
        assert raised.value.errno == errno.ENOSPC
        assert journal.position == ends[-1]
        assert [record.end for record in journal.records(0)] == ends
        journal.flush()

        journal.close()
        journal.open()
        assert [record.end for record in journal.records(0)] == ends

        journal.trim(journal.position)
        ends = [record.end for record in journal.records(journal.begin)]
        ends.append(journal.append(Kind.MARK, 0, 0, None))
        assert [record.end for record in journal.records(journal.begin)] == ends
    finally:
        journal.close()
