"""What one can ask of Holdfast when every leg of a volume that is not in use is gone: a copy takes
their place, and the volume can be attached.

Reached through `Holdfast.histories.promotions_at_rest`. Order as in `Promotions`: the copy is noted
as one that may be a leg, brought on, made one; then its record goes. Nobody is left who knows what
was acknowledged: what cannot be proven from the history, and the ring of a gate that died in this
boot, is lost with `force` only, and the history has a gap then.
"""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from functools import partial
from pathlib import Path

from holdfast.copies import tasks
from holdfast.copies.replaying import Reach
from holdfast.copies.work import carried_out
from holdfast.errors import AtWork, HoldfastError, NoHistory, NoSource, NotLost
from holdfast.gate.log.history.layout import volume_in_history
from holdfast.gate.log.ring import FILE_NAME
from holdfast.gate.log.ring_at_rest import kept_records
from holdfast.gate.log.ring_layout import padded
from holdfast.gate.members.configuration import GateConfiguration, LegEntry
from holdfast.gate.members.leg import open_leg
from holdfast.gate.members.membership import FoundLeg, HostMemory, judge
from holdfast.gate.members.next_configuration import members_of
from holdfast.gate.members.standing_in import stand_in
from holdfast.gate.outside.launch import gate_is_running
from holdfast.gate.processes.remains import living_processes
from holdfast.model.copy import PromotionPlan, VolumeCopy
from holdfast.model.history import HistoryPlace
from holdfast.model.receipt import Receipt
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.restoration import RestorationStage
from holdfast.service.histories import place_of
from holdfast.service.host import Host
from holdfast.service.promotions import STRATEGY, Promotions, Steps
from holdfast.service.rights import need_root
from holdfast.system.children.expendable import in_expendable_child

_LEG_SECONDS = 5.0
"""In which a leg answers that is there."""

_BEYOND_BYTES = 64
"""A position behind everything: what is written from there on is behind a gap."""


class PromotionsAtRest:
    """Copies of volumes that are not in use, on this host."""

    def __init__(self, host: Host, promotions: Promotions) -> None:
        self._host = host
        self._promotions = promotions
        self._copies = promotions.copies

    def applies(self, name: str) -> bool:
        """Whether the volume has a gate, and no process of it lives. Raises NoSuchVolume,
        HasNoGate."""
        need_root()
        self._host.volume(name)
        self._host.refuse_adopted(name)
        run_directory = self._host.settings.gate_run_directory(name)
        return not gate_is_running(run_directory) and not living_processes(run_directory)

    def advice(self, name: str) -> str:
        """What can be done where no leg is there, in words; empty: nothing. Touches no storage."""
        with suppress(HoldfastError):
            volume_id = self._host.volume(name).id
            copies = [
                each
                for each in self._copies.records.of(name)
                if each.volume_id == volume_id and (each.is_complete or each.becomes_leg)
            ]
            if copies and place_of(self._promotions.configuration(name)) is not None:
                return (
                    "If none will come back: holdfast copy promote"
                    f" {name} --dry-run says how far its copy and its history lead."
                )
        return ""

    def plan(self, name: str, which: str = "", reporter: Reporter = SILENT) -> PromotionPlan:
        """What `promote` would do, after its checks. Changes nothing; reads the history.

        Raises NotLost, NoHistory, NoSuchCopy, Unreachable, HistoryFailed.
        """
        configuration, place = self._kept(name)
        return self._plan(name, which, configuration, place, reporter)[0]

    def promote(
        self, name: str, which: str = "", reporter: Reporter = SILENT, *, force: bool = False
    ) -> Receipt:
        """Let a copy take the place of all legs; `attach` goes on from there. Durable on return.

        Killed anywhere, the same call finishes. Raises NoSource where it cannot be proven that
        nothing is missing, unless `force` accepts that; and as `plan`.
        """
        with self._promotions.turn(name, f"let a copy of {name} take the place of its legs"):
            return self._carry_out(name, which, reporter, force=force)

    # The caller has the turn

    def _carry_out(self, name: str, which: str, reporter: Reporter, *, force: bool) -> Receipt:
        began, steps = time.time(), Steps()
        self._settle(name)
        configuration, place = self._kept(name)
        plan, behind_all = self._plan(name, which, configuration, place, reporter)
        if plan.lacking and not force:
            raise NoSource(
                f"{name} cannot be proven to be whole at position {plan.position}: {plan.lacking}",
                "Bring a leg back, or accept that what may be missing is lost: --force.",
            )
        copy = plan.copy
        with steps.step("bring on", f"{plan.history_bytes} bytes of history to {plan.position}"):
            try:
                copy = self._promotions.bring_on(
                    copy, place, plan.position, configuration, reporter
                )
            except HoldfastError:
                with suppress(HoldfastError):
                    self._take_back(plan)
                raise
        position = behind_all if plan.lacking else plan.position
        reporter.say("make it the leg")
        with steps.step("become a leg", copy.url):
            directory = self._host.settings.gate_state_directory(name)
            number = in_expendable_child(
                partial(stand_in, directory, copy.url, position), doing=copy.url
            )
            self._promotions.became_leg(copy)
        receipt = Receipt(
            id=uuid.uuid4().hex,
            volume=name,
            strategy=STRATEGY,
            cause="every leg is lost",
            started=began,
            finished=time.time(),
            outcome=f"done: {copy.url} is leg {number}; it is no copy any more",
            steps=steps.done,
            bytes_replayed=plan.history_bytes,
            details={
                "copy": copy.id,
                "url": copy.url,
                "position": plan.position,
                "lost": list(plan.lost),
                "lacking": plan.lacking,
            },
        )
        self._host.catalog.restorations.end(receipt.id, receipt)
        return receipt

    def _settle(self, name: str) -> None:
        """What became a leg is no copy any more, though whoever made it one has died."""
        configuration = self._promotions.configuration(name)
        for copy in self._copies.records.of(name):
            if copy.becomes_leg and any(leg.url == copy.url for leg in configuration.legs):
                self._promotions.became_leg(copy)

    def _take_back(self, plan: PromotionPlan) -> None:
        """It is a copy again, for what comes after: no gate has written to it. One that a gate may
        have written to before is left to the next one, which knows more."""
        copy = plan.copy
        if not copy.becomes_leg:
            self._promotions.take_back(copy, max(copy.good_from or 0, plan.position))

    def _kept(self, name: str) -> tuple[GateConfiguration, HistoryPlace]:
        """What the volume's gate has left, and where its history is. Raises NotLost, AtWork,
        NoHistory, StorageFailed."""
        if not self.applies(name):
            raise NotLost(f"the gate of {name} runs", f"See holdfast volume show {name}.")
        found = self._host.catalog.restorations.of(name)
        if found is not None and found.stage is not RestorationStage.WAITING:
            raise AtWork(f"a restoration of {name} was not ended", "holdfast recover")
        configuration = self._promotions.configuration(name)
        place = place_of(configuration)
        if place is None:
            raise NoHistory(
                f"no history of {name} was kept", f"holdfast volume attach {name} needs a leg."
            )
        return configuration, place

    def _plan(
        self,
        name: str,
        which: str,
        configuration: GateConfiguration,
        place: HistoryPlace,
        reporter: Reporter,
    ) -> tuple[PromotionPlan, int]:
        """And a position behind everything that was ever written."""
        reporter.say("look for its legs")
        ring = self._host.settings.gate_run_directory(name) / FILE_NAME
        kept = kept_records(ring, configuration.volume_id)
        memory = HostMemory(
            volume_id=configuration.volume_id,
            epoch=configuration.epoch or None,
            members=members_of(configuration),
            recorded_position=configuration.recorded_position,
            journal=configuration.journal,
            journal_begin=kept.begin if kept else None,
            journal_end=kept.end if kept else None,
        )
        judgement = judge(memory, [_look_at(configuration, leg) for leg in configuration.legs])
        if judgement.may_start:
            raise NotLost(
                f"a leg of {name} is there: {judgement.start_from[0].url}",
                f"holdfast volume attach {name}",
            )
        copies = self._promotions.candidates(name, which)
        reporter.say("look at the history")
        path, volume = Path(place.directory), volume_in_history(configuration.volume_id)
        positions = [(each.position, _good_from(each)) for each in copies]
        look = partial(tasks.reach_of, path, volume, positions)
        reach = carried_out(look, reporter, place.directory, is_waited_for=True)
        position, lacking = reach.position, reach.lacking
        if kept is not None:
            position, lacking = _with_ring(reach, kept.begin, kept.carried)
        elif reach.end < configuration.recorded_position:
            lacking = lacking or "its legs had more than the history has"
        copy = next(each for each in copies if each.position == reach.base)
        lost = tuple(leg.url for leg in configuration.legs)
        size_bytes, written = position - copy.position, reach.newest_ns / 1e9 or None
        ends = (reach.end, configuration.recorded_position, kept.end if kept else 0)
        plan = PromotionPlan(copy, position, size_bytes, lost, lacking, written)
        return plan, padded(max(ends)) + _BEYOND_BYTES


def _good_from(copy: VolumeCopy) -> int:
    return copy.good_from or copy.position


def _with_ring(reach: Reach, begin: int, carried: int) -> tuple[int, str]:
    """To which position a copy is brought when the ring of a dead gate has the rest, and what may
    be missing. Pure."""
    if carried < begin:
        return reach.position, reach.lacking or "the memory of its gate does not reach back to that"
    if reach.position < carried:
        return reach.position, reach.lacking or "the history has less than it had"
    return carried, ""


def _look_at(configuration: GateConfiguration, entry: LegEntry) -> FoundLeg:
    """What a leg says of itself; where it does not answer, it is not there. Raises NotLost for one
    that somebody uses."""

    def look() -> FoundLeg:
        leg, superblock = open_leg(
            entry, configuration.size_bytes, sector_bytes=configuration.sector_bytes
        )
        leg.discard()
        return FoundLeg(entry.url, superblock)

    try:
        return in_expendable_child(look, _LEG_SECONDS, entry.url)
    except BlockingIOError as error:
        raise NotLost(
            f"{entry.url} is there, and another process uses it", "End that process."
        ) from error
    except HoldfastError:
        return FoundLeg(entry.url, None)
