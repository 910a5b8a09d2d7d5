"""Histories of a small volume: legs fail and return, copies are put back, hosts forget.

The model's gate follows the statements in membership's docstring and can die between any two
durable steps. Whenever the rules name a source, it must hold every write that may not be lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from holdfast.gate.members.membership import (
    FoundLeg,
    HostMemory,
    Judgement,
    Standing,
    judge,
    start_begins_epoch,
)
from holdfast.gate.members.newest_epoch import in_sync_ids
from holdfast.gate.members.superblock import Member, Settled, Superblock
from holdfast.model.volume import JournalMode, LegState

LEGS = "abc"
SUBSETS = st.sets(st.sampled_from(LEGS), min_size=1)
Content = tuple[int, ...]


class KilledError(Exception):
    """The gate dies here; what it did before is durable."""


@dataclass(frozen=True)
class Storage:
    """A container: what it would give back now, what is certain after a power cut, its tail."""

    content: Content
    durable: Content
    superblock: Superblock


class Histories(RuleBasedStateMachine):
    """One volume of up to three legs on one host."""

    @initialize(unflushed=st.booleans(), start=SUBSETS)
    def create(self, unflushed: bool, start: set[str]) -> None:
        self.mode = JournalMode.UNFLUSHED if unflushed else JournalMode.NONE
        self.next_write = 0
        self.tick = 0
        self.highest = 1
        """The highest epoch that this life of the gate knows of."""
        self.settled = Settled(1, tuple(sorted(start)))
        self.storage: dict[str, Storage] = {}
        self.copies: list[Storage] = []
        self.kept: Content = ()
        """Writes that no source may lack: all acknowledged ones; after a power cut the flushed."""
        self.flushed: Content = ()
        self.journal: list[tuple[int, int]] = []
        self.journal_begin = self.journal_end = self.journal_flushed = 0
        self.elsewhere: tuple[HostMemory, list[tuple[int, int]], int, int, int] | None = None
        """What the other host has: its memory, and its journal."""
        self.untold = False
        """The evidence is gone, or on the other host: an old copy took a leg's place."""
        self.is_elsewhere = self.served_elsewhere = False
        """Which of the two hosts this is; on which one a gate has served last."""
        self.left_out: dict[str, bool] = {}
        """Legs in sync that a start on a host without memory did without, and which host that was.
        The documented limit, where the other host remembers them: then there are two histories."""
        self.is_split = False
        self.copies_in_place: set[str] = set()
        """Legs that an old copy took the place of, whose tails were not written since."""
        self.active: set[str] = set(start)
        self.memory = HostMemory("v", 1, self.members(start), 0)
        for letter in sorted(start):
            superblock = Superblock("v", letter, ord(letter), 1, 1, 0, members=self.members(start))
            self.storage[letter] = Storage((), (), superblock)

    # What the gate does

    def members(self, in_sync: set[str]) -> tuple[Member, ...]:
        known = in_sync | set(self.storage)
        return tuple(
            Member(
                ord(letter),
                letter,
                letter,
                LegState.IN_SYNC if letter in in_sync else LegState.FAILED,
            )
            for letter in sorted(known)
        )

    def raise_epoch(
        self, in_sync: set[str], die_after: int, begins_at: int = 0, joins: str = ""
    ) -> None:
        """Statement 1: superblocks first, one that joins last, then the host, then the marks; may
        die anywhere."""
        self.highest += 1
        steps = iter(range(die_after))
        in_order = sorted(in_sync, key=lambda each: (each == joins, each))
        for letter in in_order:
            self.survive(steps)
            self.write_superblock(
                letter,
                epoch=self.highest,
                state=LegState.IN_SYNC,
                members=self.members(in_sync),
                position=max(begins_at, self.storage[letter].superblock.position),
                raised_from=self.settled,
            )
        self.survive(steps)
        self.memory = replace(
            self.memory,
            volume_id="v",
            epoch=self.highest,
            members=self.members(in_sync),
            recorded_position=max(begins_at, self.memory.recorded_position),
        )
        self.settled = Settled(self.highest, tuple(in_order))
        for letter in in_order:
            self.survive(steps)
            self.write_superblock(letter, raised_from=None)

    def survive(self, steps: Iterator[int]) -> None:
        """Come through one more durable step, or die before it."""
        if next(steps, None) is None:
            raise KilledError

    def write_superblock(self, letter: str, **changes: object) -> None:
        superblock = self.storage[letter].superblock
        superblock = replace(superblock, sequence=superblock.sequence + 1, **changes)  # type: ignore[arg-type]
        self.storage[letter] = replace(self.storage[letter], superblock=superblock)
        self.copies_in_place.discard(letter)
        self.left_out.pop(letter, None)

    def stop(self) -> None:
        self.active = set()

    # What happens to it

    @precondition(lambda self: self.active)
    @rule(flushed=st.booleans())
    def write(self, flushed: bool) -> None:
        self.next_write += 1
        for letter in self.active:
            storage = self.storage[letter]
            self.storage[letter] = replace(storage, content=(*storage.content, self.next_write))
        if self.mode is JournalMode.UNFLUSHED:
            self.journal_end += 1
            self.journal.append((self.journal_end, self.next_write))
        self.kept = (*self.kept, self.next_write)
        if flushed:
            self.flush()

    def flush(self) -> None:
        for letter in self.active:
            storage = self.storage[letter]
            self.storage[letter] = replace(storage, durable=storage.content)
        self.flushed = self.kept
        self.journal_flushed = self.journal_end

    @precondition(lambda self: self.active)
    @rule(die_after=st.integers(0, 8))
    def record(self, die_after: int) -> None:
        """Statement 4, after a flush."""
        self.flush()
        self.tick += 1
        if self.mode is JournalMode.NONE:
            self.journal_end += 1
        for done, letter in enumerate(sorted(self.active)):
            if done == die_after:
                self.stop()
                return
            self.write_superblock(letter, position=self.journal_end)
        self.memory = replace(self.memory, recorded_position=self.journal_end)
        self.journal_begin = self.journal_end
        self.journal = []

    @precondition(lambda self: self.active)
    @rule(which=st.integers(0, 5), loses_cache=st.booleans(), die_after=st.integers(0, 8))
    def leg_fails(self, which: int, loses_cache: bool, die_after: int) -> None:
        self.fail(sorted(self.active)[which % len(self.active)], loses_cache, die_after)

    @precondition(lambda self: len(self.active) == len(LEGS))
    @rule(legs=st.permutations(LEGS), die_after=st.integers(0, 4))
    def legs_fail(self, legs: list[str], die_after: int) -> None:
        """One fails, another one while this is told; the gate goes on with the third, or dies."""
        self.active -= {legs[0]}
        try:
            self.raise_epoch(self.active, die_after=1)
        except KilledError:
            self.fail(legs[1], loses_cache=False, die_after=die_after)

    def fail(self, which: str, loses_cache: bool, die_after: int) -> None:
        if loses_cache:
            storage = self.storage[which]
            self.storage[which] = replace(storage, content=storage.durable)
            if self.mode is JournalMode.NONE and self.active == {which}:
                self.kept = self.flushed  # nothing keeps them: documented for journal none
        self.active -= {which}
        if self.active:
            try:
                self.raise_epoch(self.active, die_after)
            except KilledError:
                self.stop()
                if loses_cache and self.mode is JournalMode.NONE:
                    self.kept = self.flushed  # both at once: nobody is left who knows of it

    @precondition(lambda self: self.active)
    @rule(which=st.sampled_from(LEGS), finishes=st.booleans(), die_after=st.integers(0, 8))
    def leg_joins(self, which: str, finishes: bool, die_after: int) -> None:
        if which in self.active or not self.active:
            return
        source = self.storage[min(self.active)]
        superblock = replace(
            source.superblock, leg_id=which, leg_number=ord(which), state=LegState.RESYNCING
        )
        self.storage[which] = Storage((), (), superblock)
        self.copies_in_place.discard(which)
        self.left_out.pop(which, None)
        if not finishes:
            return
        self.flush()
        source = self.storage[min(self.active)]
        self.storage[which] = replace(source, superblock=superblock)
        try:
            self.raise_epoch(self.active | {which}, die_after, joins=which)
            self.active |= {which}
        except KilledError:
            self.stop()

    @precondition(lambda self: self.active)
    @rule()
    def gate_dies(self) -> None:
        self.stop()

    @precondition(lambda self: self.active)
    @rule(kept_share=st.floats(0, 1))
    def power_cut(self, kept_share: float) -> None:
        for letter, storage in self.storage.items():
            lost = storage.content[len(storage.durable) :]
            survived = lost[: int(kept_share * len(lost))]
            self.storage[letter] = replace(storage, content=(*storage.durable, *survived))
            kept_share = kept_share / 2
        survives = self.journal_flushed + int(
            kept_share * (self.journal_end - self.journal_flushed)
        )
        if self.mode is JournalMode.UNFLUSHED:
            self.journal = [entry for entry in self.journal if entry[0] <= survives]
            self.journal_end = survives
        self.kept = self.flushed
        self.stop()

    @precondition(lambda self: self.storage)
    @rule(which=st.sampled_from(LEGS), durable_only=st.booleans())
    def copy(self, which: str, durable_only: bool) -> None:
        if which in self.storage:
            storage = self.storage[which]
            content = storage.durable if durable_only else storage.content
            self.copies.append(replace(storage, content=content, durable=content))

    @precondition(lambda self: self.copies)
    @rule(data=st.data())
    def put_copy_back(self, data: st.DataObject) -> None:
        copy = data.draw(st.sampled_from(self.copies))
        letter = copy.superblock.leg_id
        if letter in self.active:
            return
        if self.mode is JournalMode.NONE:
            now = self.storage[letter].superblock
            seen = (self.memory.epoch or 0, self.memory.recorded_position)
            if (copy.superblock.epoch, copy.superblock.position) >= min(
                seen, (now.epoch, now.position)
            ):
                return  # the documented limit: nothing tells this copy from the leg
        self.storage[letter] = copy
        self.copies_in_place.add(letter)
        self.untold |= self.memory.epoch is None or self.is_elsewhere is not self.served_elsewhere

    @precondition(lambda self: not self.active)
    @rule()
    def host_forgets(self) -> None:
        self.memory = HostMemory()
        self.kept = self.flushed  # the others may have been in the journal only
        self.journal = []
        self.journal_flushed = self.journal_begin = self.journal_end
        self.untold |= bool(self.copies_in_place)

    @precondition(lambda self: not self.active)
    @rule()
    def other_host(self) -> None:
        """The next start is on another host, which has a memory and a journal of its own."""
        mine = (
            self.memory,
            self.journal,
            self.journal_begin,
            self.journal_end,
            self.journal_flushed,
        )
        there = self.elsewhere or (HostMemory(), [], 0, 0, 0)
        self.memory, self.journal, self.journal_begin, self.journal_end, self.journal_flushed = (
            there
        )
        self.elsewhere = mine
        self.is_elsewhere = not self.is_elsewhere
        self.kept = self.flushed
        self.untold |= bool(self.copies_in_place)

    # The judgement

    @precondition(lambda self: not self.active)
    @rule(
        present=SUBSETS,
        die_after=st.integers(0, 8),
        die_recording=st.integers(0, 8),
        twin=st.booleans(),
    )
    def attach(self, present: set[str], die_after: int, die_recording: int, twin: bool) -> None:
        memory = self.memory
        if memory.epoch is not None and self.mode is JournalMode.UNFLUSHED:
            memory = replace(
                memory,
                journal=self.mode,
                journal_begin=self.journal_begin,
                journal_end=self.journal_end,
            )
        found = [
            FoundLeg(letter, self.storage[letter].superblock)
            for letter in sorted(present & set(self.storage))
        ]
        twins = [FoundLeg("twin", copy.superblock) for copy in self.copies[-1:] if twin]
        verdict = judge(memory, [*found, *twins])
        assert "twin" not in [leg.url for leg in verdict.start_from if leg.leg_id in present]
        verdict = judge(memory, found)
        if not verdict.may_start:
            assert verdict.reason
            return
        results = [self.after_replay(leg.url, leg.standing) for leg in verdict.start_from]
        self.is_split |= any(
            self.left_out.get(leg.url, self.is_elsewhere) is not self.is_elsewhere
            for leg in verdict.start_from
        )
        if not self.untold and not self.is_split:
            for content in results:
                assert set(self.kept) <= set(content), (verdict, self.storage, self.kept)
                newest = self.kept[-1:] <= content[-1:]  # all writes are to the same block
                assert newest, (verdict, self.storage, self.kept)
        self.start(verdict, results[0], (die_after, die_recording))

    def after_replay(self, letter: str, standing: Standing) -> Content:
        content = self.storage[letter].content
        if standing is Standing.REPLAYABLE:
            position = self.storage[letter].superblock.position
            assert position >= self.journal_begin
            replayed = tuple(write for at, write in self.journal if at > position)
            content = (*(write for write in content if write not in replayed), *replayed)
        return content

    def start(self, verdict: Judgement, content: Content, deaths: tuple[int, int]) -> None:
        """Make the sources alike, durable; statement 5; raise the epoch; record the position."""
        sources = {leg.url for leg in verdict.start_from}
        self.highest, self.settled = verdict.epoch, verdict.settled
        if self.memory.epoch != verdict.settled.epoch:
            left_out = set(verdict.settled.in_sync) - sources
            self.left_out |= dict.fromkeys(left_out, self.is_elsewhere)
        for letter in sources:
            self.storage[letter] = replace(self.storage[letter], content=content, durable=content)
        if not verdict.journal_used:
            highest = max(storage.superblock.position for storage in self.storage.values())
            self.journal_end = 1 + max(self.journal_end, highest)
            self.journal_begin = self.journal_flushed = self.journal_end
            self.journal = []
        self.active = set(sources)
        try:
            if self.begins_epoch(verdict, sources):
                self.raise_epoch(sources, deaths[0], begins_at=self.journal_begin)
        except KilledError:
            self.stop()
            return  # nobody has read anything of it
        self.kept = self.flushed = content
        self.untold = False
        self.served_elsewhere = self.is_elsewhere
        self.record(die_after=deaths[1])

    def begins_epoch(self, verdict: Judgement, sources: set[str]) -> bool:
        """Whether members are absent, or the start calls for an epoch anyhow."""
        return sources != in_sync_ids(self.memory.members) or start_begins_epoch(
            verdict,
            self.memory.epoch or 0,
            arbitrated=False,
            journalled=self.mode is JournalMode.UNFLUSHED,
            has_siblings=True,
            has_bits=True,
        )


Histories.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestHistories = Histories.TestCase


def test_a_raise_that_did_not_end_is_not_believed_by_a_host_that_forgot() -> None:
    """One history that the model found: c was told alone of the epoch without a, then a went on."""
    state = Histories()
    state.create(unflushed=False, start={"a", "c"})
    state.write(flushed=False)
    state.leg_fails(which=0, loses_cache=False, die_after=1)
    state.attach(present={"a"}, die_after=8, die_recording=8, twin=False)
    state.write(flushed=True)
    state.power_cut(kept_share=0.0)
    state.host_forgets()
    state.attach(present={"c"}, die_after=8, die_recording=8, twin=False)
    assert not state.active
    state.attach(present={"a", "c"}, die_after=8, die_recording=8, twin=False)
    assert state.active == {"a"}
    assert state.storage["a"].content == (1, 2)
