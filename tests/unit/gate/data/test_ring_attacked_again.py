"""More sequences in which the log ring stays full for ever, or what is owed is lost."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic_ns

import pytest

from holdfast.errors import NoSource
from holdfast.gate.data.hold import HoldExpired
from holdfast.gate.data.owing.owed_file import FILE_NAME as OWED_FILE
from holdfast.gate.data.task import LegTask
from holdfast.gate.log.ring_layout import BEGIN
from holdfast.gate.log.segment import Kind
from holdfast.gate.members.configuration import load_configuration, save_configuration
from holdfast.gate.members.epoch_memory import STATE as STATE_DIRECTORY
from holdfast.gate.runtime.claims import Hand
from holdfast.model.volume import JournalFailurePolicy, JournalMode
from tests.unit.gate.blocks import block_of, read, write
from tests.unit.gate.data.test_ring_attacked import leave_old_journal, use_policy
from tests.unit.gate.gate_in_process import InProcessGate, KilledError
from tests.unit.gate.owing import (
    BAD,
    GOOD,
    SIZE,
    cut_power,
    lose_saved,
    owe_more,
    owing,
    slow_saving,
)
from tests.waiting import wait_until


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[InProcessGate]:
    gate = InProcessGate(tmp_path, SIZE, 1, JournalMode.UNFLUSHED)
    gate.start()
    yield gate
    gate.storages.bad_places.clear()
    gate.storages.not_writable.clear()
    gate.mirror.log._ring.cells[BEGIN] = gate.mirror.log._ring.end  # lets whoever is stuck go
    with suppress(BaseException):
        gate.die()


def fill(gate: InProcessGate) -> None:
    """Write until nothing more fits without a flush; every write is answered."""
    ring = gate.mirror.log._ring
    needed = 4096 + 64
    for number in range(1000):
        place = ring.end % ring.area_bytes
        filling = ring.area_bytes - place if place + needed > ring.area_bytes else 0
        if ring.end + filling + needed + ring.spare_bytes > ring.begin + ring.area_bytes:
            return
        write(gate, b"f", GOOD + number % 50 * 4096)
    raise AssertionError("it does not become full")


def goes_on(gate: InProcessGate, letter: bytes = b"2") -> bool:
    """Whether a write is answered while all storage is well."""
    writing = LegTask(
        gate.mirror.hands, lambda hand: gate.mirror.write(hand, block_of(letter), GOOD)
    )
    writing.join(5.0)
    return not writing.is_alive()


# --- a position that was recorded, and not trimmed ---------------------------------------------


@pytest.mark.parametrize("how", ["take_over", "start"])
def test_writes_go_on_after_a_kill_before_the_ring_was_trimmed(
    gate: InProcessGate, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ring is full, all legs and gate.json say its end; the kill falls before `trim`."""
    gate.run(lambda hand: gate.mirror.journalling.record(hand, flush=True))
    fill(gate)

    def killed(*arguments: object) -> None:
        raise KilledError

    monkeypatch.setattr(gate.mirror.log, "trim", killed)
    with pytest.raises(KilledError):
        write(gate, b"2", GOOD)  # finds no room, has the legs flushed, and says so on them
    gate.die()
    getattr(gate, how)()
    assert gate.mirror.roster.readers
    assert goes_on(gate), "no write is answered any more"


def test_writes_go_on_after_a_state_directory_that_hung(gate: InProcessGate) -> None:
    """It hangs for longer than the time-out while a position is recorded; then it answers again."""
    gate.run(lambda hand: gate.mirror.journalling.record(hand, flush=True))
    fill(gate)
    mirror, answers = gate.mirror, threading.Event()
    coordinator = mirror.memory._coordinator

    class Hanging:
        arbitrates = False

        def remember(self, *arguments: object) -> None:
            answers.wait(60)
            coordinator.remember(*arguments)

    mirror.memory._coordinator = Hanging()
    recording = LegTask(mirror.hands, lambda hand: mirror.journalling.record(hand, flush=True))
    given_up = False

    def inside() -> bool:
        nonlocal given_up
        for hand in mirror.hands.all():
            if hand.give_up(monotonic_ns(), inside=STATE_DIRECTORY):  # as the watchdog
                mirror.give_up(hand, STATE_DIRECTORY, 1.0)
                given_up = True
        return given_up

    wait_until(inside)
    mirror.memory._coordinator = coordinator
    answers.set()
    recording.join(10)
    assert not recording.is_alive()
    assert goes_on(gate), "no write is answered any more"


def test_writes_go_on_when_the_coordinator_agrees_again(gate: InProcessGate) -> None:
    gate.run(lambda hand: gate.mirror.journalling.record(hand, flush=True))
    fill(gate)
    coordinator = gate.mirror.memory._coordinator

    class Away:
        arbitrates = True

        def remember(self, *arguments: object) -> None:
            raise OSError(errno.EIO, "away")

    class Back:
        arbitrates = True

        def remember(self, *arguments: object) -> None:
            coordinator.remember(*arguments)

    gate.mirror.memory._coordinator = Away()
    gate.run(lambda hand: gate.mirror.journalling.record(hand, flush=True))
    gate.mirror.memory._coordinator = Back()
    gate.run(gate.recovery.upkeep.checkpoint)
    assert goes_on(gate), "no write is answered any more"


# --- the spare -----------------------------------------------------------------------------------


def test_discards_leave_room_for_what_is_owed(gate: InProcessGate) -> None:
    """A write that waits pins the ring; discards go on; then it ends, and all is to go on."""
    owing(gate)
    mirror = gate.mirror
    hand = mirror.hands.take()
    assert mirror.log.append(hand, Kind.DATA, GOOD, memoryview(bytes(4096)))  # on its way
    fill(gate)
    for _ in range(1000):
        own = mirror.hands.take()
        more = mirror.journalling.append(own, Kind.DISCARD, 0, 4096)
        mirror.log.done(own)
        mirror.hands.put_back(own)
        if not more:
            break
    mirror.log.done(hand)
    mirror.hands.put_back(hand)
    assert goes_on(gate), "no write is answered any more"


# --- what is owed, and a ring that is not there ------------------------------------------------


def test_legs_stay_when_a_log_had_failed_while_something_was_owed(gate: InProcessGate) -> None:
    """Policy degrade. A flush was answered, so it is in owed.json; the worker is killed."""
    use_policy(gate, JournalFailurePolicy.DEGRADE)
    owing(gate)
    gate.mirror.log.fail("a test")
    write(gate, b"x", GOOD, flush=True)
    gate.die()
    gate.take_over()
    assert gate.mirror.roster.readers, "the only leg failed, and nothing is wrong with it"


def test_owed_is_there_after_a_log_failed_and_a_takeover(gate: InProcessGate) -> None:
    use_policy(gate, JournalFailurePolicy.DEGRADE)
    owing(gate)
    gate.mirror.log.fail("a test")
    write(gate, b"x", GOOD, flush=True)
    gate.mirror.cells[30] = 0  # OWED_SINCE, as `failed` means to say
    gate.die()
    gate.take_over()
    write(gate, b"y", GOOD, flush=True)
    gate.storages.not_writable.clear()
    gate.storages.bad_places.clear()
    assert read(gate, BAD) == b"1"


def test_legs_stay_when_the_ring_was_removed_and_something_is_owed(gate: InProcessGate) -> None:
    owing(gate)
    gate.die()
    gate.lose_memory()  # rm -r /run/holdfast/…, or systemd-tmpfiles
    gate.take_over()
    assert gate.mirror.roster.readers, "the only leg failed, and nothing is wrong with it"
    assert read(gate, BAD) == b"1"


def test_writes_come_back_though_the_ring_was_removed_before_a_takeover(
    gate: InProcessGate,
) -> None:
    """The ring of the new worker says that it has everything since the recorded position."""
    write(gate, b"0", GOOD, flush=True)
    write(gate, b"1", GOOD)
    gate.die()
    gate.lose_memory()
    gate.take_over()
    gate.run(gate.recovery.upkeep.checkpoint)  # a second later
    gate.die()
    gate.storages.lose_cache(gate.image(1), random.Random(1))  # a storage server
    with suppress(NoSource):
        gate.start()
        assert read(gate, GOOD) == b"1"


# --- owed.json -----------------------------------------------------------------------------------


def test_owed_grows_while_a_flush_saves_it(
    gate: InProcessGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state directory is slow; meanwhile the only leg fails and comes back, and owes more."""
    second = BAD + 8 * 4096
    owing(gate)
    write(gate, b"2", second)  # answered, not flushed
    lose_saved(gate)
    with slow_saving(monkeypatch) as slow:
        flushing = LegTask(gate.mirror.hands, gate.mirror.flush)
        assert slow.inside.wait(10)
        owe_more(gate, second)
        slow.go_on.set()
        flushing.result(20)
    cut_power(gate)
    gate.start()
    assert read(gate, second) == b"2"


def test_what_the_file_has_is_known_after_two_changes(gate: InProcessGate) -> None:
    """The first is told a little late that it has ended: the watchdog looks at its hand."""
    owing(gate)
    mirror, saved = gate.mirror, gate.mirror.repaying._saved
    contents = mirror.owed.contents
    saved.change(mirror.hands.take(), lambda filed: {})
    late, other = mirror.hands.take(), mirror.hands.take()
    with late.claim:
        first = threading.Thread(target=lambda: saved.change(late, lambda filed: dict(contents)))
        first.start()
        wait_until((gate.state_directory / OWED_FILE).exists)
        problem = "?"
        while problem:
            problem = saved.change(other, lambda filed: {})  # it was written, and flushed
    first.join()
    assert not (gate.state_directory / OWED_FILE).exists()
    assert not saved.change(other, lambda filed: dict(contents))  # owed again
    assert (gate.state_directory / OWED_FILE).exists()


def test_owed_outlives_a_first_start_that_goes_on_without_a_ring(
    gate: InProcessGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut in the midst of recording a position; /run has room for one ring."""
    use_policy(gate, JournalFailurePolicy.DEGRADE)
    owing(gate)
    write(gate, b"y", GOOD)
    before = load_configuration(gate.state_directory)
    gate.run(lambda hand: gate.mirror.settling.record_position(hand, before.recorded_position + 64))
    cut_power(gate)
    save_configuration(gate.state_directory, before)
    really, calls = os.posix_fallocate, 0

    def full(descriptor: int, offset: int, length: int) -> None:
        nonlocal calls
        if length == gate.ring_bytes + 4096:
            calls += 1
            if calls > 1:
                raise OSError(errno.ENOSPC, "no space")
        really(descriptor, offset, length)

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        gate.start()
    assert calls == 2
    write(gate, b"z", GOOD, flush=True)
    assert read(gate, BAD) == b"1"


def test_owed_outlives_a_forced_start_that_failed(tmp_path: Path) -> None:
    gate = InProcessGate(tmp_path, SIZE, 2, JournalMode.UNFLUSHED)
    gate.start()
    write(gate, b"1", BAD, flush=True)
    gate.mirror.roster.fail(gate.mirror.roster.present[2], "a test")
    owing(gate)
    cut_power(gate)
    away = gate.image(1).with_suffix(".away")
    gate.image(1).rename(away)
    gate.storages.error_after[2] = 3
    with pytest.raises((NoSource, OSError)):
        gate.start(force=True)
    gate.storages.error_after.clear()
    away.rename(gate.image(1))
    gate.start()
    assert read(gate, BAD) == b"1"
    gate.die()


# --- files of an earlier version ---------------------------------------------------------------


@pytest.mark.parametrize("how", ["start", "take_over"])
@pytest.mark.parametrize("letters", [b"", b"1"])
def test_a_flush_ends_where_the_files_of_before_have_nothing_new(
    gate: InProcessGate, how: str, letters: bytes
) -> None:
    """restart-gate with the new program while nobody writes; then sync(1), or umount."""
    gate.die()
    journal = leave_old_journal(gate, *[(GOOD, b"1") for _ in letters])
    now = load_configuration(gate.state_directory)
    if how == "take_over":  # the earlier version had recorded everything
        save_configuration(
            gate.state_directory,
            replace(now, recorded_position=max(now.recorded_position, journal.position)),
        )
    getattr(gate, how)()
    flushing = LegTask(gate.mirror.hands, gate.mirror.flush)
    flushing.join(5.0)
    assert not flushing.is_alive(), "fsync is not answered any more"


def test_a_flush_ends_after_a_kill_before_the_files_were_removed(
    gate: InProcessGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.die()
    leave_old_journal(gate, (GOOD, b"1"))
    gate.take_over()

    def killed(*arguments: object) -> None:
        raise KilledError

    monkeypatch.setattr(gate.mirror.log, "trim", killed)
    with pytest.raises(KilledError):
        gate.run(gate.mirror.flush)
    gate.die()
    gate.take_over()
    flushing = LegTask(gate.mirror.hands, gate.mirror.flush)
    flushing.join(5.0)
    assert not flushing.is_alive(), "fsync is not answered any more"


# --- deadlines -----------------------------------------------------------------------------------


def test_a_write_ends_at_its_deadline_while_the_coordinator_is_away(gate: InProcessGate) -> None:
    """The ring cannot be emptied: an answer, be it EIO, is due when a hold would end."""
    fill(gate)

    class Away:
        arbitrates = True

        def remember(self, *arguments: object) -> None:
            raise OSError(errno.EIO, "away")

    gate.mirror.memory._coordinator = Away()
    gate.mirror.hold.set_timeout(0.3)
    assert ended(gate), "it waits for ever"


def ended(gate: InProcessGate) -> bool:
    def function(hand: Hand) -> None:
        with suppress(HoldExpired):
            gate.mirror.write(hand, block_of(b"2"), GOOD)

    writing = LegTask(gate.mirror.hands, function)
    writing.join(5.0)
    return not writing.is_alive()


# --- carrying ------------------------------------------------------------------------------------


def test_owed_grows_while_it_is_carried(gate: InProcessGate) -> None:
    """Somebody is in the first place; the only leg fails, comes back, and owes more meanwhile."""
    second = BAD + 8 * 4096
    owing(gate)
    write(gate, b"2", second)  # answered, not flushed
    mirror = gate.mirror
    while not mirror.log.overfull:
        write(gate, b"f", GOOD)
    other = mirror.hands.take()
    mirror.ranges.enter(other, BAD, 4096)
    recording = LegTask(mirror.hands, lambda hand: mirror.journalling.record(hand, flush=True))
    recording.join(0.3)
    assert recording.is_alive()
    owe_more(gate, second)
    mirror.ranges.leave(other)
    mirror.hands.put_back(other)
    recording.result(20)
    gate.die()
    gate.take_over()
    assert gate.mirror.roster.readers
    assert gate.mirror.owed.offsets == [BAD, second]
    assert read(gate, second) == b"2"


# --- whose it is ---------------------------------------------------------------------------------


def test_owed_is_ours_though_gate_json_was_behind_when_the_power_went(gate: InProcessGate) -> None:
    """The state directory became full after owed.json was written; then the epoch rose."""
    owing(gate)
    mirror = gate.mirror

    class Full:
        arbitrates = False

        def remember(self, *arguments: object) -> None:
            raise OSError(errno.ENOSPC, "no space")

    mirror.memory._coordinator = Full()
    mirror.roster.configure()  # as any change of membership
    gate.run(mirror.settling.settle)
    cut_power(gate)
    gate.start()
    assert read(gate, BAD) == b"1"


def test_writes_come_back_though_a_log_had_failed_before_a_takeover(gate: InProcessGate) -> None:
    """The next worker has a ring again, which says that it has all since the recorded position."""
    use_policy(gate, JournalFailurePolicy.DEGRADE)
    gate.mirror.log.fail("a test")
    write(gate, b"0", GOOD, flush=True)
    write(gate, b"1", GOOD)
    gate.die()
    gate.take_over()
    assert gate.mirror.log.active
    gate.run(gate.recovery.upkeep.checkpoint)
    entry = gate.mirror.roster.configuration.legs[0]
    gate.mirror.roster.fail(gate.mirror.roster.readers[0], "a test")
    for leg in gate.mirror.roster.retired.take():
        leg.close()
    gate.storages.lose_cache(gate.image(1), random.Random(1))
    gate.bring_back(entry)
    assert read(gate, GOOD) == b"1"


def test_a_leg_ahead_of_a_new_ring_is_not_replayed_from_a_place_that_is_none(
    gate: InProcessGate,
) -> None:
    """The worker is killed between leg and gate.json; the ring is gone; the next one begins below
    what the leg says; the storage server restarts without its cache."""
    before = load_configuration(gate.state_directory)
    for number in range(3):
        write(gate, b"0", GOOD + number * 4096, flush=True)
    gate.run(lambda hand: gate.mirror.journalling.record(hand, flush=True))
    gate.die()
    now = load_configuration(gate.state_directory)
    save_configuration(
        gate.state_directory, replace(now, recorded_position=before.recorded_position)
    )
    gate.lose_memory()
    gate.take_over()
    for number in range(6):
        write(gate, b"1", GOOD + number * 4096)
    entry = gate.mirror.roster.configuration.legs[0]
    gate.mirror.roster.fail(gate.mirror.roster.readers[0], "a test")
    for leg in gate.mirror.roster.retired.take():
        leg.close()
    gate.storages.lose_cache(gate.image(1), random.Random(1))
    gate.bring_back(entry)
    assert [read(gate, GOOD + number * 4096) for number in range(6)] == [b"1"] * 6
