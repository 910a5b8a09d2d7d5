"""What copies that follow need does not go for its age; and never in silence for want of room."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.gate.log.history.needed import FILE_NAME, NeededPositions, note_needed
from holdfast.gate.log.history.retention import KeptSegment, lost_with, superfluous
from holdfast.gate.log.history.segments import find, in_order
from holdfast.gate.log.history.writing import HistoryWriter
from holdfast.gate.log.segment import Kind
from tests.unit.gate.log.history.test_against_a_list import SEGMENT_BYTES, VOLUME, Gate
from tests.unit.gate.log.history.test_retention import HOUR_NS, kept
from tests.waiting import wait_until

LIMIT_BYTES = 6 * SEGMENT_BYTES


@given(
    st.integers(1, 12),
    st.lists(st.integers(0, 14_000), max_size=4),
    st.integers(1, 30),
    st.integers(0, 12),
    st.sets(st.integers(2, 12), max_size=2),
)
def test_what_leads_to_the_end_stays_as_long_as_there_is_room(
    count: int, needed: list[int], hours: int, room: int, breaks: set[int]
) -> None:
    segments: list[KeptSegment] = [
        each._replace(page=replace(each.page, chained=each.page.number not in breaks | {1}))
        for each in kept(*range(count))
    ]
    limits = 30 * HOUR_NS, hours * HOUR_NS, room * 64
    plain, gone = superfluous(segments, *limits), superfluous(segments, *limits, needed)
    by_limit = superfluous(segments, 0, 0, room * 64)
    lost = lost_with(segments, gone, needed)
    assert by_limit <= gone <= plain  # the limit is kept, and nothing goes that stays otherwise
    assert not lost or gone == by_limit
    begin = max((number - 1 for number in breaks if number <= count), default=0)
    bases = [each.page.base for each in segments]
    for position in set(needed):
        leads = bases[begin] <= position
        stays = gone < count and bases[gone] <= position
        assert (position in lost) == (leads and not stays)
    if not any(bases[begin] <= position for position in needed):
        assert gone == plain  # as without copies
    assert all(before < after for before, after in pairwise(bases))


class Needing(Gate):
    """One of which a copy needs what is older than what is kept."""

    keep_seconds = 3600
    limit_bytes = LIMIT_BYTES

    def new_writer(self) -> HistoryWriter:
        self.needed: tuple[int, ...] = ()
        self.lost: list[int] = []
        return HistoryWriter(
            self.path,
            VOLUME,
            SEGMENT_BYTES,
            keep_seconds=self.keep_seconds,
            limit_bytes=self.limit_bytes,
            needed=lambda: self.needed,
            lose=self.lose,
        )

    def lose(self, positions: Sequence[int]) -> None:
        assert self.first <= min(positions)  # it is told before
        self.lost += positions

    @property
    def first(self) -> int:
        return in_order(find(self.path), VOLUME)[0].page.base

    def live(self) -> None:
        """Write, for an hour."""
        self.append(Kind.DATA, 0, b"x" * 20000, 20000)
        self.carry()
        self.writer.lived_at_least(self.writer.lived_ns + HOUR_NS)
        while not self.carrier.look_after():
            pass


def test_by_a_writer(tmp_path: Path) -> None:
    gate = Needing(tmp_path)
    gate.live()
    gate.needed = (gate.ring.end, 1)  # nothing leads on from 1
    for _ in range(4):
        gate.live()
    assert gate.first <= gate.needed[0] and not gate.lost
    while not gate.lost:
        gate.live()
        assert gate.writer.kept[1] <= LIMIT_BYTES
    assert gate.lost == [gate.needed[0]] and gate.first > gate.needed[0]
    for _ in range(3):  # told once, and as without copies from then on
        gate.live()
    assert gate.lost == [gate.needed[0]]
    gate.needed = (gate.ring.end,)
    for _ in range(3):
        gate.live()
    assert gate.first <= gate.needed[0]
    gate.writer.make_room()  # its disk is full
    assert gate.lost[1:] == [gate.needed[0]] and gate.first > gate.needed[0]
    gate.writer.close()


def test_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = partial(note_needed, tmp_path)
    ours = NeededPositions(tmp_path, "ours")
    assert ours() == ()
    note("ours", [7, 5])
    assert ours() == (5, 7)
    monkeypatch.setattr("holdfast.gate.log.history.needed.replace_durably", None)
    note("ours", [5, 7])  # nothing to be written
    monkeypatch.undo()
    for damaged in ("", "{}", '{"volume_id": "ours", "positions": [-1]}', '{"volume_id": 1'):
        (tmp_path / FILE_NAME).write_text(damaged)
        assert ours() == (5, 7)  # as known before
    (tmp_path / FILE_NAME).unlink()
    os.mkfifo(tmp_path / FILE_NAME)  # it hangs
    hanging = threading.Thread(target=ours)
    hanging.start()
    wait_until(lambda: ours._is_read)
    assert ours() == (5, 7)
    (tmp_path / FILE_NAME).write_text('{"volume_id": "ours", "positions": [8]}')
    hanging.join()
    assert ours._last == (8,)
    (tmp_path / FILE_NAME).unlink()
    note("theirs", [9])
    assert ours() == ()
    note("ours", [])
    assert not list(tmp_path.iterdir()) and ours() == ()
    note_needed(tmp_path / "no gate", "ours", [1])
    assert not list(tmp_path.iterdir())
