"""What the journal holds for a place that its leg cannot write: not forgotten, not in the way."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.errors import StorageFailed
from holdfast.gate.data.hold import HoldExpired
from holdfast.gate.data.owing.owed_file import FILE_NAME
from holdfast.gate.members.configuration import load_configuration, save_configuration
from holdfast.gate.members.superblock import bitmap_offset
from holdfast.model.volume import JournalMode
from holdfast.system.resources.memory import aligned_buffer
from tests.unit.gate.blocks import block_of, on_leg, read, states, write
from tests.unit.gate.gate_in_process import InProcessGate, KilledError
from tests.unit.gate.owing import BAD, GOOD, SIZE, lose_what_was_written, owing, spoil


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[InProcessGate]:
    gate = InProcessGate(tmp_path, SIZE, 1, JournalMode.UNFLUSHED)
    gate.start()
    yield gate
    gate.storages.bad_places.clear()
    gate.storages.not_writable.clear()
    gate.die()


def outcomes(gate: InProcessGate) -> list[str]:
    found = [each for each in gate.mirror.incidents.open if each.strategy == "bad-place"]
    return [each.outcome for each in found]


def test_a_volume_with_a_bad_sector_starts_after_a_crash(gate: InProcessGate) -> None:
    """The case: the write was never answered well, and its replay fails for ever."""
    spoil(gate)
    gate.mirror.hold.set_timeout(0.1)
    with pytest.raises(HoldExpired):
        write(gate, b"2", BAD)
    write(gate, b"x", GOOD)
    gate.die()
    gate.start()
    assert states(gate) == {1: "in-sync"}
    assert read(gate, GOOD) == b"x"
    assert read(gate, BAD) == b"2"
    assert outcomes(gate) == ["answered from the journal until the place can be written"]


@pytest.mark.parametrize("how", ["start", "take_over", "detach"])
def test_an_acknowledged_write_outlives_every_end(gate: InProcessGate, how: str) -> None:
    write(gate, b"1", BAD, flush=True)
    gate.die()
    lose_what_was_written(gate, 1, BAD)
    gate.start()
    for life in range(3):
        assert read(gate, BAD) == b"1"
        write(gate, b"abc"[life : life + 1], GOOD, flush=True)
        gate.run(gate.recovery.upkeep.checkpoint)
        if how == "detach":
            gate.close_cleanly()
            gate.start()
        else:
            gate.die()
            getattr(gate, how)()
    assert read(gate, GOOD) == b"c"
    assert gate.mirror.owed.offsets == [BAD]


def test_it_is_written_as_soon_as_the_place_can_be(gate: InProcessGate) -> None:
    write(gate, b"1", BAD, flush=True)
    gate.die()
    lose_what_was_written(gate, 1, BAD)
    gate.start()
    gate.storages.not_writable.clear()  # the disk uses another sector for it
    gate.run(lambda hand: gate.recovery.upkeep.checkpoint(hand, flush=True))
    assert not gate.mirror.owed
    assert on_leg(gate, 1, BAD) == b"1"
    assert outcomes(gate)[-1].startswith("written")
    gate.close_cleanly()
    gate.start()
    assert gate.mirror.roster.configuration.recorded_position == gate.mirror.log.position


def test_writing_over_it_counts(gate: InProcessGate) -> None:
    """In vain: the request fails, and the later contents are found ever after. Then well."""
    write(gate, b"1", BAD, flush=True)
    gate.die()
    lose_what_was_written(gate, 1, BAD)
    gate.start()
    gate.mirror.hold.set_timeout(0.1)
    with pytest.raises(HoldExpired):
        write(gate, b"2", BAD)
    assert read(gate, BAD) == b"2"
    gate.die()
    gate.start()
    assert read(gate, BAD) == b"2"
    gate.storages.not_writable.clear()
    write(gate, b"3", BAD, flush=True)
    assert not gate.mirror.owed
    gate.die()
    gate.start()
    assert read(gate, BAD) == b"3"
    assert on_leg(gate, 1, BAD) == b"3"


def test_a_large_request_is_written_around_the_place(gate: InProcessGate) -> None:
    view = memoryview(aligned_buffer(16 * 4096))
    view[:] = block_of(b"7").tobytes() * 16
    gate.run(lambda hand: gate.mirror.zero(hand, 0, 1 << 20, keep_allocated=False))
    gate.run(lambda hand: gate.mirror.write(hand, view, 0))
    gate.die()
    with gate.image(1).open("r+b") as image:
        image.write(bytes(16 * 4096))
    spoil(gate)
    gate.start()
    assert gate.mirror.owed.offsets == [BAD]
    for place in range(0, 16 * 4096, 4096):
        assert read(gate, place) == b"7"
    whole = memoryview(aligned_buffer(16 * 4096))
    gate.run(lambda hand: gate.mirror.read(hand, whole, 0))
    assert whole == view


def test_the_journal_is_emptied_all_the_same(gate: InProcessGate) -> None:
    write(gate, b"1", BAD, flush=True)
    gate.die()
    lose_what_was_written(gate, 1, BAD)
    gate.start()
    for number in range(200):
        write(gate, b"x", GOOD + number * 4096)
        if number % 10 == 0:
            gate.run(gate.recovery.upkeep.checkpoint)
    assert gate.mirror.log.used_bytes < 1 << 20
    gate.die()
    gate.start()
    assert read(gate, BAD) == b"1"


def test_a_leg_with_too_many_bad_places_has_failed(gate: InProcessGate) -> None:
    gate.die()
    gate.lose_memory()
    gate.ring_bytes = 4 << 20
    gate.start()
    for place in range(0, 4096 * 300, 4096):
        write(gate, b"1", place)
    gate.die()
    for place in range(0, 4096 * 300, 4096):
        spoil(gate, place)
    with pytest.raises(Exception, match="more than 256 places cannot be written"):
        gate.start()
    gate.storages.not_writable.clear()
    gate.start()
    assert read(gate, 4096 * 299) == b"1"


@pytest.mark.parametrize("bad", [1, 2])
def test_with_a_second_leg_it_is_there(tmp_path: Path, bad: int) -> None:
    """A leg that lacks a write which another one has fails, as it does at any other time."""
    gate = InProcessGate(tmp_path, SIZE, 2, JournalMode.UNFLUSHED)
    gate.start()
    write(gate, b"1", BAD, flush=True)
    gate.die()
    lose_what_was_written(gate, bad, BAD)
    gate.start()
    gate.finish_resyncs()
    assert read(gate, BAD) == b"1"
    assert bad not in gate.mirror.roster.present
    assert not gate.mirror.owed
    gate.die()


def test_one_that_is_filled_gets_it(gate: InProcessGate) -> None:
    write(gate, b"1", BAD, flush=True)
    gate.die()
    lose_what_was_written(gate, 1, BAD)
    gate.start()
    gate.run(lambda hand: gate.changes.add(hand, f"file:{gate.image(2)}"))
    gate.finish_resyncs()
    assert on_leg(gate, 2, BAD) == b"1"
    gate.run(lambda hand: gate.recovery.upkeep.checkpoint(hand, flush=True))
    assert not gate.mirror.owed
    assert states(gate) == {1: "failed", 2: "in-sync"}
    assert read(gate, BAD) == b"1"


def test_a_read_only_leg_has_no_bad_place(gate: InProcessGate) -> None:
    write(gate, b"1", BAD, flush=True)
    gate.die()
    for place in range(0, SIZE + (1 << 20), 4096):
        spoil(gate, place)
    gate.storages.bad_places[1] -= {0}  # it reads
    with pytest.raises(Exception, match="failed"):
        gate.start()
    gate.storages.not_writable.clear()
    gate.start()
    assert read(gate, BAD) == b"1"


def test_a_bitmap_that_cannot_be_written(tmp_path: Path) -> None:
    """The last leg goes on; who is away meanwhile gets everything when it comes back."""
    gate = InProcessGate(tmp_path, SIZE, 2, JournalMode.NONE)
    gate.start()
    write(gate, b"1", BAD, flush=True)
    gate.run(lambda hand: gate.recovery.upkeep.checkpoint(hand, flush=True))
    gate.storages.error_after[2] = 0
    write(gate, b"2", BAD, flush=True)
    assert 2 not in gate.mirror.roster.present
    leg = gate.mirror.roster.readers[0]
    tail = bitmap_offset(leg.container_bytes, leg.size_bytes)
    gate.storages.unwritable.add((1, tail))
    write(gate, b"3", GOOD, flush=True)
    assert states(gate)[1] == "in-sync"
    gate.die()
    gate.start()
    gate.storages.unwritable.clear()
    gate.bring_back(gate.mirror.roster.entry(2))
    gate.finish_resyncs()
    assert states(gate) == {1: "in-sync", 2: "in-sync"}
    assert on_leg(gate, 2, GOOD) == b"3"
    gate.die()


def test_what_was_flushed_outlives_the_host(gate: InProcessGate) -> None:
    owing(gate)
    for _ in range(2):
        gate.die()
        gate.lose_memory()
        gate.start()
        assert read(gate, BAD) == b"1"
        assert gate.mirror.owed.offsets == [BAD]
        gate.die()
        gate.take_over()
        assert read(gate, BAD) == b"1"
        write(gate, b"y", GOOD, flush=True)


def test_what_was_written_over_it_outlives_the_host(gate: InProcessGate) -> None:
    owing(gate)
    gate.storages.not_writable.clear()
    write(gate, b"2", BAD, flush=True)
    assert not (gate.state_directory / FILE_NAME).exists()
    gate.die()
    gate.lose_memory()
    gate.start()
    assert read(gate, BAD) == b"2"


def test_it_is_not_put_over_what_another_host_wrote(gate: InProcessGate) -> None:
    owing(gate)
    gate.die()
    gate.move_to("other")
    gate.storages.not_writable.clear()
    gate.start()
    write(gate, b"9", BAD, flush=True)
    gate.close_cleanly()
    gate.move_to("state")
    gate.lose_memory()
    gate.start()
    assert read(gate, BAD) == b"9"
    assert not (gate.state_directory / FILE_NAME).exists()


def test_it_outlives_a_change_of_the_legs_that_the_power_cut(gate: InProcessGate) -> None:
    """The leg has an epoch that the host has not; nobody else was there."""
    owing(gate)
    before = load_configuration(gate.state_directory)
    gate.mirror.roster.configure()
    gate.storages.calls_to_live = 1  # the superblock
    with pytest.raises(KilledError):
        gate.run(gate.mirror.settling.settle)
    gate.storages.calls_to_live = None
    gate.die()
    gate.lose_memory()
    save_configuration(gate.state_directory, before)
    gate.start()
    assert read(gate, BAD) == b"1"


@pytest.mark.parametrize("text", [b"", b"{}", b'{"format": 1, "units": {"x": "y"}}', b"\xff"])
def test_a_damaged_file_is_refused(gate: InProcessGate, text: bytes) -> None:
    """What was flushed is not lost in silence."""
    owing(gate)
    gate.die()
    gate.lose_memory()
    (gate.state_directory / FILE_NAME).write_bytes(text)
    gate.storages.not_writable.clear()
    with pytest.raises(StorageFailed, match="damaged"):
        gate.start()
    (gate.state_directory / FILE_NAME).unlink()
    gate.start()
    write(gate, b"2", BAD, flush=True)
    assert read(gate, BAD) == b"2"


WHOLE = base64.b64encode(bytes(4096)).decode()


@pytest.mark.parametrize(
    ("place", "content"),
    [
        (str(SIZE), WHOLE),
        (str(SIZE - 512), WHOLE),
        (str(1 << 62), WHOLE),
        ("100", WHOLE),
        ("\u0664096", WHOLE),
        ("-4096", WHOLE),
        ("1" * 5000, WHOLE),
        ("4096", ""),
        ("4096", WHOLE[:40]),
        ("4096", base64.b64encode(bytes(8192)).decode()),
        ("4096", "\u00e9"),
        ("4096", 5),
        ("4096", [[]]),
    ],
)  # fmt: skip
def test_a_unit_that_no_volume_has_is_damage(
    gate: InProcessGate, place: str, content: object
) -> None:
    """What is behind a volume's end is a leg's superblock."""
    owing(gate)
    gate.die()
    gate.lose_memory()
    said = json.loads((gate.state_directory / FILE_NAME).read_bytes())
    units = dict(said["units"]) | {place: content}
    (gate.state_directory / FILE_NAME).write_text(json.dumps(said | {"units": units}))
    gate.storages.not_writable.clear()
    with pytest.raises(StorageFailed, match="damaged"):
        gate.start()
    (gate.state_directory / FILE_NAME).write_text(json.dumps(said))
    gate.start()
    assert read(gate, BAD) == b"1"
