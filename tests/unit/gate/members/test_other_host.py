"""A volume that was used on another host meanwhile: what this one remembers is of another time.

Neither its journal, nor the bits, the members and the size that it knows may be put over what the
other host did; wherever the process dies, and whichever call fails.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.errors import HoldfastError, NoSource, StaleLeg
from holdfast.model.volume import JournalMode
from tests.unit.gate.blocks import on_leg, read, states, write
from tests.unit.gate.gate_in_process import InProcessGate, KilledError

SIZE = 4 << 20
PLACE = 5 * 4096


@contextmanager
def used_elsewhere(folder: Path, legs: int) -> Iterator[InProcessGate]:
    """Host A crashed with records in its journal; host B wrote over them, and detached."""
    gate = InProcessGate(folder, SIZE, legs, JournalMode.UNFLUSHED)
    gate.start()
    write(gate, b"1", PLACE, flush=True)
    gate.run(gate.recovery.upkeep.checkpoint)
    write(gate, b"X", PLACE)
    gate.die()
    gate.move_to("B")
    gate.start()
    assert read(gate, PLACE) == b"X"
    write(gate, b"Y", PLACE, flush=True)
    gate.close_cleanly()
    gate.move_to("state")
    try:
        yield gate
    finally:
        gate.die()


def begin_again(gate: InProcessGate, saved: Path) -> None:
    """All files as they were when B had detached."""
    for path in gate.directory.iterdir():
        if path != saved:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(saved, gate.directory, dirs_exist_ok=True)
    gate.storages.durable.clear()


@pytest.mark.parametrize("legs", [1, 2])
@pytest.mark.parametrize("fault", ["death", "error"])
def test_a_journal_of_before_is_never_replayed(tmp_path: Path, legs: int, fault: str) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    with used_elsewhere(folder, legs) as gate:
        saved = tmp_path / "saved"
        shutil.copytree(folder, saved)
        for call in range(60):
            begin_again(gate, saved)
            if fault == "death":
                gate.storages.calls_to_live = call
            else:
                gate.storages.error_after[1] = call
            struck = False
            try:
                gate.start()
            except (KilledError, HoldfastError, OSError):
                struck = True
            struck = struck or (fault == "error" and 1 not in gate.storages.error_after)
            gate.storages.calls_to_live = None
            gate.storages.error_after.clear()
            if not struck:
                assert call
                break
            gate.die()
            gate.start()
            assert read(gate, PLACE) == b"Y", f"struck at call {call}"
            gate.die()
        assert read(gate, PLACE) == b"Y"


def test_its_positions_go_on_above_all_others(tmp_path: Path) -> None:
    with used_elsewhere(tmp_path, 1) as gate:
        before = gate.mirror.roster.configuration.recorded_position
        gate.start()
        assert gate.mirror.log.position > before
        assert gate.mirror.roster.configuration.recorded_position >= before


def test_a_held_gate_does_not_go_on_with_what_others_changed(tmp_path: Path) -> None:
    """What is mounted over it is older than what lies below: it has to be attached anew."""
    gate = InProcessGate(tmp_path, SIZE, 1, JournalMode.UNFLUSHED)
    gate.start()
    write(gate, b"X", PLACE)
    roster = gate.mirror.roster
    roster.fail(roster.readers[0], "its cable was moved")
    gate.tend()
    other = gate.beside("B")
    other.start()
    write(other, b"Y", PLACE, flush=True)
    other.close_cleanly()
    with pytest.raises(StaleLeg, match="used elsewhere"):
        gate.bring_back(roster.entry(1))
    gate.die()
    gate.start()
    assert read(gate, PLACE) == b"Y"
    gate.die()


def test_a_leg_that_another_host_took_out_is_none_here(tmp_path: Path) -> None:
    """While it was no leg nobody noted what it lacks."""
    gate = InProcessGate(tmp_path, SIZE, 2, JournalMode.NONE)
    gate.start()
    write(gate, b"1", PLACE, flush=True)
    gate.close_cleanly()
    gate.move_to("B")
    gate.start()
    away = gate.image(2).rename(tmp_path / "away")
    gate.mirror.roster.fail(gate.mirror.roster.readers[1], "its cable was moved")
    gate.run(gate.mirror.settling.settle)
    gate.tend()
    gate.run(lambda hand: gate.changes.remove(hand, "2"))
    write(gate, b"2", PLACE, flush=True)
    gate.close_cleanly()
    away.rename(gate.image(2))
    gate.move_to("state")
    gate.start()
    assert states(gate) == {1: "in-sync"}
    assert read(gate, PLACE) == b"2"
    gate.die()


def test_a_growth_on_another_host_is_taken_over(tmp_path: Path) -> None:
    gate = InProcessGate(tmp_path, SIZE, 2, JournalMode.UNFLUSHED)
    gate.start()
    gate.close_cleanly()
    gate.move_to("B")
    gate.start()
    gate.run(lambda hand: gate.changes.resize(hand, 2 * SIZE))
    write(gate, b"Z", SIZE + PLACE, flush=True)
    gate.close_cleanly()
    gate.move_to("state")
    gate.start()
    assert gate.mirror.size_bytes == 2 * SIZE
    assert gate.mirror.intent.bitmap.regions == 2 * SIZE >> 20
    assert read(gate, SIZE + PLACE) == b"Z"
    gate.die()


def test_what_was_written_apart_by_force_is_copied_over(tmp_path: Path) -> None:
    """The bits of the other host are not ours: parts of a leg used apart are not enough."""
    gate = InProcessGate(tmp_path, SIZE, 2, JournalMode.NONE)
    gate.start()
    write(gate, b"1", PLACE, flush=True)
    gate.mirror.roster.fail(gate.mirror.roster.readers[1], "its cable was moved")
    gate.run(gate.mirror.settling.settle)
    gate.tend()
    other = gate.beside("B")
    with pytest.raises(NoSource):
        other.start()
    other.start(force=True)
    other.run(lambda hand: other.changes.remove(hand, "1"))
    write(other, b"2", 3 << 20, flush=True)
    other.close_cleanly()
    gate.bring_back(gate.mirror.roster.entry(2))
    gate.finish_resyncs()
    assert states(gate) == {1: "in-sync", 2: "in-sync"}
    assert on_leg(gate, 1, 3 << 20) == on_leg(gate, 2, 3 << 20) == b"\0"
    gate.die()


@pytest.mark.parametrize("call", range(12))
def test_a_leg_of_the_other_host_that_fails_at_the_start_is_a_refusal(
    tmp_path: Path, call: int
) -> None:
    """The only one with the data was added there; the legs that this host knows are behind."""
    gate = InProcessGate(tmp_path, SIZE, 1, JournalMode.NONE)
    gate.start()
    gate.close_cleanly()
    gate.move_to("B")
    gate.start()
    gate.run(lambda hand: gate.changes.add(hand, f"file:{gate.image(2)}"))
    gate.finish_resyncs()
    gate.storages.error_after[1] = 0
    write(gate, b"Y", PLACE, flush=True)
    gate.close_cleanly()
    gate.move_to("state")
    gate.storages.error_after[2] = call
    try:
        gate.start()
    except NoSource:
        gate.storages.error_after.clear()
        gate.start()
    assert read(gate, PLACE) == b"Y"
    gate.die()
