"""What happens to a volume by itself, and why not otherwise: facts and policy in, an action out.

Pure.

Invariants: nothing is restored that its policy does not allow, twice, from contents that are
missing, too old or still being written, nor while anybody is at work on the volume; attempts end
after `MOST_ATTEMPTS`, and one that succeeded was the last, until the policy is set again.
"""

from __future__ import annotations

from enum import StrEnum

from holdfast.late_dataclass import dataclass
from holdfast.model.plan import Cause
from holdfast.model.policy import Attempt, AttemptState, OnLoss, Policy, PolicyStanding

MOST_ATTEMPTS = 3
"""What failed three times in half an hour fails for a reason that somebody has to see to."""

RETRY_SECONDS = 600.0
"""After one that was refused or failed: what was in the way may have ended. After a death: none."""

HELD_RETRY_SECONDS = 60.0
"""The same where requests wait in a gate, which answers them with errors after ten minutes."""

BEING_WRITTEN_SECONDS = 60.0
"""A source that was changed within that time may be a copy that is being made at this moment."""


class Action(StrEnum):
    """What is done now."""

    NOTHING = "nothing"
    WAIT = "wait"
    """Nothing yet."""
    REFUSE = "refuse"
    """Its policy asks for it, and it is not done: somebody has to see to that."""
    GO_ON = "go-on"
    """Whoever had begun died: what is half done is finished or undone."""
    RESTORE = "restore"


@dataclass(frozen=True)
class SourceSeen:
    """What was found where contents are to come from."""

    age_seconds: float | None = None
    """Since it was changed; None: cannot be told."""
    trouble: str = ""
    """Why it cannot be taken at all; empty: it can."""
    mend: str = ""
    """What to do about that; empty: the usual."""


@dataclass(frozen=True)
class LossSeen:
    """What a decision depends on beside policy and earlier attempts."""

    volume: str
    has_gate: bool = False
    """What is lost is every leg, then; a copy takes their place."""
    cause: Cause | None = None
    """Why its storage counts as lost; None: it does not."""
    lost_seconds: float = 0.0
    """For how long, without a break."""
    is_busy: bool = False
    """Whether somebody is at work on the volume: a command, or a job."""
    source: SourceSeen | None = None
    """None: it has not been looked at, and is taken for good."""


@dataclass(frozen=True)
class Decision:
    """One action, and the sentence that says why."""

    action: Action
    reason: str
    mend: str = ""
    """What to do where something is not done that its policy asks for."""

    @property
    def tells(self) -> bool:
        """Whether somebody has to know."""
        return self.action is Action.REFUSE


def decide(seen: LossSeen, standing: PolicyStanding, now: float) -> Decision:
    """What is to be done now. `now`: Unix seconds."""
    policy, attempt = standing.policy, standing.attempt
    if attempt is not None and attempt.state is AttemptState.RUNNING:
        if seen.is_busy:
            return Decision(Action.WAIT, "it is being restored")
        return Decision(Action.GO_ON, "whoever restored it died in the middle")
    if policy.on_loss is OnLoss.HOLD:
        return _nothing(seen)
    if attempt is not None and attempt.state is AttemptState.DONE:
        source = policy.source or "a copy"
        words = f"it was restored by itself from {source}, and nothing is set for the next"
        return Decision(Action.REFUSE, f"{words} loss", _once_more(seen))
    if seen.cause is None:
        return Decision(Action.NOTHING, "its storage serves")
    if not seen.has_gate and seen.cause not in policy.causes:
        causes = ", ".join(policy.causes)
        return Decision(Action.NOTHING, f"its policy is for {causes}, not for {seen.cause}")
    if attempt is not None and attempt.number >= MOST_ATTEMPTS:
        words = f"it was tried {attempt.number} times, and is not tried again: {attempt.words}"
        return Decision(Action.REFUSE, words, _after(attempt, seen.volume))
    return _of_a_loss(seen, policy, attempt, now)


def _of_a_loss(seen: LossSeen, policy: Policy, attempt: Attempt | None, now: float) -> Decision:
    if seen.is_busy:
        return Decision(Action.WAIT, "somebody is at work on it")
    if seen.lost_seconds < policy.after_seconds:
        return Decision(Action.WAIT, f"its policy waits {policy.after_seconds:g} s")
    if attempt is not None and attempt.state is AttemptState.FAILED:
        passed = max(0.0, now - attempt.ended)  # the clock may have been set back
        seconds = HELD_RETRY_SECONDS if seen.has_gate else RETRY_SECONDS
        if passed < seconds and now >= attempt.ended:
            words = f"it is tried again {seconds / 60:g} minutes after this"
            return Decision(
                Action.REFUSE, f"{attempt.words} ({words})", _after(attempt, seen.volume)
            )
    refusal = _about_source(seen, policy)
    if refusal is not None:
        return refusal
    cause = f"its storage is lost ({seen.cause})"
    source = policy.source or "its newest copy"
    return Decision(Action.RESTORE, f"{cause}, and its policy says: from {source}")


def _nothing(seen: LossSeen) -> Decision:
    if not seen.has_gate:
        return Decision(Action.NOTHING, "its policy is to hold")
    words = "its gate goes on with its legs and spares, and holds requests when none is left"
    return Decision(Action.NOTHING, words)


def _about_source(seen: LossSeen, policy: Policy) -> Decision | None:
    """Why its contents cannot be taken; None: they can."""
    source, volume = seen.source, seen.volume
    if source is None:
        return None
    if source.trouble:
        mend = source.mend or f"Bring it back, or: holdfast policy set {volume} --from URL"
        words = f"{policy.source}: {source.trouble}" if policy.source else source.trouble
        return Decision(Action.REFUSE, words, mend)
    if seen.has_gate:  # its history makes a copy as new as the volume, or it is refused
        return None
    age = source.age_seconds
    if age is not None and age < BEING_WRITTEN_SECONDS:
        words = f"{policy.source} was changed {age:.0f} s ago, and may still be being written"
        return Decision(Action.REFUSE, words, "Nothing, when it is complete: it is tried again.")
    if not policy.oldest_seconds:
        return None
    mend = f"holdfast policy set {volume} --oldest TIME allows older ones, 0 any"
    if age is None:
        return Decision(Action.REFUSE, f"how old {policy.source} is cannot be told", mend)
    if age > policy.oldest_seconds:
        hours, most = age / 3600, policy.oldest_seconds / 3600
        words = f"{policy.source} is {hours:.1f} h old, and may be {most:g} h"
        return Decision(Action.REFUSE, words, mend)
    return None


def _after(attempt: Attempt, volume: str) -> str:
    again = f"holdfast policy set {volume} --on-loss restore tries it again."
    return f"{attempt.mend.rstrip('.')}. Then: {again}" if attempt.mend else again


def _once_more(seen: LossSeen) -> str:
    volume = seen.volume
    if seen.has_gate:
        return (
            f"holdfast receipt list {volume}; then holdfast copy add {volume} URL, and holdfast"
            f" policy set {volume} --on-loss restore, or --on-loss hold"
        )
    return (
        f"holdfast receipt list {volume}; then holdfast policy set {volume} --on-loss restore"
        " --from URL --to URL, or --on-loss hold"
    )
