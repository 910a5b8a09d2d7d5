"""Files that are made equal: what is written, what stays, holes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from holdfast.system.files.file_contents import CHUNK_BYTES, make_equal


def equal_after(tmp_path: Path, source: bytes, target: bytes) -> int:
    """How many bytes were written."""
    (tmp_path / "source").write_bytes(source)
    (tmp_path / "target").write_bytes(target)
    with (tmp_path / "source").open("rb") as reading, (tmp_path / "target").open("rb+") as writing:
        written = make_equal(reading.fileno(), writing.fileno(), is_new=False)
    assert (tmp_path / "target").read_bytes() == source
    return written


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    old = os.urandom(3 * CHUNK_BYTES + 100)
    assert equal_after(tmp_path, old, old) == 0
    assert equal_after(tmp_path, old[:-1] + b"x", old) <= 100
    assert equal_after(tmp_path, b"x" + old[1:], old) == CHUNK_BYTES
    assert equal_after(tmp_path, old[:50], old) == 0
    assert equal_after(tmp_path, old + b"more", old) == 104
    assert equal_after(tmp_path, b"", old) == 0


def test_comparing_is_no_slower_than_writing(tmp_path: Path) -> None:
    """Everybody stands still meanwhile. Processor time, so that other load does not count."""
    (tmp_path / "source").write_bytes(os.urandom(1 << 20) * 64)
    (tmp_path / "target").write_bytes(b"")
    spent = []
    with (tmp_path / "source").open("rb") as reading, (tmp_path / "target").open("rb+") as writing:
        for is_new in (True, False):
            begun = time.process_time()
            make_equal(reading.fileno(), writing.fileno(), is_new=is_new)
            spent.append(time.process_time() - begun)
    assert spent[1] < 2 * spent[0] + 0.05, "64 MiB by bytes: 0.36 s"
