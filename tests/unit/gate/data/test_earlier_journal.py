"""Records that a version before 0.2 kept in files: not lost by anybody who dies on the way."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from holdfast.gate.data.journalling import FILES
from holdfast.gate.log.journal import Journal, Kind
from holdfast.model.volume import JournalMode
from tests.unit.gate.blocks import on_leg, read, write
from tests.unit.gate.gate_in_process import InProcessGate, KilledError

SIZE = 8 << 20
PLACES = (0, 8192, 5 << 20)


def earlier(directory: Path, legs: int = 1) -> InProcessGate:
    """A gate whose files hold what no leg has: the caches were lost, and its program renewed."""
    directory.mkdir()
    gate = InProcessGate(directory, SIZE, legs, JournalMode.UNFLUSHED)
    gate.start()
    recorded = gate.mirror.roster.configuration.recorded_position
    gate.die()
    gate.lose_memory()
    journal = Journal(gate.state_directory / FILES, segment_bytes=64 << 10)
    journal.open(recorded)
    for number, place in enumerate(PLACES):
        payload = mmap.mmap(-1, 4096)
        payload[:] = bytes([number + 1]) * 4096
        journal.append(Kind.DATA, place, 4096, memoryview(payload))
    journal.flush()
    journal.close()
    return gate


def check(gate: InProcessGate) -> None:
    """Everything is there, and on each leg in sync."""
    for number, place in enumerate(PLACES):
        assert read(gate, place) == bytes([number + 1])
        for leg in gate.mirror.roster.readers:
            assert on_leg(gate, leg.number, place) == bytes([number + 1])


@pytest.mark.parametrize("legs", [1, 2])
def test_they_are_replayed_and_removed(tmp_path: Path, legs: int) -> None:
    gate = earlier(tmp_path / "gate", legs)
    gate.start()
    check(gate)
    assert not (gate.state_directory / FILES).exists()
    assert gate.mirror.log.used_bytes == 0
    gate.die()


@pytest.mark.parametrize("then", ["start", "take_over"])
def test_whoever_dies_on_the_way(tmp_path: Path, then: str) -> None:
    """Before any call to a leg; in the host's memory or without it."""
    for calls in range(60):
        gate = earlier(tmp_path / str(calls))
        gate.storages.calls_to_live = calls
        try:
            gate.start()
        except KilledError:
            gate.storages.calls_to_live = None
            if then == "start" and calls % 2:
                gate.lose_memory()
            gate.start()
        else:
            gate.storages.calls_to_live = None
            check(gate)
            gate.die()
            return
        check(gate)
        gate.die()
    raise AssertionError("a start asks legs so often?")


def test_a_worker_takes_over_from_an_earlier_program(tmp_path: Path) -> None:
    """A leg that loses its cache afterwards still gets what the files hold."""
    gate = earlier(tmp_path / "gate")
    gate.take_over()
    write(gate, b"n", 4 << 20)
    assert gate.mirror.log.overfull, "the legs are to be flushed, so that the files can go"
    gate.die()
    gate.start()
    check(gate)
    assert read(gate, 4 << 20) == b"n"
    gate.die()
