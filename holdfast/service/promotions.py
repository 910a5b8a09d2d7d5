"""What one can ask of Holdfast when every leg of a gated volume is lost: a copy takes their place.

Reached through `Holdfast.histories.promotions`. Owns the order: the copy is noted as one that may
be a leg before anything else, then brought on, then given to the gate, which decides; its record
goes when it is a leg. So one that was killed anywhere is finished, or is a copy again
(`settle`), by whoever comes next. Must never remove an image that may be a leg.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.copies import images, tasks
from holdfast.copies.records import FollowingRecords
from holdfast.copies.work import carried_out
from holdfast.errors import GateGone, HoldfastError, NoSuchCopy, NotLost, Unreachable
from holdfast.gate.log.history.layout import volume_in_history
from holdfast.gate.members.configuration import GateConfiguration, load_configuration
from holdfast.gate.outside.client import GateClient
from holdfast.gate.outside.launch import gate_is_running
from holdfast.gate.processes.remains import living_processes
from holdfast.model.copy import PromotionPlan, VolumeCopy
from holdfast.model.history import HistoryPlace
from holdfast.model.receipt import Receipt, ReceiptStep
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.volume import LegState
from holdfast.service.copies import Copies
from holdfast.service.filled_clones import FilledClones
from holdfast.service.host import Host
from holdfast.service.legs import as_reported
from holdfast.service.rights import need_root
from holdfast.system.children.expendable import in_expendable_child
from holdfast.volumes.report import legs_are_lost

STRATEGY = "promote"

_KEPT_SECONDS = 5.0
"""For the history to have what the ring does not keep any more: it is behind by milliseconds, or it
fails, and everybody waits meanwhile."""
_POLL_SECONDS = 0.02


class Promotions:
    """Copies that become legs, on this host."""

    def __init__(self, host: Host, copies: Copies, filled: FilledClones) -> None:
        self._host = host
        self.copies = copies
        self._filled_clones = filled

    @contextmanager
    def turn(self, name: str, doing: str) -> Iterator[None]:
        """Be the only command on a volume and on its copies. Raises AtWork, StateFailed."""
        with self.copies.turn(name), self._host.turn(name, doing):
            yield

    def plan(
        self,
        name: str,
        which: str = "",
        reporter: Reporter = SILENT,
        *,
        though_legs_serve: bool = False,
    ) -> PromotionPlan:
        """What `promote` would do, after its checks. Changes nothing; reads the history.

        `which`: id or URL of a copy; empty: the newest from which the history leads on. Raises
        NotLost, NoHistory, NoSuchCopy, Unreachable, HistoryFailed, Untrusted.
        """
        need_root()
        gate, configuration, place = self.copies.kept(name)
        if not though_legs_serve:
            self._check_lost(name, gate.show())
        return self._plan(name, which, gate, configuration, place, reporter)

    def promote(self, name: str, which: str = "", reporter: Reporter = SILENT) -> Receipt:
        """Let a copy take the place of all legs of a volume in use, and its requests go on.

        Durable on return; takes as long as applying the history since the copy was brought on last.
        Killed anywhere, the same call finishes. Raises NotLost while a leg serves, and as `plan`.
        """
        with self.turn(name, f"let a copy of {name} take the place of its legs"):
            return self.carry_out(name, which, reporter)

    def carry_out(
        self,
        name: str,
        which: str,
        reporter: Reporter = SILENT,
        *,
        identifier: str = "",
        cause: str = "every leg is lost",
    ) -> Receipt:
        """As `promote`, by a caller who has the turn; the receipt's id and cause."""
        began = time.time()
        self.copies.clean(name)
        gate, configuration, place = self.copies.kept(name)
        before = gate.show()
        self._check_lost(name, before)
        steps, failed = Steps(), set[str]()
        while True:
            plan = self._plan(name, which, gate, configuration, place, reporter, failed)
            try:
                copy = self._become_leg(plan, gate, configuration, place, steps, reporter)
                break
            except (NotLost, GateGone):
                raise
            except HoldfastError:
                failed.add(plan.copy.id)
                others = () if which else self.copies.usable(name, or_becoming_legs=True)
                if all(each.id in failed for each in others):
                    raise
        after = gate.show()
        leg = next(each for each in after["legs"] if each["url"] == copy.url)
        receipt = Receipt(
            id=identifier or uuid.uuid4().hex,
            volume=name,
            strategy=STRATEGY,
            cause=cause,
            started=began,
            finished=time.time(),
            outcome=f"done: {copy.url} is leg {leg['number']}; it is no copy any more",
            steps=steps.done,
            requests_held=int(before["in_flight"]),
            errors_returned=int(after["errors_returned"]) - int(before["errors_returned"]),
            longest_wait_ms=_waited_ms(before, configuration.hold_timeout_seconds),
            bytes_replayed=plan.history_bytes,
            details={
                "copy": copy.id,
                "url": copy.url,
                "position": plan.position,
                "journal_position": int(before["journal"]["position"]),
                "lost": list(plan.lost),
                "reason": str(before["hold_reason"]),
            },
        )
        self._host.catalog.restorations.end(receipt.id, receipt)
        return receipt

    def _become_leg(
        self,
        plan: PromotionPlan,
        gate: GateClient,
        configuration: GateConfiguration,
        place: HistoryPlace,
        steps: Steps,
        reporter: Reporter,
    ) -> VolumeCopy:
        """Have that copy take their place. Raises HoldfastError; it is a copy again then, or
        `settle` finds out."""
        copy = plan.copy
        with steps.step("bring on", f"{plan.history_bytes} bytes of history to {plan.position}"):
            copy = self.bring_on(copy, place, plan.position, configuration, reporter)
        reporter.say("give it to the gate")
        with steps.step("become a leg", copy.url):
            try:
                gate.promote(copy.url, plan.position)
            except HoldfastError as error:
                # One worker may have done it, and died before it said so; who is not answered at
                # all leaves it to whoever comes next.
                if isinstance(error, GateGone):
                    raise
                if not self.is_leg(copy):
                    with suppress(HoldfastError):
                        self.settle(copy)
                    raise
            else:
                self.became_leg(copy)
        return copy

    def settle(self, copy: VolumeCopy) -> str:
        """Finish what somebody dead began; in words. The caller has the turn on the copies.

        Where the gate has it as a leg, it is one; where a gate runs that has not, it is a copy
        again. Raises HoldfastError where nobody can tell now, and where its storage does not do it.
        """
        if self.is_leg(copy):
            return f"the copy {copy.url} of {copy.volume} became a leg"
        gate = self._host.gate(copy.volume)  # while none runs, nobody knows what that image lacks
        end = int(gate.show()["journal"]["position"])
        # Who waits for the volume waits for this, too: not for long where its storage hangs.
        in_expendable_child(partial(images.check_image, copy), doing=copy.url)
        self.take_back(copy, max(copy.good_from or 0, end))
        return f"{copy.url}, which was to become a leg of {copy.volume}, is a copy again"

    # The caller has the turn

    def is_leg(self, copy: VolumeCopy) -> bool:
        """Whether a copy that was to become a leg is one, or was of a volume that is no more: then
        it is forgotten. Does not touch it. Raises GateGone, StorageFailed."""
        configuration = self._configuration(copy)
        if configuration is None:
            self.copies.records.remove(copy)
            return True
        if any(leg.url == copy.url for leg in configuration.legs):
            self.became_leg(copy)
            return True
        return False

    def take_back(self, copy: VolumeCopy, good_from: int) -> None:
        """It is a copy again, for moments from there on. Raises HoldfastError where its storage
        does not do it."""
        work = partial(tasks.take_back, copy)
        written_ns = carried_out(work, SILENT, copy.url, is_waited_for=True)
        self.copies.records.save(
            replace(
                copy,
                becomes_leg=False,
                written_ns=written_ns,
                good_from=good_from,
                made=time.time(),
            )
        )

    def became_leg(self, copy: VolumeCopy) -> None:
        """It is no copy any more, and does not follow."""
        FollowingRecords(self._host.settings).forget(copy.id)
        volume = self._host.volume(copy.volume)
        self._host.catalog.update(as_reported(volume, self._host.show(copy.volume)))
        self.copies.records.remove(copy)

    def _check_lost(self, name: str, shown: dict[str, Any]) -> None:
        """Raise NotLost unless the gate has no leg left, and knows it. It looks again itself."""
        serving = [leg for leg in shown["legs"] if leg["state"] == LegState.IN_SYNC]
        if serving:
            raise NotLost(
                f"leg {serving[0]['number']} of {name} serves: {serving[0]['url']}",
                f"holdfast leg add {name} URL adds another one; holdfast clone shows a copy.",
            )
        if legs_are_lost(shown):
            return
        raise NotLost(
            f"{name} is not held for want of a leg: what is open of one still serves",
            f"See holdfast volume show {name}; holdfast leg add {name} URL takes what is there.",
        )

    def _plan(
        self,
        name: str,
        which: str,
        gate: GateClient,
        configuration: GateConfiguration,
        place: HistoryPlace,
        reporter: Reporter,
        failed: Collection[str] = (),
    ) -> PromotionPlan:
        """`failed`: ids of copies that are not to be taken."""
        copies = [each for each in self.candidates(name, which) if each.id not in failed]
        reporter.say("look at the history")
        target = _kept_end(gate)
        path, volume = Path(place.directory), volume_in_history(configuration.volume_id)
        positions = [each.position for each in copies]
        look = partial(tasks.find_way, path, volume, target, positions)
        way = carried_out(look, reporter, place.directory, is_waited_for=True)
        copy = next(each for each in copies if each.position == way.base)
        lost = tuple(leg.url for leg in configuration.legs)
        return PromotionPlan(copy, target, target - copy.position, lost)

    def candidates(self, name: str, which: str) -> list[VolumeCopy]:
        """The copies that may be taken. Raises NoSuchCopy, and what is wrong with the one named."""
        if which:
            copy = self.copies.find(name, which)
            copy = copy if copy.becomes_leg else self.copies.complete(name, which)
            in_expendable_child(partial(images.check_image, copy), doing=copy.url)
            return [copy]
        if usable := self.copies.usable(name, or_becoming_legs=True):
            return usable
        raise NoSuchCopy(
            f"no copy of {name} is there and as it was left",
            f"holdfast copy list {name} says why; bring a leg back.",
        )

    def bring_on(
        self,
        copy: VolumeCopy,
        place: HistoryPlace,
        target: int,
        configuration: GateConfiguration,
        reporter: Reporter,
    ) -> VolumeCopy:
        """Noted before it is changed; all of it is durable on return. Raises InUse while a clone
        reads from it."""
        self._filled_clones.check_not_read(copy)
        size_bytes = max(copy.size_bytes, configuration.size_bytes)
        good_from = max(copy.good_from or 0, target)
        on_its_way = replace(copy, becomes_leg=True, good_from=good_from, written_ns=0)
        self.copies.records.save(on_its_way)
        path, volume = Path(place.directory), volume_in_history(copy.volume_id)
        reporter.say("apply the history")
        bring = partial(tasks.bring, on_its_way, path, volume, (target, size_bytes))
        try:
            carried_out(bring, reporter, copy.url, is_waited_for=True)
        except HoldfastError:
            with suppress(HoldfastError):  # else whoever comes next does; it hangs, perhaps
                self.settle(on_its_way)
            raise
        there = replace(on_its_way, position=target, size_bytes=size_bytes)
        self.copies.records.save(there)
        return there

    def _configuration(self, copy: VolumeCopy) -> GateConfiguration | None:
        """Of the volume that it is a copy of; None: that is no more. Raises as `configuration`."""
        name = copy.volume
        if not self._host.knows(name) or self._host.volume(name).id != copy.volume_id:
            return None
        return self.configuration(name)

    def configuration(self, name: str) -> GateConfiguration:
        """By the volume's gate, or by what that left. Raises GateGone while the gate lives and does
        not answer, StorageFailed."""
        settings = self._host.settings
        run_directory = settings.gate_run_directory(name)
        if gate_is_running(run_directory) or living_processes(run_directory):
            return self._host.gate(name).describe()
        return load_configuration(settings.gate_state_directory(name))


def _kept_end(gate: GateClient) -> int:
    """Up to where the history is durable, when the gate's ring has all that comes after it.

    Raises Unreachable where something is in neither.
    """
    deadline = time.monotonic() + _KEPT_SECONDS
    while True:
        journal = gate.show()["journal"]
        kept, end = int(journal.get("history_position", 0)), int(journal["position"])
        begin = end - int(journal["bytes"])
        if journal["state"] != "active":
            raise Unreachable(
                "the journal failed: what was written since is in nothing that is left",
                "Bring a leg back.",
            )
        if kept >= begin:
            return kept
        if time.monotonic() > deadline or journal.get("history_state") == "fails":
            why = journal.get("history_reason") or "it is slow"
            raise Unreachable(
                f"the history ends at position {kept} ({why}), and the gate's memory begins at"
                f" {begin}: what was written in between is in nothing that is left",
                "Bring a leg back.",
            )
        time.sleep(_POLL_SECONDS)


def _waited_ms(shown: dict[str, Any], hold_timeout_seconds: float) -> float:
    """For how long requests have waited now, who have since the hold began."""
    deadline = shown["hold_deadline"]
    since = deadline - hold_timeout_seconds if deadline else time.time()
    return round(max(0.0, time.time() - since) * 1000, 3)


class Steps:
    """Of a receipt, as they end."""

    def __init__(self) -> None:
        self._done: list[ReceiptStep] = []

    @property
    def done(self) -> tuple[ReceiptStep, ...]:
        """So far."""
        return tuple(self._done)

    @contextmanager
    def step(self, name: str, outcome: str) -> Iterator[None]:
        """One that does not raise."""
        began = time.time()
        yield
        self._done.append(ReceiptStep(name, began, time.time() - began, outcome))
