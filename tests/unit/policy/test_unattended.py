"""What happens by itself, and why not otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InvalidOption
from holdfast.model.plan import Cause
from holdfast.model.policy import (
    LOSSES,
    Attempt,
    AttemptState,
    OnLoss,
    Policy,
    PolicyStanding,
)
from holdfast.policy.unattended import (
    HELD_RETRY_SECONDS,
    MOST_ATTEMPTS,
    RETRY_SECONDS,
    Action,
    Decision,
    LossSeen,
    SourceSeen,
    decide,
)

NOW = 1e9
POLICY = Policy(OnLoss.RESTORE, "file:/copies/x.img")
LOST = LossSeen("shop", False, Cause.DEAD_MOUNT, 30.0, source=SourceSeen(3600.0))
FAILED = Attempt("a", 1, NOW - 700, AttemptState.FAILED, NOW - RETRY_SECONDS, "no", "Do it")


def decided(
    seen: LossSeen = LOST, policy: Policy = POLICY, attempt: Attempt | None = None
) -> Decision:
    return decide(seen, PolicyStanding(policy, attempt), NOW)


def test_lost_storage_is_restored() -> None:
    assert decided().action is Action.RESTORE
    assert decided(replace(LOST, cause=Cause.READ_ONLY)).action is Action.RESTORE
    assert decided(replace(LOST, source=None)).action is Action.RESTORE
    hang = replace(LOST, cause=Cause.HANG)
    assert decided(hang, replace(POLICY, causes=(Cause.HANG,))).action is Action.RESTORE
    device = replace(LOST, source=SourceSeen(None))
    assert decided(device, replace(POLICY, oldest_seconds=0.0)).action is Action.RESTORE
    died = replace(FAILED, state=AttemptState.DIED, ended=NOW)
    assert decided(attempt=FAILED).action is decided(attempt=died).action is Action.RESTORE


@pytest.mark.parametrize(
    ("seen", "policy", "attempt", "action", "words"),
    [
        (LOST, Policy(), None, Action.NOTHING, "hold"),
        (replace(LOST, has_gate=True), Policy(), None, Action.NOTHING, "its gate"),
        (replace(LOST, cause=None), POLICY, None, Action.NOTHING, "serves"),
        (replace(LOST, cause=Cause.HANG), POLICY, None, Action.NOTHING, "not for hang"),
        (replace(LOST, is_busy=True), POLICY, None, Action.WAIT, "at work"),
        (replace(LOST, lost_seconds=29.9), POLICY, None, Action.WAIT, "30 s"),
        (replace(LOST, source=SourceSeen(None)), POLICY, None, Action.REFUSE, "how old"),
        (replace(LOST, source=SourceSeen(59.0)), POLICY, None, Action.REFUSE, "being written"),
        (replace(LOST, source=SourceSeen(-5.0)), POLICY, None, Action.REFUSE, "being written"),
        (replace(LOST, source=SourceSeen(2e5)), POLICY, None, Action.REFUSE, "55.6 h old"),
        (replace(LOST, source=SourceSeen(9.0, "gone")), POLICY, None, Action.REFUSE, "gone"),
        (LOST, POLICY, replace(FAILED, ended=NOW - 599), Action.REFUSE, "no (it is tried again"),
        (LOST, POLICY, replace(FAILED, number=3), Action.REFUSE, "tried 3 times"),
        (LOST, POLICY, replace(FAILED, state=AttemptState.DONE), Action.REFUSE, "was restored"),
        (replace(LOST, cause=None), POLICY, replace(FAILED, state=AttemptState.DONE),
         Action.REFUSE, "nothing is set"),
        (LOST, POLICY, replace(FAILED, state=AttemptState.RUNNING), Action.GO_ON, "died"),
        (LOST, Policy(), replace(FAILED, state=AttemptState.RUNNING), Action.GO_ON, "died"),
        (replace(LOST, is_busy=True), POLICY, replace(FAILED, state=AttemptState.RUNNING),
         Action.WAIT, "being restored"),
    ],
)  # fmt: skip
def test_why_not(
    seen: LossSeen, policy: Policy, attempt: Attempt | None, action: Action, words: str
) -> None:
    found = decided(seen, policy, attempt)
    assert found.action is action
    assert words in found.reason
    assert bool(found.mend) == (action is Action.REFUSE)


@given(
    st.lists(st.sampled_from([AttemptState.DONE, AttemptState.FAILED, AttemptState.DIED])),
    st.lists(st.floats(0, 1e6), min_size=20, max_size=20),
)
def test_attempts_end(ends: list[AttemptState], gaps: list[float]) -> None:
    """However they end, and whenever it is looked."""
    attempt: Attempt | None = None
    now, made = NOW, 0
    for state, gap in zip([*ends, *[AttemptState.FAILED] * 20], gaps, strict=False):
        now += gap
        if decide(LOST, PolicyStanding(POLICY, attempt), now).action is Action.RESTORE:
            made += 1
            attempt = Attempt(str(made), made, now, state, now, "x")
            if state is AttemptState.DONE:
                break
    assert made <= MOST_ATTEMPTS
    if attempt is not None and attempt.state is AttemptState.DONE:
        assert decide(LOST, PolicyStanding(POLICY, attempt), now + 1e7).action is Action.REFUSE


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "file:/copies/x.img"},
        {"causes": ()},
        {"causes": (Cause.PLANNED,)},
        {"after_seconds": -1.0},
        {"after_seconds": float("nan")},
        {"deadline_seconds": 1e6},
        {"pause_seconds": 61.0},
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidOption) as found:
        replace(POLICY, **changes)  # type: ignore[arg-type]
    assert found.value.mend


GATED = replace(LOST, has_gate=True, cause=Cause.LOST, source=SourceSeen())
OF_COPIES = Policy(OnLoss.RESTORE)


def test_every_leg_is_lost() -> None:
    """Its causes are those of mounts, and its history makes a copy as new as the volume."""
    found = decided(GATED, OF_COPIES)
    assert found.action is Action.RESTORE and "newest copy" in found.reason
    assert decided(replace(GATED, lost_seconds=29.0), OF_COPIES).action is Action.WAIT
    assert decided(replace(GATED, cause=None), OF_COPIES).action is Action.NOTHING
    lacking = replace(GATED, source=SourceSeen(trouble="it has no copy", mend="copy add"))
    found = decided(lacking, OF_COPIES)
    assert (found.action, found.reason, found.mend) == (
        Action.REFUSE, "it has no copy", "copy add")  # fmt: skip
    soon = replace(FAILED, ended=NOW - HELD_RETRY_SECONDS)
    assert decided(GATED, OF_COPIES, soon).action is Action.RESTORE
    assert decided(LOST, POLICY, soon).action is Action.REFUSE
    done = decided(GATED, OF_COPIES, replace(FAILED, state=AttemptState.DONE))
    assert done.action is Action.REFUSE and "copy add" in done.mend


def test_a_hang_counts_only_when_that_is_said() -> None:
    assert set(LOSSES) - set(Policy().causes) == {Cause.HANG}
