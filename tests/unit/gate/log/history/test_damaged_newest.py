"""What is damaged in the newest segment looks like the end of the history: whoever knows how far it
went is not deceived."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.containers.back_end import image_back_end
from holdfast.copies.moments import position_at
from holdfast.copies.replaying import replay
from holdfast.errors import HistoryFailed, Unreachable
from holdfast.gate.log.history.segments import find
from tests.unit.gate.log.history.test_against_a_list import (
    VOLUME,
    Gate,
    frame_ends,
    tell,
    write_at,
)

BASE = 1_700_000_000


def test_no_moment_is_found_behind_damage(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    for seconds in (0, 10, 20):
        write_at(gate, BASE, seconds)
        gate.carry()
    gate.writer.close()
    kept = gate.ring.carried

    def at(seconds: int) -> int:
        return position_at(gate.path, VOLUME, (BASE + seconds) * 10**9, kept=kept, tell=tell)

    early = at(5)
    assert early < kept == at(25)
    (segment,) = find(gate.path)
    (_, first), (place, _), _ = frame_ends(segment.path.read_bytes())
    with segment.path.open("r+b") as file:
        file.seek(place - 1)
        file.write(b"\xff")
    assert early == first
    for seconds in (5, 25):  # what was written next, and when, nobody knows
        with pytest.raises(Unreachable, match="damaged"):
            at(seconds)
    path = tmp_path / "image"
    path.write_bytes(bytes(64))
    image = image_back_end(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    try:
        with pytest.raises(HistoryFailed, match=f"ends at position {first}"):
            replay(gate.path, VOLUME, image, (4096, kept), 64, tell)
        replay(gate.path, VOLUME, image, (4096, first), 64, tell)
    finally:
        image.close()
