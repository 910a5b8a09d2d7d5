"""What may happen to volumes unattended: setting it, and doing it. Reached through
`Holdfast.policies`.

Invariant: an attempt is written down before it acts, in the turn on the volume, under the id that
its restoration and its receipt have; so whoever comes after a death knows whether it was done, and
nothing is done twice, however many try. Must never act but as `policy.unattended` decides.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.containers import image_behind, is_container_url, open_container, parse_container_url
from holdfast.containers.trust import open_believed
from holdfast.errors import (
    HoldfastError,
    InvalidOption,
    NoSuchReceipt,
    NotAttached,
)
from holdfast.late_dataclass import dataclass
from holdfast.model.copy import VolumeCopy
from holdfast.model.drill import LastDrill
from holdfast.model.plan import Cause
from holdfast.model.policy import (
    Attempt,
    AttemptState,
    OnLoss,
    OnWorse,
    Policy,
    PolicyStanding,
)
from holdfast.model.receipt import Receipt
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.volume import GATED, Volume, VolumeReport
from holdfast.policy.promotable import source_seen
from holdfast.policy.readiness import NO_DAEMON, START_DAEMON
from holdfast.policy.unattended import (
    BEING_WRITTEN_SECONDS,
    Action,
    Decision,
    LossSeen,
    SourceSeen,
    decide,
)
from holdfast.policy.watching import watcher
from holdfast.restoration.assessing.assess import Assessment
from holdfast.restoration.assessing.plan import blockers
from holdfast.restoration.performing.perform import perform
from holdfast.restoration.storage.origin import origin_of_contents
from holdfast.service.histories import Histories
from holdfast.service.host import Host
from holdfast.service.last_drills import last_drill
from holdfast.service.requests import AssessRequest
from holdfast.service.responding import RespondRequest
from holdfast.service.restorations import Restorations
from holdfast.service.restore_request import RestoreRequest
from holdfast.service.rights import need_root
from holdfast.service.unattended_promotions import UnattendedPromotions
from holdfast.system.children.expendable import in_expendable_child

_log = logging.getLogger(__name__)

_ANSWER_SECONDS = 5.0
"""In which the place of a source answers."""

_MOST_WORDS = 2000
"""Characters of an error, or of evidence: with two paths."""


@dataclass(frozen=True)
class PolicyReport:
    """What `policy show --json` prints."""

    volume: str
    policy: Policy
    attempt: Attempt | None
    """The last one since the policy was set."""
    would: Action
    """What would be done now, if its storage had been lost for long enough."""
    why: str
    mend: str = ""
    last_drill: LastDrill | None = None
    """None: never, or it cannot be drilled."""
    has_gate: bool = False


class Policies:
    """Policies of this host's volumes."""

    def __init__(self, host: Host, restorations: Restorations, histories: Histories) -> None:
        self._host = host
        self._restorations = restorations
        self._gated = UnattendedPromotions(host, histories)

    def show(self, name: str) -> PolicyReport:
        """A volume's policy, and what would happen now. Changes nothing; blocks some seconds where
        storage hangs. Raises NoSuchVolume."""
        need_root()
        volume = self._host.volume(name)
        standing = self._host.catalog.policies.of(name)
        decision = self._outlook(volume, standing)
        why, mend = decision.reason, decision.mend
        if decision.action is Action.RESTORE and not watcher(self._host.settings.run_directory):
            why, mend = f"{why}; but {NO_DAEMON}", START_DAEMON
        last = last_drill(self._host.catalog, name)
        has_gate = not volume.is_adopted
        policy, attempt, would = standing.policy, standing.attempt, decision.action
        return PolicyReport(name, policy, attempt, would, why, mend, last, has_gate)

    def set(self, name: str, **changes: Any) -> PolicyReport:
        """Change these fields of a volume's policy, and let it act again; durable on return.

        Waits for nobody, and is heeded from the daemon's next look on. Raises InvalidOption,
        NoSuchCopy.
        """
        need_root()
        volume = self._host.volume(name)
        entries = self._host.catalog.policies
        policy = replace(entries.of(name).policy, **changes)
        policy.quiet_hours.check_zone()
        policy = _checked(policy) if volume.is_adopted else self._gated.checked(name, policy)
        entries.set(name, policy)
        return self.show(name)

    def respond(self, request: RespondRequest, reporter: Reporter = SILENT) -> Receipt | None:
        """Do what the volume's policy says now; its receipt, or None when nothing was to be done.

        Durable on return. Raises what kept it from being done, which is written down, too.
        """
        need_root()
        name = request.volume
        doing = f"do what the policy of {name} says"
        is_adopted = self._host.volume(name).is_adopted
        with self._host.turn(name, doing) if is_adopted else self._gated.turn(name, doing):
            receipt = self._settled(name, reporter)
            if receipt is not None:
                return receipt
            standing = self._host.catalog.policies.of(name)
            volume = self._host.volume(name)
            seen = self._seen(volume, standing.policy, request.lost_seconds)
            decision = decide(seen, standing, time.time())
            about = {"volume": name}
            _log.warning("%s: %s", decision.action, decision.reason, extra=about)
            if decision.action is Action.RESTORE:
                return self._restore(request, standing, reporter)
            if decision.tells and seen.source is not None:
                self._refused(request, standing, decision)
        return None

    # What would happen

    def _outlook(self, volume: Volume, standing: PolicyStanding) -> Decision:
        """What would be done now if the storage had been lost for long enough."""
        if not volume.is_adopted:
            return self._gated.outlook(volume, standing)
        policy, name = standing.policy, volume.name
        seen = self._seen(volume, policy, policy.after_seconds)
        if seen.cause is None:
            seen = replace(seen, cause=policy.causes[0])
        decision = decide(seen, standing, time.time())
        if decision.action is not Action.RESTORE:
            return decision
        try:
            plan = self._assessed(name, policy).plan
        except NotAttached as error:
            return Decision(Action.NOTHING, error.message, error.mend)
        except HoldfastError as error:
            return Decision(Action.REFUSE, error.message, error.mend)
        if plan.refuses:
            first, *_ = blockers(plan.findings, forced=False)
            return Decision(Action.REFUSE, plan.reason, first.mend)
        target = policy.target or "an image beside the present one"
        words = f"contents of {policy.source} on {target} would take the place of its storage"
        return Decision(Action.RESTORE, f"{words}, {policy.after_seconds:g} s after it is lost")

    def _seen(self, volume: Volume, policy: Policy, lost_seconds: float) -> LossSeen:
        if not volume.is_adopted:
            return self._gated.seen(volume, policy, lost_seconds)
        cause = self._host.report(volume).lost_by
        source = _source_seen(policy) if policy.source else None
        return LossSeen(volume.name, False, cause, lost_seconds, source=source)

    # Doing it; the caller has the turn

    def _settled(self, name: str, reporter: Reporter) -> Receipt | None:
        """Finish or undo what somebody dead left; the receipt of an attempt that was done so."""
        standing = self._host.catalog.policies.of(name)
        attempt = standing.attempt
        if attempt is not None and attempt.state is not AttemptState.RUNNING:
            attempt = None
        receipt: Receipt | None = None
        try:
            self._restorations.settle(name, reporter)
            if not self._host.volume(name).is_adopted:
                receipt = self._gated.settled(name, attempt)
        except HoldfastError as error:
            attempt = attempt or self._begin(name, standing)
            self._end(name, attempt, AttemptState.FAILED, error.message, error.mend)
            raise
        if attempt is None:
            return None
        try:
            receipt = self._host.catalog.receipt(attempt.id)
        except NoSuchReceipt:
            self._end(name, attempt, AttemptState.DIED, "its process died before it did anything")
            return None
        if _is_done(receipt):
            self._end(name, attempt, AttemptState.DONE, receipt.outcome)
            return receipt
        self._end(name, attempt, AttemptState.DIED, receipt.outcome)
        return None

    def _restore(
        self, request: RespondRequest, standing: PolicyStanding, reporter: Reporter
    ) -> Receipt | None:
        name = request.volume
        attempt = self._begin(name, standing)
        try:
            if self._host.volume(name).is_adopted:
                receipt = self._perform(request, standing.policy, attempt, reporter)
            else:
                policy, words = standing.policy, _cut(request.evidence)
                receipt = self._gated.carry_out(name, policy, attempt, words, reporter)
        except HoldfastError as error:
            self._end(name, attempt, AttemptState.FAILED, error.message, error.mend)
            self._keep_receipt(request, attempt, f"refused: {error.message}")
            raise
        self._end(name, attempt, AttemptState.DONE, receipt.outcome)
        return receipt

    def _perform(
        self, request: RespondRequest, policy: Policy, attempt: Attempt, reporter: Reporter
    ) -> Receipt:
        """Of an adopted volume: its contents are replaced under its users."""
        found = self._assessed(request.volume, policy)
        words = request.evidence or found.facts.health.finding.found
        cause = f"{found.plan.cause}: {_cut(words)} (unattended, as its policy says)"
        receipt = perform(
            self._host.settings,
            self._host.catalog,
            found,
            reporter,
            identifier=attempt.id,
            cause=cause,
        )
        assert receipt is not None  # nobody is left to wait for another command
        return receipt

    def _refused(
        self, request: RespondRequest, standing: PolicyStanding, decision: Decision
    ) -> None:
        """What cannot be tried counts as an attempt: it is told, and tried again a few times."""
        attempt = self._begin(request.volume, standing)
        self._end(request.volume, attempt, AttemptState.FAILED, decision.reason, decision.mend)
        self._keep_receipt(request, attempt, f"refused: {decision.reason}")

    def _begin(self, name: str, standing: PolicyStanding) -> Attempt:
        number = standing.attempt.number + 1 if standing.attempt is not None else 1
        attempt = Attempt(uuid.uuid4().hex, number, time.time())
        self._host.catalog.policies.note(name, attempt)
        return attempt

    def _end(
        self, name: str, attempt: Attempt, state: AttemptState, words: str, mend: str = ""
    ) -> None:
        ended = replace(attempt, state=state, ended=time.time(), words=_cut(words), mend=_cut(mend))
        self._host.catalog.policies.note(name, ended)

    def _keep_receipt(self, request: RespondRequest, attempt: Attempt, outcome: str) -> None:
        """Of the first one that was refused; one that was undone has its own already."""
        if attempt.number > 1:
            return
        receipt = Receipt(
            id=attempt.id,
            volume=request.volume,
            strategy="refuse",
            cause=f"{_cut(request.evidence)} (unattended, as its policy says)",
            started=attempt.began,
            finished=time.time(),
            outcome=outcome,
        )
        if self._host.catalog.restorations.heading(request.volume) is None:
            self._host.catalog.restorations.end(attempt.id, receipt)

    def _assessed(self, name: str, policy: Policy) -> Assessment:
        restoring = RestoreRequest(
            name,
            policy.source,
            policy.target if policy.source else "",
            deadline_seconds=policy.deadline_seconds,
        )
        asked: AssessRequest = restoring.as_assess_request()
        return self._restorations.assess(replace(asked, pause_budget_seconds=policy.pause_seconds))


def would_refuse(
    report: VolumeReport, standing: PolicyStanding, copies: Sequence[VolumeCopy] = ()
) -> Decision | None:
    """Why contents would not be taken if its storage were lost now; None: they would, as far as can
    be seen without an assessment, or what is in the way passes by itself.

    `copies`: of this host. Blocks some seconds where their storage hangs.
    """
    policy = standing.policy
    has_gate = report.kind == GATED
    if has_gate:
        mine = [each for each in copies if each.volume == report.name]
        source, cause = source_seen(report, mine, policy.source), Cause.LOST
    else:
        source, cause = _source_seen(policy), policy.causes[0]
        if source.age_seconds is not None and source.age_seconds < BEING_WRITTEN_SECONDS:
            return None
    cause = report.lost_by or cause
    seen = LossSeen(report.name, has_gate, cause, policy.after_seconds, source=source)
    decision = decide(seen, standing, time.time())
    return decision if decision.tells else None


def _is_done(receipt: Receipt) -> bool:
    return receipt.outcome.startswith("done")


def _cut(words: str) -> str:
    return words if len(words) <= _MOST_WORDS else f"{words[:_MOST_WORDS]} …"


def _checked(policy: Policy) -> Policy:
    """The same with its URLs normalised. Raises InvalidUrl, InvalidOption."""
    source, target = policy.source, policy.target
    if policy.on_worse is not OnWorse.TELL:
        raise InvalidOption(
            "without a gate it has no legs that could be replaced",
            "Leave out --on-worse (--on-worse tell where it was set before).",
        )
    if policy.on_loss is OnLoss.RESTORE and not source:
        raise InvalidOption(
            "nothing says what is to be restored", "Add --from URL, e.g. --from file:/copy.img."
        )
    for option, url in (("--from", source), ("--to", target)):
        if url and not is_container_url(url):
            raise InvalidOption(
                f"{option} {url} is no container, and nobody is there to look into a directory",
                "Name a container, e.g. file:/copies/x.img or block:/dev/name.",
            )
    return replace(
        policy,
        source=str(parse_container_url(source)) if source else "",
        target=str(parse_container_url(target)) if target else "",
    )


def _source_seen(policy: Policy) -> SourceSeen:
    """What is there now; blocks some seconds where its storage hangs."""
    look = partial(_age_of, policy.source)
    try:
        age_seconds = in_expendable_child(look, _ANSWER_SECONDS, policy.source)
        if not origin_of_contents(policy.source).filesystem:
            return SourceSeen(trouble="no file system is in it")
        return SourceSeen(age_seconds)
    except HoldfastError as error:
        return SourceSeen(trouble=error.message)
    except OSError as error:
        return SourceSeen(trouble=os.strerror(error.errno or 0))


def _age_of(url: str) -> float | None:
    """Seconds since an image was changed; None: a device, which does not say.

    Raises Untrusted for what is not root's alone, OSError.
    """
    image = image_behind(url)
    if not image:
        os.close(os.open(open_container(url).device_path, os.O_RDONLY | os.O_CLOEXEC))
        return None
    descriptor = open_believed(Path(image), os.O_RDONLY)
    try:
        return time.time() - os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
