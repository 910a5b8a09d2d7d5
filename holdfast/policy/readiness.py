"""What would fail when it is needed: copies from which no moment can be had, policies that nobody
carries out. Pure: facts in, evidence out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from holdfast.model.copy import VolumeCopy
from holdfast.model.drill import FAILED, LastDrill
from holdfast.model.evidence import Evidence
from holdfast.model.history import HistoryStretch
from holdfast.model.policy import AttemptState, PolicyStanding
from holdfast.model.volume import VolumeReport
from holdfast.policy.unattended import Decision

SOURCE = "readiness"
"""Of evidence; `status` looks itself, in place of what the daemon saw of it some time ago."""

NO_DAEMON = "no daemon runs that would do it"
START_DAEMON = "systemctl start holdfast-daemon, or: holdfast daemon"


def unready_copies(
    report: VolumeReport, copies: Sequence[VolumeCopy], *, at_work: bool
) -> Iterator[Evidence]:
    """What is wrong with the copies of a volume. `at_work`: a command changes them now."""
    name = report.name
    of_the_name = [each for each in copies if each.volume == name]
    mine = [each for each in of_the_name if each.volume_id == report.id]
    for each in of_the_name:  # a restore may have given it another gate before it died
        if not each.is_complete and not each.into and not at_work:
            words = f"{each.half} was left, whose command died: {each.url}"
            yield Evidence(name, f"copy {each.id}", words, "holdfast recover", source=SOURCE)
    complete = [each for each in mine if each.is_complete]
    journal = report.gate.journal if report.gate is not None else {}
    if not journal:
        return
    if not complete:
        if any(each.is_complete for each in of_the_name):
            words = "its copies are of before it got this gate: nothing of now on can be had back"
            is_kept = journal.get("mode") == "continuous"
            begin = "" if is_kept else f"holdfast history {name} --at DIRECTORY, an empty one, "
            mend = (
                f"{begin}holdfast copy add {name} URL; or: holdfast copy remove {name} COPY, for"
                " each of them."
            )
            yield Evidence(name, "copies", words, mend, source=SOURCE)
        return
    if journal.get("mode") != "continuous":
        words = "it has copies, and no history leads on from them: nothing since can be had back"
        mend = f"holdfast history {name} --at DIRECTORY, then holdfast copy add; or copy remove."
        yield Evidence(name, "copies", words, mend, source=SOURCE)
        return
    yield from _out_of_reach(name, complete, stretches_of(journal))


def _out_of_reach(
    name: str, copies: Sequence[VolumeCopy], stretches: Sequence[HistoryStretch]
) -> Iterator[Evidence]:
    if not stretches:
        return
    for each in copies:
        if reason := each.out_of_reach(stretches):
            words = f"no moment can be had from its copy {each.url}: {reason}"
            mend = f"holdfast copy remove {name} {each.id[:8]}, and holdfast copy add {name} URL."
            yield Evidence(name, f"copy {each.id}", words, mend, source=SOURCE)
    if all(each.position < stretches[-1].position for each in copies):
        why = f": {stretches[-2].reason}" if len(stretches) > 1 and stretches[-2].reason else ""
        words = (
            f"its history has a gap after its newest copy: no moment from now on can be had{why}"
        )
        yield Evidence(name, "copies", words, f"holdfast copy add {name} URL", source=SOURCE)


def unattended(name: str, *, is_watched: bool) -> Iterator[Evidence]:
    """Of a volume whose policy has it restored by itself."""
    if not is_watched:
        words = f"its policy has it restored by itself, and {NO_DAEMON}"
        yield Evidence(name, "daemon", words, START_DAEMON, source=SOURCE)


def failed_drill(name: str, last: LastDrill | None) -> Iterator[Evidence]:
    """Of a volume of which a drill found that it could not be restored, until another one finds
    that it could. One that never had a drill is as well as it was."""
    if last is not None and not last.worked:
        why = last.outcome.removeprefix(FAILED)
        words = f"its last drill found that it could not be restored: {why}"
        again = f"holdfast drill {name}"
        mend = f"{last.mend.rstrip('.')}. Then: {again}" if last.mend else again
        yield Evidence(name, "drill", words, mend, source=SOURCE)


def undrilled(name: str) -> Iterator[Evidence]:
    """Of a volume that is to have drills by itself, while no daemon runs."""
    words = f"it is to have drills by itself, and {NO_DAEMON}"
    yield Evidence(name, "drill schedule", words, START_DAEMON, source=SOURCE)


def in_words(decision: Decision, standing: PolicyStanding, *, is_lost: bool) -> str:
    """Why it is not restored, or would not be; what the daemon says of the same is the same."""
    if is_lost:
        return f"it is not restored by itself: {decision.reason}"
    attempt = standing.attempt
    if attempt is not None and attempt.state is AttemptState.DONE:
        return decision.reason
    return f"it would not be restored by itself: {decision.reason}"


def stretches_of(journal: Mapping[str, object]) -> list[HistoryStretch]:
    """As a gate shows them, in order."""
    shown = journal.get("history_stretches")
    return [HistoryStretch(**each) for each in shown] if isinstance(shown, list) else []
