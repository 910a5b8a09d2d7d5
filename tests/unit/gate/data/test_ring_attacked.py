"""Sequences in which the log ring, or what is owed, loses or undoes what was acknowledged."""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic_ns

import pytest

from holdfast.errors import NoSource
from holdfast.gate.data.fast_path import FastPath, Wire
from holdfast.gate.data.hold import HoldExpired
from holdfast.gate.data.journalling import FILES
from holdfast.gate.data.task import LegTask
from holdfast.gate.log.journal import Journal
from holdfast.gate.log.ring import FILE_NAME, Ring
from holdfast.gate.log.ring_layout import DEAD, STATE, PlainReserver
from holdfast.gate.log.segment import Kind
from holdfast.gate.members.configuration import load_configuration, save_configuration
from holdfast.gate.members.epoch_memory import STATE as STATE_DIRECTORY
from holdfast.gate.outside.run_directory import remove_run_directory
from holdfast.gate.repair.taking_over import take_over
from holdfast.gate.runtime.shared_page import SLOT_CELLS
from holdfast.model.volume import JournalFailurePolicy, JournalMode
from holdfast.system.resources.memory import aligned_buffer
from tests.unit.gate.blocks import block_of, on_leg, read, write
from tests.unit.gate.gate_in_process import InProcessGate, KilledError
from tests.unit.gate.owing import BAD, GOOD, SIZE, cut_power, lose_saved, owing, slow_saving


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[InProcessGate]:
    gate = InProcessGate(tmp_path, SIZE, 1, JournalMode.UNFLUSHED)
    gate.start()
    yield gate
    gate.storages.bad_places.clear()
    gate.storages.not_writable.clear()
    with suppress(BaseException):
        gate.die()


def use_policy(gate: InProcessGate, policy: JournalFailurePolicy) -> None:
    gate.die()
    now = load_configuration(gate.state_directory)
    save_configuration(gate.state_directory, replace(now, journal_failure=policy))
    gate.start()


def leave_old_journal(gate: InProcessGate, *writes: tuple[int, bytes]) -> Journal:
    """What the gate of an earlier version leaves when it dies: no ring, records in files."""
    recorded = load_configuration(gate.state_directory).recorded_position
    gate.lose_memory()
    journal = Journal(gate.state_directory / FILES, 4 << 20)
    journal.open(recorded)
    for offset, letter in writes:
        journal.append(Kind.DATA, offset, 4096, block_of(letter))
    journal.flush()
    journal.close()
    return journal


# --- the ring of a start that did not end ------------------------------------------------------


def test_owed_is_found_though_the_first_start_after_a_power_cut_was_refused(
    gate: InProcessGate,
) -> None:
    owing(gate)
    cut_power(gate)
    away = gate.image(1).with_suffix(".away")
    gate.image(1).rename(away)
    with pytest.raises(NoSource):
        gate.start()
    away.rename(gate.image(1))
    gate.start()
    assert read(gate, BAD) == b"1"


def test_old_journal_outlives_a_start_that_could_not_read_it(gate: InProcessGate) -> None:
    gate.die()
    leave_old_journal(gate, (GOOD, b"1"))
    segment = next((gate.state_directory / FILES).glob("segment-*"))
    aside = gate.directory / "aside"
    segment.rename(aside)
    segment.mkdir()
    with pytest.raises(OSError):
        gate.start()
    segment.rmdir()
    aside.rename(segment)
    gate.start()
    assert read(gate, GOOD) == b"1"


def test_old_journal_outlives_a_kill_before_it_was_found(
    gate: InProcessGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill falls between the two rings that `Unflushed.open` makes."""
    gate.die()
    leave_old_journal(gate, (GOOD, b"1"))

    def killed(self: Journal, *arguments: object, **named: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "open", killed)
        with pytest.raises(KilledError):
            gate.start()
    gate.start()
    assert read(gate, GOOD) == b"1"


# --- an old journal beside a ring that a power cut takes ---------------------------------------


def test_old_journal_is_not_replayed_over_what_was_flushed_since(gate: InProcessGate) -> None:
    """restart-gate takes over from the earlier version; a flush is answered; the power goes."""
    write(gate, b"1", GOOD)
    gate.die()
    leave_old_journal(gate, (GOOD, b"1"))
    gate.take_over()
    write(gate, b"2", GOOD, flush=True)
    cut_power(gate)
    assert on_leg(gate, 1, GOOD) == b"2"
    gate.start()
    assert read(gate, GOOD) == b"2"


def test_old_journal_that_failed_is_never_replayed_later(gate: InProcessGate) -> None:
    """Policy degrade: a journal that cannot be opened at a takeover is gone on without."""
    use_policy(gate, JournalFailurePolicy.DEGRADE)
    gate.die()
    recorded = load_configuration(gate.state_directory).recorded_position
    gate.lose_memory()
    journal = Journal(gate.state_directory / FILES, 4 << 20)
    journal.open(recorded)
    journal.append(Kind.DISCARD, 0, 4096, None)  # one page
    journal.append(Kind.DATA, GOOD, 4096, block_of(b"1"))
    journal.close()
    segment = next((gate.state_directory / FILES).glob("segment-*"))
    aside = gate.directory / "aside"
    segment.rename(aside)
    segment.mkdir()
    gate._new_worker()
    with pytest.raises(OSError):
        gate._open_journal()
    gate.mirror.journalling.cannot_open("a test")  # as Start._open_journal
    gate.run(lambda hand: take_over(gate.recovery, hand))
    write(gate, b"2", GOOD, flush=True)
    gate.die()
    segment.rmdir()
    aside.rename(segment)
    gate.start()
    assert read(gate, GOOD) == b"2"


# --- the file of what is owed -------------------------------------------------------------------


def fsync_through_compiled_code(gate: InProcessGate) -> bool:
    """False: there is no plan, so Python does it."""
    mirror = gate.mirror
    for incident in mirror.incidents.open:
        incident.resolve("over")
    mirror.incidents.collect(mirror.hands.all())
    path = FastPath(mirror)
    plan = path.plan()
    if plan is None or not plan.writes:
        return False
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.send(struct.pack("=IIQ", 80, 20, 1) + bytes(64))
    theirs.shutdown(socket.SHUT_WR)
    hand = mirror.hands.take()
    header, buffer = (memoryview(aligned_buffer(size)) for size in (4096, 1 << 20))
    wire = Wire(ours.fileno(), header[:80], buffer)
    with suppress(OSError):
        path.serve(hand, wire, plan)
    answer = theirs.recv(4096)
    assert struct.unpack_from("=Ii", answer) == (16, 0), "the flush was answered well"
    mirror.hands.put_back(hand)
    gate.storages.durable.clear()  # the leg was flushed, past the fault
    ours.close()
    theirs.close()
    return True


def test_what_was_owed_is_not_put_over_what_compiled_code_has_flushed(
    gate: InProcessGate,
) -> None:
    owing(gate)
    gate.storages.not_writable.clear()
    write(gate, b"2", BAD)  # the disk takes it now
    assert not gate.mirror.owed
    if not fsync_through_compiled_code(gate):
        gate.run(gate.mirror.flush)
    cut_power(gate)
    assert on_leg(gate, 1, BAD) == b"2"
    gate.start()
    assert read(gate, BAD) == b"2"


def test_two_flushes_at_once_leave_the_newer_file(
    gate: InProcessGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is slow to save; meanwhile the place is written, and a second flush asked for."""
    owing(gate)
    gate.mirror.hold.set_timeout(0.1)
    with pytest.raises(HoldExpired):
        write(gate, b"1", BAD)  # once more, in vain
    gate.mirror.hold.set_timeout(60.0)
    lose_saved(gate)
    with slow_saving(monkeypatch) as slow:
        first = threading.Thread(target=lambda: gate.run(gate.mirror.flush))
        first.start()
        assert slow.inside.wait(10)
        gate.storages.not_writable.clear()
        second = threading.Thread(target=lambda: write(gate, b"2", BAD, flush=True))
        second.start()
        second.join(0.2)
        assert second.is_alive()
        slow.go_on.set()
        first.join()
        second.join()
    cut_power(gate)
    gate.start()
    assert read(gate, BAD) == b"2"


# --- a log that fails ---------------------------------------------------------------------------


def test_a_write_answered_while_the_log_fails_is_not_undone_by_a_replay(
    gate: InProcessGate,
) -> None:
    """Not before positions have moved past what the log holds."""
    use_policy(gate, JournalFailurePolicy.DEGRADE)
    write(gate, b"1", GOOD)
    with gate.mirror.roster.lock:  # whoever says that positions move is a little slow with it
        failing = threading.Thread(target=lambda: gate.mirror.log.fail("a test"))
        failing.start()
        while gate.mirror.log._ring.cells[STATE] != DEAD:
            os.sched_yield()
        writing = threading.Thread(target=lambda: write(gate, b"2", GOOD))
        writing.start()
        writing.join(0.2)
        assert writing.is_alive(), "it was answered, and nothing says that the ring lacks it"
    failing.join()
    writing.join()
    gate.die()
    gate.start()
    assert read(gate, GOOD) == b"2"


def test_a_ring_that_failed_is_not_used_again(gate: InProcessGate) -> None:
    """A thread that found it active appends when it has failed: 4 KiB are enough."""
    use_policy(gate, JournalFailurePolicy.DEGRADE)
    write(gate, b"1", GOOD)
    log = gate.mirror.log

    class Late:
        def __init__(self, then: object) -> None:
            self.then = then

        def reserve(self, *arguments: object) -> int:
            log._ring.reserver = self.then
            log.fail("a test")  # by another thread, as this one is about to begin
            return self.then.reserve(*arguments)

    log._ring.reserver = Late(log._ring.reserver)
    write(gate, b"2", GOOD)
    write(gate, b"3", GOOD, flush=True)
    gate.die()
    gate.start()
    assert read(gate, GOOD) == b"3"


# --- beginning anew -----------------------------------------------------------------------------


@pytest.mark.parametrize("calls", range(12))
def test_a_start_that_was_killed_can_be_made_again(gate: InProcessGate, calls: int) -> None:
    """The power went while a position was recorded: the legs say it, gate.json does not yet."""
    write(gate, b"1", GOOD, flush=True)
    before = load_configuration(gate.state_directory)
    gate.run(lambda hand: gate.mirror.journalling.record(hand, flush=True))
    assert load_configuration(gate.state_directory).recorded_position > before.recorded_position
    cut_power(gate)
    save_configuration(gate.state_directory, before)
    gate.storages.calls_to_live = calls
    with suppress(KilledError):
        gate.start()
    gate.storages.calls_to_live = None
    gate.die()
    gate.start()
    assert read(gate, GOOD) == b"1"


# --- what a detached gate leaves ----------------------------------------------------------------


def test_the_ring_is_kept_though_something_else_cannot_be_removed(tmp_path: Path) -> None:
    ring = Ring(tmp_path / FILE_NAME, "volume", PlainReserver())
    ring.new_area_bytes = 128 << 10
    ring.begin_anew(0)
    ring.in_use()
    slot = memoryview(bytearray(SLOT_CELLS * 8)).cast("Q")
    assert ring.append(slot, Kind.DATA, 0, 4096, block_of(b"1"))
    (tmp_path / "device").mkdir()  # as one that is mounted still: EBUSY
    (tmp_path / "device" / "x").touch()
    remove_run_directory(tmp_path)
    assert (tmp_path / FILE_NAME).exists()


# --- waiting ------------------------------------------------------------------------------------


def test_a_write_that_waits_for_a_bad_place_keeps_no_other_waiting(gate: InProcessGate) -> None:
    owing(gate)
    gate.mirror.hold.set_timeout(3600.0)
    waiting = threading.Thread(
        target=lambda: gate.run(lambda hand: gate.mirror.write(hand, block_of(b"2"), BAD)),
        daemon=True,
    )
    waiting.start()
    while not gate.mirror.ranges.touches(BAD, 4096):
        os.sched_yield()

    def fill() -> None:
        for number in range(100):  # three times the ring
            write(gate, b"y", GOOD + number % 50 * 4096)

    filling = threading.Thread(target=fill, daemon=True)
    filling.start()
    filling.join(15)
    stuck = filling.is_alive()
    gate.storages.not_writable.clear()
    waiting.join(15)
    assert not stuck, "writes to good places wait as long as one to a bad place"


def test_flushes_wait_for_the_state_directory_while_something_is_owed(
    gate: InProcessGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to their deadline; one thread hangs there, and no more."""
    owing(gate)
    gate.mirror.hold.set_timeout(0.3)
    lose_saved(gate)
    mirror = gate.mirror
    with slow_saving(monkeypatch) as slow:
        first = LegTask(mirror.hands, mirror.flush)
        first.join(0.2)
        assert first.is_alive(), "it is inside"
        for hand in mirror.hands.all():
            if hand.give_up(monotonic_ns(), inside=STATE_DIRECTORY):
                mirror.give_up(hand, STATE_DIRECTORY, 1.0)
        assert mirror.log.active
        for _ in range(3):
            with pytest.raises(HoldExpired):
                gate.run(mirror.flush)
        slow.go_on.set()
        first.join()
        gate.mirror.hold.set_timeout(60.0)
        gate.run(mirror.flush)
    cut_power(gate)
    gate.start()
    assert read(gate, BAD) == b"1"


# --- killed at every call to a leg, with an old journal ------------------------------------------


@pytest.mark.parametrize("how", ["start", "take_over"])
@pytest.mark.parametrize("calls", range(30))
def test_old_journal_is_not_lost_by_a_kill(gate: InProcessGate, how: str, calls: int) -> None:
    gate.die()
    leave_old_journal(gate, (GOOD, b"1"), (BAD, b"1"), (GOOD, b"2"))
    if how == "take_over":  # the legs have it; their caches do not outlive a kill of all
        for place, letter in ((GOOD, b"2"), (BAD, b"1")):
            with gate.image(1).open("r+b") as image:
                image.seek(place)
                image.write(letter * 4096)
    answered = b""
    gate.storages.calls_to_live = calls
    with suppress(KilledError):
        getattr(gate, how)()
        for letter in (b"3", b"4"):
            write(gate, letter, BAD)
            answered = letter
        gate.run(gate.recovery.upkeep.checkpoint)
    gate.storages.calls_to_live = None
    gate.die()
    if how == "take_over":
        gate.storages.lose_cache(gate.image(1), random.Random(calls))
    gate.start()
    assert read(gate, GOOD) == b"2"
    assert read(gate, BAD) in {b"": b"134", b"3": b"34", b"4": b"4"}[answered]


@pytest.mark.parametrize("calls", range(14))
def test_what_was_owed_is_in_the_file_until_legs_are_flushed(
    gate: InProcessGate, calls: int
) -> None:
    """The disk takes it at last, into its volatile cache; the power goes before it is flushed."""
    owing(gate)
    gate.storages.not_writable.clear()
    gate.storages.calls_to_live = calls
    with suppress(KilledError):
        gate.run(lambda hand: gate.recovery.upkeep.checkpoint(hand, flush=True))
    gate.storages.calls_to_live = None
    cut_power(gate)
    gate.storages.bad_places.clear()
    gate.start()
    assert read(gate, BAD) == b"1"


def test_a_short_ring_keeps_no_detach_from_ending(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"x" * 20)
    remove_run_directory(tmp_path)
