"""When a copy is brought on by itself, and what is said of it. Pure: facts in, a decision out.

Invariants: a copy is brought on only when it has lacked something for as long as it may; what fails
is tried again ever later, up to `LONGEST_RETRY_SECONDS`, and never given up; nothing is tried where
nothing leads on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.late_dataclass import dataclass
from holdfast.model.copy import VolumeCopy
from holdfast.model.following import Following, FollowingReport, FollowState
from holdfast.model.history import HistoryStretch

BEHIND_TIMES = 3.0
"""One lag passes before it is brought on, and bringing on may take as long again where the history
is long, as it rests half of the time. Behind three it does not keep up."""

TOLD_FAILURES = 2
"""One is a server that begins anew, an image that a backup reads; half a minute later it is not."""

FIRST_RETRY_SECONDS = 30.0
LONGEST_RETRY_SECONDS = 600.0
"""As policy.unattended.RETRY_SECONDS: who brings storage back sees it follow ten minutes later."""


@dataclass(frozen=True)
class CopySeen:
    """What is known of a copy now."""

    behind_bytes: int
    behind_seconds: float
    """How long it has lacked something."""
    trouble: str = ""
    """Why it cannot be brought on, whoever tries; empty: nothing is known."""
    mend: str = ""


def retry_seconds(failures: int) -> float:
    """How long nothing is tried after so many attempts in a row that failed."""
    if not failures:
        return 0.0
    return min(FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 16), LONGEST_RETRY_SECONDS)


def is_due(following: Following, seen: CopySeen, failures: int, since_tried: float) -> bool:
    """Whether it is to be brought on now. `failures`: in a row; `since_tried`: seconds since the
    last one ended."""
    if seen.trouble or not seen.behind_bytes:
        return False
    return seen.behind_seconds >= following.lag_seconds and since_tried >= retry_seconds(failures)


def standing(following: Following, copy: VolumeCopy, seen: CopySeen) -> FollowingReport:
    """How well it follows, for people."""
    state, reason, mend = FollowState.FOLLOWING, "", ""
    if seen.trouble:
        state, reason, mend = FollowState.CANNOT, seen.trouble, seen.mend
    elif following.failures:
        state, reason, mend = FollowState.CANNOT, following.words, following.mend
    elif seen.behind_bytes and seen.behind_seconds > BEHIND_TIMES * following.lag_seconds:
        state, reason = FollowState.BEHIND, "it does not keep up, or is catching up"
        mend = f"Faster storage, or a longer one: holdfast copy set {copy.volume} {copy.id[:8]}"
        mend += " --lag TIME"
    seconds = max(0.0, seen.behind_seconds) if seen.behind_bytes else 0.0
    return FollowingReport(
        following.id,
        copy.url,
        following.lag_seconds,
        state,
        seen.behind_bytes,
        seconds,
        reason,
        mend,
    )


def is_told(following: Following, report: FollowingReport, seen: CopySeen) -> bool:
    """Whether somebody has to know of it; that nothing leads on from a copy is told of every one,
    whether it follows or not (policy.readiness)."""
    if report.state is FollowState.BEHIND:
        return True
    return not seen.trouble and following.failures >= TOLD_FAILURES


def in_words(report: FollowingReport) -> str:
    """What is told."""
    what = "cannot follow" if report.state is FollowState.CANNOT else "is behind"
    return f"its copy {report.url} {what}: {report.reason}"


def unled(
    copy: VolumeCopy,
    volume_id: str,
    stretches: Sequence[HistoryStretch],
    following: Following,
) -> tuple[str, str]:
    """Why a history of these stretches does not lead from a copy to the present, and what mends
    it; empty: it does, as far as is known."""
    again = (
        f"holdfast copy remove {copy.volume} {copy.id[:8]}, then holdfast copy add {copy.volume}"
        f" URL --lag {following.lag_seconds:g}s"
    )
    if copy.volume_id != volume_id:
        return "it is a copy of an earlier volume of that name, or of before a restore", again
    if not stretches:
        return "", ""
    if reason := copy.out_of_reach(stretches):
        return reason, again
    if copy.position < stretches[-1].position:
        return "a gap of the history comes after it", again
    return "", ""


def history_trouble(journal: Mapping[str, object], volume: str) -> tuple[str, str]:
    """As a running gate shows it: why no copy of that volume can be brought on now."""
    if journal.get("mode") != "continuous":
        return "no history of the volume is kept", f"holdfast history {volume} --at DIRECTORY"
    if journal.get("history_state", "fails") == "fails":
        reason = journal.get("history_reason") or "it could not be opened"
        return f"the history cannot be written: {reason}", f"See holdfast history {volume}."
    return "", ""


def age_seconds(following: Following, copy: VolumeCopy, now: float) -> float:
    """By the clock: since when it may lack something. A clock that was set back makes it young."""
    return max(0.0, now - max(copy.made, following.current))
