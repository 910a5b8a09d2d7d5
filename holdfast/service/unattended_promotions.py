"""What a policy may do for a gated volume that has lost every leg: let a copy take their place.

Used by `Policies`. Changes nothing but by `Promotions`.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import replace

from holdfast.errors import HoldfastError, InvalidOption
from holdfast.model.copy import VolumeCopy
from holdfast.model.plan import Cause
from holdfast.model.policy import Attempt, OnLoss, Policy, PolicyStanding
from holdfast.model.receipt import Receipt
from holdfast.model.reporter import Reporter
from holdfast.model.size import format_size
from holdfast.model.volume import Volume
from holdfast.policy.promotable import source_seen
from holdfast.policy.unattended import Action, Decision, LossSeen, SourceSeen, decide
from holdfast.service.histories import Histories
from holdfast.service.host import Host
from holdfast.service.promotions import STRATEGY


class UnattendedPromotions:
    """Of this host's gated volumes."""

    def __init__(self, host: Host, histories: Histories) -> None:
        self._host = host
        self._promotions = histories.promotions
        self._copies = histories.copies

    def turn(self, name: str, doing: str) -> AbstractContextManager[None]:
        """As `Promotions.turn`."""
        return self._promotions.turn(name, doing)

    def checked(self, name: str, policy: Policy) -> Policy:
        """The same with the copy that it names by its URL. Raises InvalidOption, NoSuchCopy."""
        if policy.target:
            raise InvalidOption(
                f"{name} has a gate: a copy takes the place of its legs where it lies",
                'Leave out --to (--to "" where it was set before).',
            )
        if policy.on_loss is not OnLoss.RESTORE:
            return policy
        hold_seconds = self._hold_seconds(name)
        if policy.after_seconds >= hold_seconds:
            raise InvalidOption(
                f"the gate of {name} answers with errors {hold_seconds:g} s after its last leg is"
                f" lost, and its policy would wait {policy.after_seconds:g} s",
                "Use --after with less.",
            )
        source = self._copies.find(name, policy.source).url if policy.source else ""
        return replace(policy, source=source)

    def seen(self, volume: Volume, policy: Policy, lost_seconds: float) -> LossSeen:
        """What there is now; blocks some seconds where the storage of copies hangs."""
        report = self._host.report(volume)
        source: SourceSeen | None = None
        if policy.on_loss is OnLoss.RESTORE:
            try:
                there = self._copies.usable(volume.name, or_becoming_legs=True)
                source = source_seen(report, there, policy.source)
            except HoldfastError as error:
                source = SourceSeen(trouble=error.message, mend=error.mend)
        return LossSeen(volume.name, True, report.lost_by, lost_seconds, source=source)

    def outlook(self, volume: Volume, standing: PolicyStanding) -> Decision:
        """What would be done now if every leg had been lost for long enough."""
        policy, name = standing.policy, volume.name
        seen = self.seen(volume, policy, policy.after_seconds)
        decision = decide(replace(seen, cause=seen.cause or Cause.LOST), standing, time.time())
        if decision.action is not Action.RESTORE:
            return decision
        try:
            plan = self._promotions.plan(name, policy.source, though_legs_serve=True)
        except HoldfastError as error:
            return Decision(Action.REFUSE, error.message, error.mend)
        words = (
            f"its copy {plan.copy.url} would take the place of its legs, {policy.after_seconds:g} s"
            f" after the last one is lost: {_applied(plan.history_bytes)}"
        )
        hold_seconds = self._hold_seconds(name)
        if policy.after_seconds >= hold_seconds:  # it was changed since
            words += f"; but its gate answers with errors {hold_seconds:g} s after that"
            return Decision(Action.RESTORE, words, f"holdfast policy set {name} --after TIME")
        return Decision(Action.RESTORE, words)

    def settled(self, name: str, attempt: Attempt | None) -> Receipt | None:
        """Finish what somebody dead began; the receipt of that attempt if a copy is a leg now. The
        caller has the turn."""
        before = {each.id: each for each in self._copies.records.of(name) if each.becomes_leg}
        self._copies.clean(name)
        became = before.keys() - {each.id for each in self._copies.records.of(name)}
        if attempt is None or not became:
            return None
        receipt = _afterwards(name, before[became.pop()], attempt)
        self._host.catalog.restorations.end(receipt.id, receipt)
        return receipt

    def carry_out(
        self, name: str, policy: Policy, attempt: Attempt, evidence: str, reporter: Reporter
    ) -> Receipt:
        """As `Promotions.promote`, with that attempt's id. The caller has the turn."""
        cause = f"{Cause.LOST}: {evidence} (unattended, as its policy says)"
        promotions = self._promotions
        return promotions.carry_out(
            name, policy.source, reporter, identifier=attempt.id, cause=cause
        )

    def _hold_seconds(self, name: str) -> float:
        return self._promotions.configuration(name).hold_timeout_seconds


def _applied(history_bytes: int) -> str:
    if not history_bytes:
        return "no history is to be applied"
    return f"{format_size(history_bytes)} of history are applied first"


def _afterwards(name: str, copy: VolumeCopy, attempt: Attempt) -> Receipt:
    """Of an attempt whose process died when the copy was a leg already."""
    return Receipt(
        id=attempt.id,
        volume=name,
        strategy=STRATEGY,
        cause=f"{Cause.LOST}: (unattended, as its policy says)",
        started=attempt.began,
        finished=time.time(),
        outcome=f"done: {copy.url} is a leg; whoever did it died before it said so",
        details={"copy": copy.id, "url": copy.url, "position": copy.position},
    )
