"""The limits that docs/semantics.md admits: each is shown, so that it is known when one falls."""

from __future__ import annotations

import pytest

from holdfast.gate.members.membership import FoundLeg, HostMemory, Judgement, Standing, judge
from holdfast.gate.members.superblock import Member, Settled, Superblock
from holdfast.model.volume import JournalMode, LegState

ONE = (Member(1, "a", "file:/a", LegState.IN_SYNC),)
TWO = (*ONE, Member(2, "b", "file:/b", LegState.IN_SYNC))


def leg(
    letter: str,
    epoch: int,
    position: int,
    members: tuple[Member, ...] = ONE,
    raised_from: Settled | None = None,
) -> FoundLeg:
    number = "ab".index(letter) + 1
    superblock = Superblock(
        "v", letter, number, 1, epoch, 1, position, members=members, raised_from=raised_from
    )
    return FoundLeg(f"file:/{letter}", superblock)


def host(journal: JournalMode, begin: int | None = None, end: int | None = None) -> HostMemory:
    return HostMemory("v", 5, ONE, 100, journal, begin, end)


def standing(judgement: Judgement) -> Standing:
    return judgement.legs[0].standing


def test_without_a_journal_a_copy_since_the_last_record_is_believed() -> None:
    """It carries the recorded position; the writes since then are missing, and nothing says so."""
    assert standing(judge(host(JournalMode.NONE), [leg("a", 5, 100)])) is Standing.SOURCE
    assert standing(judge(host(JournalMode.NONE), [leg("a", 5, 99)])) is Standing.STALE
    journal = host(JournalMode.UNFLUSHED, 80, 140)
    assert standing(judge(journal, [leg("a", 5, 100)])) is Standing.REPLAYABLE


def test_a_copy_whose_superblock_is_newer_than_its_data_is_believed() -> None:
    """The data was read at position 90, the superblock later, at 140: what lies between lacks."""
    journal = host(JournalMode.UNFLUSHED, 100, 140)
    assert standing(judge(journal, [leg("a", 5, 140)])) is Standing.SOURCE


@pytest.mark.parametrize("memory", [HostMemory(), HostMemory("v", 4, TWO)])
def test_an_old_copy_over_the_newest_leg_is_believed_by_a_host_that_forgot(
    memory: HostMemory,
) -> None:
    """Epoch 5 was written by leg a alone; its container now holds a copy of epoch 4."""
    judgement = judge(memory, [leg("a", 4, 100, TWO), leg("b", 4, 100, TWO)])
    assert [each.standing for each in judgement.legs] == [Standing.SOURCE, Standing.SOURCE]
    remembering = judge(HostMemory("v", 5, ONE), [leg("a", 4, 100, TWO), leg("b", 4, 100, TWO)])
    assert not remembering.may_start


def test_a_leg_that_another_host_left_out_is_believed_by_the_host_that_remembers_it() -> None:
    """The gate died while it excluded leg b; the other host went on with leg a, in epoch 6."""
    died = leg("a", 5, 100, ONE, raised_from=Settled(4, ("a", "b")))
    left_out = leg("b", 4, 100, TWO)
    elsewhere = judge(HostMemory(), [died, left_out])
    assert [each.standing for each in elsewhere.legs] == [Standing.SOURCE, Standing.STALE]
    assert judge(HostMemory("v", 4, TWO), [left_out]).may_start
    assert not judge(HostMemory(), [left_out]).may_start


def test_a_state_directory_from_a_backup_of_the_same_epoch_is_believed() -> None:
    """Its journal is older than the leg: a leg copied at that time passes for current."""
    restored = HostMemory("v", 5, ONE, 60, JournalMode.UNFLUSHED, 50, 70)
    assert standing(judge(restored, [leg("a", 5, 60)])) is Standing.REPLAYABLE
