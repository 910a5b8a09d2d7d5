"""docs/read_history.py reads what strangers wrote: odd sizes, words for terminals, links."""

from __future__ import annotations

import importlib.util
import struct
import zlib
from pathlib import Path

import pytest

from holdfast.gate.log.history.layout import SegmentPage
from holdfast.gate.log.history.segments import segment_name

SCRIPT = Path(__file__).parents[5] / "docs" / "read_history.py"
_spec = importlib.util.spec_from_file_location("read_history_of_strangers", SCRIPT)
assert _spec is not None and _spec.loader is not None
script = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(script)

FIRST, SECOND = bytes(16), bytes(range(16))


def segment(path: Path, page: SegmentPage, size: int) -> None:
    """One with a frame of so many bytes of a record that has its header alone."""
    content = struct.pack("<6Q", page.base, 64, 4, 0, 0, 1).ljust(size, b"\0")
    numbers = page.number, page.base, size, 1, 1, 1, 1, page.checksum
    head = struct.pack("<8sQQIIqqQI", b"HFHFRAME", *numbers)
    frame = head + struct.pack("<I", zlib.crc32(content, zlib.crc32(head))) + content
    path.write_bytes(page.encode() + frame.ljust(8192, b"\0"))


@pytest.mark.parametrize("size", [64, 65, 100, 0])
def test_odd_sizes_words_and_links(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    page = SegmentPage(number=1, base=0, salt=FIRST, volume_id=SECOND)
    segment(tmp_path / segment_name(1), page, size)
    odd = "\x1b]0;mine\x07\n0 to 9: everything"
    page = SegmentPage(2, 128, SECOND, SECOND, follows=FIRST, gap_from=64, reason=odd)
    segment(tmp_path / segment_name(2), page, size)
    (tmp_path / segment_name(3)).symlink_to(tmp_path / segment_name(2))
    script.show(tmp_path)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert sum(line.startswith("64 to 128: GAP (\\x1b]0;mine") for line in said.splitlines()) == (
        size == 64
    )
    image = tmp_path / "image"
    image.write_bytes(bytes(4096))
    assert script.apply(tmp_path, image, 0, None) == 1
