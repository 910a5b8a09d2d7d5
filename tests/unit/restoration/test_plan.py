"""Whatever is found, a plan keeps the promises that it is trusted for."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from holdfast.model.finding import Finding, Verdict
from holdfast.model.plan import BY_REFLEX, DAMAGED_CONTENTS, ORDER, Cause, StepName, Strategy
from holdfast.restoration.assessing.plan import ADOPTED, GATED, Situation, is_blocked, make_plan

findings = st.lists(
    st.builds(
        Finding, subject=st.just("process 1"), verdict=st.sampled_from(Verdict), found=st.just("x")
    ),
    max_size=4,
).map(tuple)
seconds = st.floats(0, 100)
situations = st.builds(
    Situation,
    volume=st.just("shop"),
    kind=st.sampled_from([GATED, ADOPTED]),
    cause=st.sampled_from(Cause),
    asked=st.none() | st.sampled_from([each for each in Strategy if each is not Strategy.REFUSE]),
    same_bytes=st.booleans(),
    source_given=st.booleans(),
    older_contents=st.booleans(),
    in_sync_legs=st.integers(0, 3),
    spares=st.integers(0, 2),
    processes=st.integers(0, 3),
    findings=findings,
    forced=st.booleans(),
    deadline_seconds=seconds,
    pause_budget_seconds=seconds,
    predicted_pause_seconds=seconds,
    target=st.sampled_from(["", "file:/new.img"]),
    kind_afterwards=st.sampled_from(["", GATED, ADOPTED]),
    shows_bare_places=st.booleans(),
)


@given(situations)
def test_steps_keep_the_one_order(situation: Situation) -> None:
    places = [ORDER.index(name) for name in make_plan(situation).step_names]
    assert places == sorted(set(places))


@given(situations)
def test_who_freezes_thaws_and_who_locks_unlocks(situation: Situation) -> None:
    names = make_plan(situation).step_names
    assert (StepName.FREEZE in names) == (StepName.THAW in names)
    assert (StepName.LOCK in names) == (StepName.UNLOCK in names)
    assert (StepName.DISMOUNT in names) == (StepName.REMOUNT in names)


@given(situations)
def test_nothing_is_dismounted_that_was_not_frozen_captured_and_flushed(
    situation: Situation,
) -> None:
    names = make_plan(situation).step_names
    if StepName.DISMOUNT in names:
        assert {StepName.FREEZE, StepName.CAPTURE, StepName.FLUSH, StepName.LOCK} <= set(names)


@given(situations)
def test_a_refusal_touches_nothing_and_says_why(situation: Situation) -> None:
    plan = make_plan(situation)
    if plan.refuses:
        assert plan.steps == ()
        assert plan.reason
        assert is_blocked(plan.findings, situation.forced)


@given(situations)
def test_a_blocker_is_never_overridden(situation: Situation) -> None:
    plan = make_plan(situation)
    if plan.steps:
        assert not is_blocked(plan.findings, situation.forced)


@given(situations)
def test_a_gated_volume_that_works_and_keeps_its_bytes_is_not_dismounted(
    situation: Situation,
) -> None:
    plan = make_plan(situation)
    broken = situation.cause in (Cause.READ_ONLY, Cause.DEAD_MOUNT)
    changes = situation.older_contents or not situation.same_bytes
    if situation.kind == GATED and not changes and not broken:
        assert StepName.DISMOUNT not in plan.step_names


@given(situations)
def test_damaged_contents_are_never_taken_from_a_mirror(situation: Situation) -> None:
    plan = make_plan(situation)
    if situation.cause in DAMAGED_CONTENTS:
        assert plan.strategy not in BY_REFLEX
        assert plan.strategy in (Strategy.REWIND, Strategy.REFUSE)
        if plan.strategy is Strategy.REWIND:
            assert situation.source_given
            assert situation.older_contents


@given(situations)
def test_a_pause_is_never_begun_that_would_outlast_its_deadline(situation: Situation) -> None:
    plan = make_plan(situation)
    if plan.steps:
        assert plan.predicted_pause_seconds < plan.deadline_seconds


def test_a_refusal_for_its_pause_says_whose_handles_it_is_for() -> None:
    situation = Situation(
        "shop",
        ADOPTED,
        asked=Strategy.MIGRATE,
        source_given=True,
        who_has_most="user 4321 has 7 of 12 handles",
        predicted_pause_seconds=61,
    )
    assert "user 4321 has 7 of 12 handles" in make_plan(situation).reason


def test_a_mirror_continues_by_reflex() -> None:
    plan = make_plan(Situation("shop", GATED, Cause.ERRORS, in_sync_legs=1))
    assert plan.strategy is Strategy.FAILOVER
    assert plan.steps == ()


def test_a_container_that_cannot_be_taken_is_refused_by_reflex_too() -> None:
    block = Finding("file:/full.img", Verdict.BLOCKS, "it holds an ext4 file system")
    other = Finding("qemu", Verdict.BLOCKS, "stays where it is when nothing is dismounted")
    base = Situation("shop", GATED, source_given=True, in_sync_legs=1, findings=(block, other))
    assert make_plan(base).strategy is Strategy.STANDBY
    plan = make_plan(replace(base, target_refused=True))
    assert plan.refuses
    assert "it holds an ext4 file system" in plan.reason


def test_storage_that_is_away_is_waited_for_and_a_spare_is_taken() -> None:
    assert make_plan(Situation("shop", GATED, Cause.LOST)).strategy is Strategy.REATTACH
    assert make_plan(Situation("shop", GATED, Cause.LOST, spares=1)).strategy is Strategy.STANDBY


def test_another_file_system_is_a_full_procedure() -> None:
    plan = make_plan(Situation("shop", GATED, same_bytes=False, target="file:/new.img"))
    assert plan.strategy is Strategy.MIGRATE
    assert plan.step_names == ORDER


def test_a_gate_that_comes_or_goes_is_a_full_procedure_and_says_so() -> None:
    """Whatever becomes of the type of file system."""
    gated = Situation(
        *("shop", GATED),
        asked=Strategy.MIGRATE,
        same_bytes=False,
        source_given=True,
        target="file:/new.img",
    )
    for situation, words in (
        (replace(gated, kind_afterwards=ADOPTED), "a plain mount takes the place"),
        (replace(gated, kind=ADOPTED, kind_afterwards=GATED), "above a gate takes the place"),
        (gated, "another file system takes the place"),
        (replace(gated, kind=ADOPTED), "another container takes the place"),
    ):
        plan = make_plan(situation)
        assert plan.strategy is Strategy.MIGRATE
        assert plan.step_names == ORDER
        assert words in plan.reason


def test_a_remount_from_the_same_storage_restores_nothing() -> None:
    plan = make_plan(Situation("data", ADOPTED, Cause.READ_ONLY))
    assert plan.strategy is Strategy.REMOUNT
    assert plan.step_names == tuple(name for name in ORDER if name is not StepName.RESTORE)


def test_a_detached_volumes_users_wait_after_the_dismount() -> None:
    plan = make_plan(Situation("data", ADOPTED, asked=Strategy.DETACH))
    assert plan.waits_after is StepName.DISMOUNT
    assert StepName.THAW in plan.step_names


def test_deletion_without_a_copy_is_refused_and_with_one_is_a_rewind() -> None:
    situation = Situation("data", ADOPTED, Cause.DELETION)
    assert make_plan(situation).refuses
    situation = Situation("data", ADOPTED, Cause.DELETION, source_given=True, older_contents=True)
    assert make_plan(situation).strategy is Strategy.REWIND


def test_force_overrides_what_needs_it_and_no_more() -> None:
    limit = Finding("postgres", Verdict.NEEDS_FORCE, "its memory is ahead of the disk")
    block = Finding("qemu", Verdict.BLOCKS, "io_uring has registered a file")
    base = Situation("data", ADOPTED, findings=(limit,))
    assert make_plan(base).refuses
    assert not make_plan(Situation("data", ADOPTED, findings=(limit,), forced=True)).refuses
    assert make_plan(Situation("data", ADOPTED, findings=(limit, block), forced=True)).refuses


@given(situations)
def test_the_first_line_says_what_those_find_who_come_by_path(situation: Situation) -> None:
    plan = make_plan(situation)
    if StepName.DISMOUNT not in plan.step_names:
        return
    is_bare = situation.shows_bare_places or plan.strategy is Strategy.DETACH
    assert ("ENOENT" in plan.steps[0].words) == is_bare
