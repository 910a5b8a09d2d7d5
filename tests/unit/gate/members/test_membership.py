"""The rules of who may be a source, one case each."""

from __future__ import annotations

import pytest

from holdfast.errors import NoSource
from holdfast.gate.members.membership import (
    FoundLeg,
    HostMemory,
    Judgement,
    Standing,
    judge,
    start_begins_epoch,
)
from holdfast.gate.members.superblock import Member, Settled, Superblock
from holdfast.model.volume import JournalMode, LegState

UNFLUSHED = JournalMode.UNFLUSHED
SOURCE, REPLAYABLE, STALE = Standing.SOURCE, Standing.REPLAYABLE, Standing.STALE


def members(in_sync: str, others: str = "") -> tuple[Member, ...]:
    """Members named by one letter each: the id and the last letter of the URL."""
    return tuple(
        Member(
            ord(letter), letter, "file:/" + letter,
            LegState.IN_SYNC if letter in in_sync else LegState.FAILED,
        )
        for letter in sorted(in_sync + others)
    )  # fmt: skip


def leg(
    letter: str,
    epoch: int,
    in_sync: str = "ab",
    position: int = 0,
    state: LegState = LegState.IN_SYNC,
    volume: str = "v",
    raised_from: Settled | None = None,
    others: str = "",
) -> FoundLeg:
    """A container of leg `letter` whose superblock names the legs `in_sync`, and others."""
    superblock = Superblock(
        volume,
        letter,
        ord(letter),
        1 << 30,
        epoch,
        1,
        position,
        state,
        members=members(in_sync, others),
        raised_from=raised_from,
    )
    return FoundLeg("file:/" + letter, superblock)


def memory(
    epoch: int | None = 5,
    in_sync: str = "ab",
    recorded: int = 0,
    journal: tuple[int, int] | None = None,
) -> HostMemory:
    """What the host remembers; `journal` is its begin and end."""
    begin, end = journal or (None, None)
    mode = UNFLUSHED if journal else JournalMode.NONE
    return HostMemory("v", epoch, members(in_sync), recorded, mode, begin, end)


LOST = HostMemory()


def standings(judgement: Judgement) -> dict[str, Standing]:
    """Standing by the last letter of the URL."""
    return {each.url[-1]: each.standing for each in judgement.legs}


def test_all_there() -> None:
    judgement = judge(memory(), [leg("a", 5), leg("b", 5)])
    assert standings(judgement) == {"a": SOURCE, "b": SOURCE}
    assert judgement.may_start
    assert (judgement.epoch, judgement.reason, judgement.forced) == (5, "", False)


def test_an_older_epoch_is_stale() -> None:
    judgement = judge(memory(6, "b"), [leg("a", 5), leg("b", 6, "b")])
    assert standings(judgement) == {"a": STALE, "b": SOURCE}


def test_a_copy_from_an_earlier_epoch_is_stale_though_its_leg_is_in_sync() -> None:
    judgement = judge(memory(6), [leg("a", 5), leg("b", 6)])
    assert standings(judgement) == {"a": STALE, "b": SOURCE}


def test_one_in_sync_leg_is_enough_for_a_host_that_remembers() -> None:
    judgement = judge(memory(), [leg("a", 5)])
    assert standings(judgement) == {"a": SOURCE, "b": Standing.MISSING}


def test_the_host_knows_of_a_newer_epoch() -> None:
    judgement = judge(memory(6, "b"), [leg("a", 5)])
    assert standings(judgement) == {"a": STALE, "b": Standing.MISSING}
    with pytest.raises(NoSource, match=r"epoch 6.*file:/b"):
        judgement.check()


def test_a_host_without_memory_needs_every_in_sync_leg() -> None:
    assert standings(judge(LOST, [leg("a", 5), leg("b", 5)])) == {"a": SOURCE, "b": SOURCE}
    with pytest.raises(NoSource, match="file:/b may be newer"):
        judge(LOST, [leg("a", 5)]).check()
    judgement = judge(LOST, [leg("b", 6, "b"), leg("a", 5)])
    assert standings(judgement) == {"a": STALE, "b": SOURCE}


def test_a_host_that_is_behind_the_legs_needs_them_all_too() -> None:
    assert not judge(memory(4), [leg("a", 5)]).may_start
    assert judge(memory(4), [leg("a", 5), leg("b", 5)]).may_start


def test_the_host_outranks_a_superblock_of_an_abandoned_raise() -> None:
    judgement = judge(memory(6, "a"), [leg("a", 6, "a"), leg("b", 6, "b")])
    assert standings(judgement) == {"a": SOURCE, "b": STALE}


FROM_5 = Settled(5, ("a", "b"))


def test_without_a_mark_those_in_sync_before_are_needed() -> None:
    alone = leg("b", 6, "b", raised_from=FROM_5, others="a")
    with pytest.raises(NoSource, match="file:/a may be newer"):
        judge(LOST, [alone]).check()
    with pytest.raises(NoSource, match="leg with id x may be newer"):
        judge(LOST, [leg("b", 6, "b", raised_from=Settled(5, ("b", "x")))]).check()
    assert judge(LOST, [alone], force=True).start_from
    judgement = judge(LOST, [alone, leg("a", 5)])
    assert standings(judgement) == {"a": STALE, "b": SOURCE}
    assert judgement.settled == FROM_5
    assert judge(LOST, [leg("b", 6, "b")]).settled == Settled(6, ("b",))


def test_without_a_mark_one_that_had_failed_before_is_not_needed() -> None:
    found = [leg("b", 6, "b", raised_from=FROM_5, others="ac"), leg("a", 5)]
    judgement = judge(LOST, found)
    assert standings(judgement) == {"a": STALE, "b": SOURCE, "c": Standing.MISSING}


def test_a_host_that_remembers_the_epoch_before_has_not_gone_on_from_it() -> None:
    judgement = judge(memory(5), [leg("b", 6, "b", raised_from=FROM_5)])
    assert standings(judgement) == {"b": SOURCE, "a": Standing.MISSING}
    assert judgement.settled == FROM_5
    assert not judge(memory(4), [leg("b", 6, "b", raised_from=FROM_5)]).may_start
    assert not judge(memory(5), [leg("b", 6, "bc", raised_from=FROM_5)]).may_start


@pytest.mark.parametrize("number", [6, 7, 8])
def test_where_others_went_on_the_raise_was_abandoned_whatever_its_number(number: int) -> None:
    abandoned = leg("b", number, "b", raised_from=FROM_5)
    for marked in (leg("a", 7, "a"), leg("a", 9, "a", raised_from=Settled(7, ("a",)))):
        judgement = judge(LOST, [abandoned, marked])
        assert standings(judgement) == {"a": SOURCE, "b": STALE}
        assert "never came to be" in {each.url[-1]: each.reason for each in judgement.legs}["b"]
        assert judgement.epoch >= number
    assert standings(judge(memory(7, "a"), [abandoned, leg("a", 7, "a")])) == {
        "a": SOURCE,
        "b": STALE,
    }
    assert not judge(memory(7, "a"), [abandoned]).may_start


def test_one_leg_without_its_mark_beside_one_that_has_it_is_of_the_same_raise() -> None:
    judgement = judge(LOST, [leg("a", 6, raised_from=FROM_5), leg("b", 6)])
    assert standings(judgement) == {"a": SOURCE, "b": SOURCE}
    assert judgement.unsettled
    assert not judge(LOST, [leg("a", 6), leg("b", 6)]).unsettled


def test_of_two_raises_from_one_epoch_both_sets_are_needed() -> None:
    """The joining leg c may have gone on alone: the first raise may have ended."""
    joins = leg("a", 6, "abc", raised_from=FROM_5)
    fails = leg("b", 7, "b", raised_from=FROM_5)
    assert not judge(LOST, [joins, fails]).may_start
    with_all = judge(LOST, [joins, fails, leg("c", 5, state=LegState.RESYNCING)])
    assert standings(with_all) == {"a": STALE, "b": SOURCE, "c": STALE}


def test_two_histories_are_refused() -> None:
    judgement = judge(LOST, [leg("a", 6, "a"), leg("b", 6, "b")])
    with pytest.raises(NoSource, match="two histories"):
        judgement.check()
    assert sorted(
        standings(judge(LOST, [leg("a", 6, "a"), leg("b", 6, "b")], force=True)).values()
    ) == [
        SOURCE,
        STALE,
    ]


def test_foreign_volumes_and_copies_beside_the_original() -> None:
    judgement = judge(memory(), [leg("a", 5), leg("b", 5, volume="w")])
    assert [each.standing for each in judgement.legs][:2] == [SOURCE, Standing.FOREIGN]
    judgement = judge(memory(), [leg("a", 5), leg("a", 5), leg("b", 5)])
    assert [each.standing for each in judgement.legs] == [
        Standing.FOREIGN,
        Standing.FOREIGN,
        SOURCE,
    ]
    assert not judge(LOST, [leg("a", 5), leg("a", 5), leg("b", 5)]).may_start
    assert not judge(LOST, [leg("a", 5), leg("b", 5, volume="w")], force=True).may_start


def test_no_superblock_at_all() -> None:
    judgement = judge(memory(), [FoundLeg("file:/a", None)], force=True)
    assert not judgement.may_start
    assert "no superblock" in judgement.reason or "carries a superblock" in judgement.reason


@pytest.mark.parametrize("state", [LegState.RESYNCING, LegState.SPARE, LegState.FAILED])
def test_a_leg_that_says_it_is_not_in_sync_never_is(state: LegState) -> None:
    for force in (False, True):
        judgement = judge(memory(), [leg("a", 5, state=state)], force)
        assert standings(judgement)["a"] is STALE
        assert not judgement.may_start


@pytest.mark.parametrize(
    ("position", "expected"),
    [(99, STALE), (100, REPLAYABLE), (150, REPLAYABLE), (200, SOURCE)],
)
def test_positions_against_the_journal(position: int, expected: Standing) -> None:
    judgement = judge(memory(recorded=120, journal=(100, 200)), [leg("a", 5, position=position)])
    assert standings(judgement)["a"] is expected


def test_a_journal_that_ends_before_a_leg_is_of_no_use() -> None:
    found = [leg("a", 5, position=250), leg("b", 5, position=150)]
    assert standings(judge(memory(journal=(100, 200)), found)) == {"a": SOURCE, "b": STALE}


def test_a_journal_is_not_replayed_into_an_epoch_that_the_host_does_not_know() -> None:
    found = [leg("a", 6, position=150), leg("b", 6, position=150)]
    assert standings(judge(memory(5, journal=(100, 200)), found)) == {"a": SOURCE, "b": SOURCE}


def test_without_a_journal_an_old_copy_is_stale() -> None:
    found = [leg("a", 5, position=10), leg("b", 5, position=9)]
    assert standings(judge(memory(recorded=10), found)) == {"a": SOURCE, "b": STALE}
    assert not judge(memory(recorded=10), [found[1]]).may_start


def test_the_mend_names_force_only_where_force_helps() -> None:
    filling = judge(memory(6, "b"), [leg("a", 6, state=LegState.RESYNCING)])
    with pytest.raises(NoSource) as refused:
        filling.check()
    assert "--force" not in refused.value.mend
    with pytest.raises(NoSource) as refused:
        judge(memory(6, "b"), [leg("a", 5)]).check()
    assert "--force" in refused.value.mend


def test_force_takes_the_newest_and_says_what_is_accepted() -> None:
    found = [leg("a", 4), leg("b", 5, "bc", position=7), leg("d", 3)]
    judgement = judge(memory(6, "c"), found, force=True)
    assert [each.url for each in judgement.start_from] == ["file:/b"]
    assert judgement.forced
    assert "epoch 5, position 7" in judgement.reason
    assert "file:/c" in judgement.reason


def test_force_still_replays_what_the_journal_covers() -> None:
    judgement = judge(memory(6, "c", journal=(5, 9)), [leg("b", 5, position=7)], force=True)
    assert standings(judgement)["b"] is REPLAYABLE


def test_the_best_leg_comes_first() -> None:
    found = [leg("a", 5, position=120), leg("b", 5, position=200), leg("c", 5, position=150)]
    judgement = judge(memory(5, "abc", journal=(100, 200)), found)
    assert [each.url[-1] for each in judgement.start_from] == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("why", "epoch", "forced", "arbitrated", "journalled", "siblings", "bits", "begins"),
    [
        ("a clean end", 5, False, False, True, True, False, False),
        ("the legs know a higher one", 4, False, False, False, True, False, True),
        ("absent legs were left out in a higher one", 6, False, False, True, True, False, False),
        ("by force", 5, True, False, False, True, False, True),
        ("another host may have it", 5, False, True, False, True, False, True),
        ("a crash with a journal", 5, False, False, True, True, True, True),
        ("a crash without one", 5, False, False, False, True, True, False),
        ("one leg with a journal: nothing tells", 5, False, False, True, False, False, True),
        ("one leg without one", 5, False, False, False, False, False, False),
        ("left out in a higher one, after a crash", 6, False, False, True, True, True, True),
    ],
)
def test_whether_a_start_begins_an_epoch(
    why: str,
    epoch: int,
    forced: bool,
    arbitrated: bool,
    journalled: bool,
    siblings: bool,
    bits: bool,
    begins: bool,
) -> None:
    """Where the newest epoch that was found anywhere is 5."""
    found = start_begins_epoch(
        Judgement("v", 5, Settled(5, ()), (), forced=forced),
        epoch,
        arbitrated=arbitrated,
        journalled=journalled,
        has_siblings=siblings,
        has_bits=bits,
    )
    assert found == begins, why


def test_a_start_with_a_leg_without_its_mark_begins_an_epoch() -> None:
    judgement = judge(memory(6, "b"), [leg("b", 6, "b", raised_from=FROM_5)])
    assert standings(judgement)["b"] is SOURCE
    assert start_begins_epoch(
        judgement, 6, arbitrated=False, journalled=False, has_siblings=False, has_bits=False
    )
