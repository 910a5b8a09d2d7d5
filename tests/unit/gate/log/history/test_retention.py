"""Which segments go, and what their pages tell of gaps."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.gate.log.history.fence import take_fence
from holdfast.gate.log.history.layout import NO_SALT, SegmentPage
from holdfast.gate.log.history.outline import outline
from holdfast.gate.log.history.reading import stretches
from holdfast.gate.log.history.retention import KeptSegment, superfluous
from holdfast.gate.log.history.room import check_room
from holdfast.gate.log.segment import Kind
from tests.unit.gate.log.history.test_against_a_list import VOLUME, Gate

HOUR_NS = 3600 * 10**9


def page(
    number: int, *, lived_ns: int = 0, chained: bool = True, missing: bool = False
) -> SegmentPage:
    """One of a chain."""
    follows = NO_SALT if number == 1 else bytes([number - 1]) * 16
    return SegmentPage(
        number=number,
        base=number * 1000,
        salt=bytes([number]) * 16,
        volume_id=bytes(16),
        follows=bytes([255]) * 16 if missing else follows,
        chained=chained and number > 1,
        gap_from=number * 1000 - 100,
        before_ns=number * 10**9,
        begun_ns=number * 10**9 + 1,
        lived_ns=lived_ns,
        reason="" if chained else "it failed",
    )


def kept(*lived_hours: int) -> list[KeptSegment]:
    return [
        KeptSegment(f"{number}", page(number, lived_ns=hours * HOUR_NS), 64)
        for number, hours in enumerate(lived_hours, 1)
    ]


@pytest.mark.parametrize(
    ("lived", "keep", "limit", "expected"),
    [
        (10, 0, 0, 0),
        (10, 4, 0, 1),  # the second one began before what is kept: it is needed
        (100, 4, 0, 3),  # never the newest one
        (10, 0, 1, 3),
        (10, 0, 128, 2),
        (10, 0, 129, 2),
        (10, 8, 192, 1),
        (10, 8, 256, 0),
    ],
)
def test_which_go(lived: int, keep: int, limit: int, expected: int) -> None:
    segments = kept(0, 5, 8, 9)
    assert superfluous(segments, lived * HOUR_NS, keep * HOUR_NS, limit) == expected


def test_none_of_none() -> None:
    assert superfluous([], HOUR_NS, 1, 1) == 0


def test_gaps() -> None:
    """What a page tells of before it, and what none does."""
    pages = [page(1), page(2), page(3, chained=False), page(4, missing=True), page(5)]
    first, second, third = outline(pages)
    assert (first.position, first.end, first.reason) == (1000, 2900, "it failed")
    assert (second.position, second.end) == (3000, None)
    assert "between segments 3 and 4" in second.reason
    assert (third.position, third.end, third.ended, third.reason) == (4000, None, None, "")
    assert outline([]) == []


def test_whoever_goes_on_looks_at_the_newest_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the others later; and goes on counting where it was, not where the page was begun."""
    for number in range(12):
        gate = Gate(tmp_path)
        gate.append(Kind.DATA, 0, bytes([number]), 1)
        gate.carry()
        gate.writer.lived_at_least(gate.writer.lived_ns + HOUR_NS)
        gate.carrier.look_after()
        gate.writer.close()
    looked: list[str] = []
    really_open = os.open

    def note(path: str, *arguments: int, **options: int) -> int:
        looked.append(str(path))
        return really_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", note)
    gate = Gate(tmp_path)
    assert gate.writer.lived_ns >= 12 * HOUR_NS
    assert sum("segment" in each for each in looked) == 2  # the last one, and one of its own
    assert len(gate.writer.kept[0]) == 2
    while not gate.carrier.look_after():
        pass
    assert len(gate.writer.kept[0]) == 13
    gate.writer.close()


def test_a_file_system_that_reserves_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Glibc writes bytes instead, which O_DIRECT refuses."""

    def refuses(*_: int) -> None:
        raise OSError(errno.EINVAL, "injected")

    gate = Gate(tmp_path)
    gate.writer.close()
    monkeypatch.setattr(os, "posix_fallocate", refuses)
    gate.go_on()
    check_room(gate.path)
    gate.append(Kind.DATA, 0, b"x", 1)
    gate.carry()
    assert [each.end for each in stretches(gate.path, VOLUME)] == [gate.ring.end]
    gate.writer.close()


def test_fence(tmp_path: Path) -> None:
    """One process has it; not where it was never begun, nor a file that others could write."""
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="is its disk mounted"):
            take_fence(directory, tmp_path, make=False)
        ours = take_fence(directory, tmp_path, make=True)
        code = (
            "import os, pathlib, sys; from holdfast.gate.log.history.fence import take_fence;"
            "path = pathlib.Path(sys.argv[1]);"
            "take_fence(os.open(path, os.O_RDONLY), path, make=False)"
        )
        asked = [sys.executable, "-c", code, str(tmp_path)]
        found = subprocess.run(asked, check=False, capture_output=True, text=True)
        assert "written by another gate" in found.stderr
        os.close(ours)
        assert subprocess.run(asked, check=False).returncode == 0
        (tmp_path / "lock").chmod(0o666)
        with pytest.raises(OSError, match="not ours alone") as refused:
            take_fence(directory, tmp_path, make=False)
        assert refused.value.errno == errno.EPERM
    finally:
        os.close(directory)
