"""The journal `continuous` in a gate: kills, power cuts, a history that fails. What was noted at a
flush is what the history gives for that position, or a gap tells that it does not."""

from __future__ import annotations

import errno
import os
import random
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import HoldfastError
from holdfast.gate.data.hold import HoldExpired
from holdfast.gate.data.task import LegTask
from holdfast.gate.data.write_log import Continuous, carrying
from holdfast.gate.log.history import writing
from holdfast.gate.log.history.layout import PAGE_BYTES, Mark, volume_in_history
from holdfast.gate.log.history.reading import Gap, OneStep, read
from holdfast.gate.log.history.segments import find, frames, in_order, open_directory
from holdfast.gate.log.segment import Kind
from holdfast.gate.runtime.claims import Hand
from holdfast.model.volume import JournalFailurePolicy, JournalMode
from holdfast.system.resources.memory import aligned_buffer
from tests.soak import rounds
from tests.unit.gate.gate_in_process import BLOCK_BYTES, InProcessGate, KilledError
from tests.waiting import wait_until

SIZE = 1 << 20
VOLUME = volume_in_history("the-volume")


class Story:
    """A gate, and what its history must give."""

    def __init__(
        self, directory: Path, legs: int, failure: JournalFailurePolicy = JournalFailurePolicy.HOLD
    ) -> None:
        self.gate = InProcessGate(directory, SIZE, legs, JournalMode.CONTINUOUS, failure)
        self.gate.ring_bytes = 1 << 20
        self.gate.start()
        self.image = bytearray(SIZE)
        self.noted: dict[int, bytes] = {self.log.position: bytes(SIZE)}
        """Contents by position."""
        self.possible: dict[int, set[bytes]] = {}
        """By block: what may be there after a power cut."""
        self.note_durable()

    @property
    def log(self) -> Continuous:
        """Of the present worker."""
        log = self.gate.mirror.log
        assert isinstance(log, Continuous)
        return log

    def write(self, letter: int, block: int, count: int) -> None:
        """Answered when it returns, and noted."""
        view = memoryview(aligned_buffer(count * BLOCK_BYTES))
        view[:] = bytes([letter]) * len(view)
        place = block * BLOCK_BYTES
        self.gate.run(lambda hand: self.gate.mirror.write(hand, view, place))
        self.image[place : place + len(view)] = view
        self.note(place, len(view))

    def zero(self, block: int, count: int) -> None:
        """As `write`."""
        place, length = block * BLOCK_BYTES, count * BLOCK_BYTES

        def function(hand: Hand) -> None:
            self.gate.mirror.zero(hand, place, length, keep_allocated=False)

        self.gate.run(function)
        self.image[place : place + length] = bytes(length)
        self.note(place, length)

    def flush(self) -> None:
        """Everything is in the history afterwards."""
        self.gate.run(self.gate.mirror.flush)
        self.note_durable()

    def take_over(self) -> None:
        """The worker is killed."""
        self.gate.die()
        self.gate.take_over()

    def lose_power(self, chance: random.Random) -> None:
        """Of the host and its disks, and start again: what the legs have then is the truth."""
        self.gate.die()
        durable = self.end
        for entry in self.gate.mirror.roster.configuration.legs:
            self.gate.storages.lose_cache(self.gate.image(entry.number), chance)
        self.lose_tail(durable, chance)
        self.gate.lose_memory()
        self.gate.start()
        self.noted = {each: self.noted[each] for each in self.noted if each <= durable}
        view = memoryview(aligned_buffer(SIZE))
        self.gate.run(lambda hand: self.gate.mirror.read(hand, view, 0))
        for block in range(0, SIZE, BLOCK_BYTES):
            assert bytes(view[block : block + BLOCK_BYTES]) in self.possible[block]
        self.image = bytearray(view)
        self.note_durable()
        self.noted[self.log.position] = bytes(self.image)

    def lose_tail(self, durable: int, chance: random.Random) -> None:
        """Of the history, what was not synced is torn somewhere, or not."""
        directory, place = open_directory(self.gate.history), PAGE_BYTES
        newest = in_order(find(self.gate.history), VOLUME)[-1]
        for header, _ in frames(directory, newest):
            if header.end > durable and chance.random() < 0.5:
                with newest.path.open("r+b") as file:
                    file.seek(place + chance.randrange(header.file_bytes))
                    file.write(b"torn")
                break
            place += header.file_bytes
        os.close(directory)

    def note_durable(self) -> None:
        """What is there now is there after a power cut."""
        image = bytes(self.image)
        self.possible = {
            block: {image[block : block + BLOCK_BYTES]} for block in range(0, SIZE, BLOCK_BYTES)
        }

    def note(self, place: int, length: int) -> None:
        """What is there now may be."""
        for block in range(place, place + length, BLOCK_BYTES):
            self.possible[block].add(bytes(self.image[block : block + BLOCK_BYTES]))
        self.noted[self.log.position] = bytes(self.image)

    def legs(self) -> list[bytes]:
        """What each leg holds."""
        entries = self.gate.mirror.roster.configuration.legs
        return [self.gate.image(each.number).read_bytes()[:SIZE] for each in entries]

    def read(self, position: int) -> list[Gap]:
        """Check every noted position that can be reached from there; the gap, if one comes."""
        image, at, step = bytearray(self.noted[position]), position, False
        for each in read(self.gate.history, VOLUME, position):
            if isinstance(each, OneStep):
                self.check(at, each.position, image)
                step = True
                continue
            last = each.position if isinstance(each, Gap) else each.end - 1
            if not step:
                self.check(at, last, image)
            if isinstance(each, Gap):
                return [each]
            end = each.offset + each.length
            if each.kind is Kind.DATA:
                image[each.offset : end] = each.payload
            elif each.kind is Kind.DISCARD:
                image[each.offset : end] = bytes(each.length)
            step = step and not (each.kind is Kind.MARK and each.offset == Mark.SETTLED)
            at = each.end
        assert not step
        self.check(at, at, image)
        return []

    def check(self, first: int, last: int, image: bytearray) -> None:
        """Noted positions from the first to the last one."""
        for position, noted in self.noted.items():
            if first <= position <= last:
                assert image == noted, position

    @property
    def end(self) -> int:
        """Up to where the history is durable, as it says itself."""
        return self.log._ring.carried


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(
                ["write", "write", "zero", "flush", "kill", "checkpoint", "power", "close"]
            ),
            st.integers(0, 60),
            st.integers(1, 4),
        )
    ),
    max_size=40,
)


@settings(max_examples=rounds(25, 500), deadline=None)
@given(STEPS, st.integers(1, 2))
def test_every_position_gives_the_bytes_of_the_model(
    steps: list[tuple[str, int, int]], legs: int
) -> None:
    directory = Path(tempfile.mkdtemp(prefix="hf-history-", dir="/dev/shm"))
    try:
        story = Story(directory, legs)
        begin = story.log.position
        for letter, (what, block, count) in enumerate(steps):
            if what == "write":
                story.write(letter, block, count)
            elif what == "zero":
                story.zero(block, count)
            elif what == "flush":
                end = story.log.position
                story.flush()
                assert story.end >= end
            elif what == "kill":
                story.take_over()
            elif what == "checkpoint":
                story.gate.run(story.gate.recovery.upkeep.checkpoint)
            elif what == "power":
                story.lose_power(random.Random(letter))
            else:
                story.gate.close_cleanly()
                story.note_durable()
                story.gate.start()
        story.flush()
        assert story.read(begin) == []
        assert story.legs() == [bytes(story.image)] * legs
        story.gate.die()
    finally:
        shutil.rmtree(directory)


@pytest.fixture(name="story")
def _story(tmp_path: Path) -> Iterator[Story]:
    story = Story(tmp_path, 1)
    yield story
    with suppress(BaseException):
        story.gate.die()


def test_a_gate_that_ended_properly_goes_on_without_a_gap(story: Story) -> None:
    begin = story.log.position
    story.write(1, 0, 1)
    for letter in range(2, 5):
        story.gate.close_cleanly()
        story.gate.start()
        assert story.gate.mirror.roster.readers
        story.write(letter, letter, 1)
    story.flush()
    assert story.read(begin) == []
    assert story.end > begin


def test_after_a_power_cut_the_history_says_what_the_legs_have(story: Story) -> None:
    begin = story.log.position
    story.write(1, 0, 1)
    story.flush()
    story.write(2, 1, 1)
    story.lose_power(random.Random(1))
    story.write(3, 2, 1)
    story.flush()
    assert story.read(begin) == []
    assert story.legs() == [bytes(story.image)]


def test_killed_while_it_is_told_what_the_legs_have(story: Story) -> None:
    """Before any call to a leg: the next start does it again."""
    begin = story.log.position
    for calls in range(0, 60, 3):
        story.write(calls % 250 + 1, calls % 7, 2)
        story.flush()
        story.write(calls % 250 + 2, 9 + calls % 7, 1)
        story.gate.die()
        story.gate.lose_memory()
        story.gate.storages.calls_to_live = calls
        with suppress(KilledError, HoldfastError):
            story.gate.start()
        story.gate.storages.calls_to_live = None
        story.gate.die()
        if calls % 2:
            story.gate.lose_memory()
        story.gate.start()
        story.image = bytearray(story.legs()[0])
        story.noted = {begin: story.noted[begin], story.log.position: bytes(story.image)}
        story.note_durable()
    story.flush()
    assert story.read(begin) == []


def test_a_write_that_fails_is_followed_by_what_the_leg_has(story: Story) -> None:
    """Whoever got an error reads what was there before, and so does whoever goes back."""
    begin = story.log.position
    story.write(1, 5, 3)
    story.flush()
    story.gate.mirror.hold.set_timeout(0.0)
    story.gate.storages.unwritable.add((1, 6 * BLOCK_BYTES))
    with pytest.raises(HoldExpired):
        story.write(2, 5, 3)
    story.gate.storages.unwritable.clear()
    story.noted[story.log.position] = bytes(story.image)
    story.write(3, 9, 1)
    story.flush()
    assert story.legs() == [bytes(story.image)]
    assert story.read(begin) == []


def hide(history: Path) -> Path:
    """The directory is away."""
    away = history.with_name("away")
    history.rename(away)
    return away


def break_history(story: Story) -> Path:
    """It fails at once: the segment cannot be written, and no new one be made."""
    away = hide(story.gate.history)
    story.log.carrying.fail("injected")
    story.log.carrying._writer._descriptor = -1  # of another table
    return away


def test_a_flush_waits_for_a_history_that_is_away(story: Story) -> None:
    begin = story.log.position
    story.write(1, 0, 1)
    story.flush()
    away = break_history(story)
    story.write(2, 1, 1)
    flushing = LegTask(story.gate.mirror.hands, story.gate.mirror.flush)
    flushing.join(0.3)
    assert flushing.is_alive()
    away.rename(story.gate.history)
    flushing.result(20.0)
    assert story.end >= story.log.position
    assert story.read(begin) == []


def test_a_volume_that_goes_on_without_says_so(tmp_path: Path) -> None:
    story = Story(tmp_path, 1, JournalFailurePolicy.DEGRADE)
    begin = story.log.position
    story.write(1, 0, 1)
    story.flush()
    away = break_history(story)
    for letter in range(2, 60):  # trimmed once the ring is half full
        story.write(letter, letter, 4)
        story.flush()
        story.gate.run(lambda hand: story.gate.recovery.upkeep.checkpoint(hand, flush=True))
    incidents = [each for each in story.gate.mirror.incidents.open if "history" in each.cause]
    assert len(incidents) == 1 and not incidents[0].resolved_ns
    away.rename(story.gate.history)
    wait_until(lambda: not story.log.carrying.failing)
    assert incidents[0].outcome == "the history goes on, with a gap"
    after = story.log.position
    story.write(99, 0, 1)
    story.flush()
    (gap,) = story.read(begin)
    assert gap.end <= after
    del gap
    assert story.read(after) == []
    story.gate.die()


@pytest.mark.parametrize("error", [OSError(errno.EIO, "injected"), RuntimeError("a defect")])
@pytest.mark.parametrize("call", ["pwrite", "fsync", "fdatasync", "lstat", "listdir"])
def test_whatever_fails_it_goes_on_afterwards(
    story: Story, monkeypatch: pytest.MonkeyPatch, call: str, error: Exception
) -> None:
    """With a flush that waits for it, and no other worker."""
    begin = story.log.position
    story.write(1, 0, 1)
    story.flush()
    attempts: list[str] = []
    function = getattr(os, call)

    def fails(*arguments: Any, **options: Any) -> Any:
        if threading.current_thread().name == "carrier":
            attempts.append(call)
            raise error
        return function(*arguments, **options)

    monkeypatch.setattr(carrying, "AGAIN_SECONDS", 0.001)
    monkeypatch.setattr(carrying, "RELAPSED_SECONDS", 0.001)
    monkeypatch.setattr(writing, "CHECKED_NS", 0)
    monkeypatch.setattr(os, call, fails)
    story.log.carrying.fail("injected, so that it is opened again")
    story.log.carrying._writer._descriptor = -1  # of another table
    story.write(2, 1, 1)
    flushing = LegTask(story.gate.mirror.hands, story.gate.mirror.flush)
    wait_until(lambda: len(attempts) > 3)
    assert flushing.is_alive()
    monkeypatch.setattr(os, call, function)
    flushing.result(20.0)
    assert not story.log.carrying.failing
    assert story.read(begin) == []


def test_a_slow_one_is_not_waited_for_until_it_is_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is missing afterwards."""
    story = Story(tmp_path, 1, JournalFailurePolicy.DEGRADE)
    begin = story.log.position
    story.write(1, 0, 1)
    story.flush()
    slow, sync = threading.Event(), os.fdatasync

    def waits(descriptor: int) -> None:
        if threading.current_thread().name == "carrier":
            slow.wait(20.0)
        sync(descriptor)

    monkeypatch.setattr(carrying, "BEHIND_SECONDS", 0.0)
    monkeypatch.setattr(os, "fdatasync", waits)
    for letter in range(2, 5):  # answered, though it is not synced
        story.write(letter, letter, 1)
        story.flush()
    assert story.log.shown["history_state"] == "behind"
    slow.set()
    wait_until(lambda: not story.log.carrying.behind)
    story.flush()
    assert story.end >= story.log.position
    told = [each.outcome for each in story.gate.mirror.incidents.open]
    assert told == ["the history goes on, whole"]
    assert story.read(begin) == []
    story.gate.die()


def test_a_disk_that_takes_files_and_syncs_none_keeps_the_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt takes the place of the one before: no room is used up, nothing old is removed
    for it, and one incident tells of them all."""
    story = Story(tmp_path, 1, JournalFailurePolicy.DEGRADE)
    begin = story.log.position
    story.write(1, 0, 1)
    story.flush()
    past = sorted(story.gate.history.glob("segment-*"))
    attempts: list[int] = []
    sync = os.fdatasync

    def fails(descriptor: int) -> None:
        if threading.current_thread().name == "carrier":
            attempts.append(descriptor)
            raise OSError(errno.EIO, "injected")
        sync(descriptor)

    monkeypatch.setattr(carrying, "AGAIN_SECONDS", 0.001)
    monkeypatch.setattr(carrying, "RELAPSED_SECONDS", 0.001)
    monkeypatch.setattr(os, "fdatasync", fails)
    story.write(2, 1, 1)
    story.flush()
    wait_until(lambda: len(attempts) > 20)
    assert story.log.carrying.failing
    monkeypatch.setattr(os, "fdatasync", sync)
    wait_until(lambda: not story.log.carrying.failing)
    left = sorted(story.gate.history.glob("segment-*"))
    assert past == left[: len(past)] and len(left) == len(past) + 1
    told = [each for each in story.gate.mirror.incidents.open if "history" in each.cause]
    assert [each.outcome for each in told] == ["the history goes on, whole"]
    assert len(told[0].steps) == 2
    story.write(3, 2, 1)
    story.flush()
    assert story.read(begin) == []
    story.gate.die()
