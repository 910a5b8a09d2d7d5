"""What one can ask of Holdfast about a copy and a leg that change places, in use.

Reached through `Holdfast.histories.switches`. Owns the order: both are noted as what they are to
be, the copy is brought on and becomes a further leg, and when that is in sync the other one leaves
and is a copy, with its position. So the volume has a leg that serves at every moment, and whoever
was killed leaves both where they were, or two legs, of which `settle` lets one go. Must never
remove an image.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from holdfast.containers import open_container
from holdfast.containers.trust import open_believed
from holdfast.copies import tasks
from holdfast.copies.records import FollowingRecords
from holdfast.copies.work import carried_out
from holdfast.errors import (
    Blocked,
    ContainerFailed,
    HoldfastError,
    InUse,
    InvalidOption,
    InvalidUrl,
    Unreachable,
    VolumeHeld,
)
from holdfast.gate.members.configuration import GateConfiguration
from holdfast.gate.outside.client import GateClient
from holdfast.model.copy import SwitchPlan, VolumeCopy
from holdfast.model.receipt import Receipt
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.volume import LegState
from holdfast.service.copies import Copies, kept_end
from holdfast.service.host import Host
from holdfast.service.legs import as_reported
from holdfast.service.promotions import Promotions, Steps
from holdfast.service.rights import need_root
from holdfast.system.children.expendable import in_expendable_child
from holdfast.volumes.report import legs_are_lost

_log = logging.getLogger(__name__)

STRATEGY = "switch"

_NEAR_BYTES = 4 << 20
"""Of history, that the copy may lack when it is given to the gate: the ring keeps several times
that."""
_MOST_ROUNDS = 3
"""Of catching up at the pace of a guest; what is lacking then is applied as fast as can be."""
HELD_SECONDS = 5.0
"""The gate lets requests go on by itself then."""
_POLL_SECONDS = 0.05
_LOCKED_SECONDS = 15.0
"""For the gate to close a leg that has left: as soon as no thread can be inside it."""

Result = TypeVar("Result")


class Switches:
    """Copies and legs that change places, on this host."""

    def __init__(self, host: Host, copies: Copies, promotions: Promotions) -> None:
        self._host = host
        self._copies = copies
        self._promotions = promotions

    def plan(self, name: str, which: str = "", leg: str = "") -> SwitchPlan:
        """What `switch` would do, after its checks. Changes nothing.

        `which`: id or URL of a copy, `leg`: number, id or URL; empty: the only one. Raises
        Blocked, NoHistory, NoSuchCopy, InvalidOption, InvalidUrl, VolumeHeld, Untrusted.
        """
        need_root()
        gate, _, _ = self._copies.kept(name)
        if any(each.leaves_for or each.becomes_leg for each in self._copies.records.of(name)):
            raise Blocked(  # to settle it and go on might take back what was asked for
                f"a copy of {name} and a leg were to change places, and whoever did it died",
                "holdfast recover ends that, one way or the other; then ask again.",
            )
        shown = gate.show()
        if shown["held"] or legs_are_lost(shown):
            raise VolumeHeld(
                f"{name} is held: {shown['hold_reason']}", f"See holdfast volume show {name}."
            )
        copy = self._copies.complete(name, which) if which else self._only_copy(name)
        leaving = _leg_of(shown["legs"], leg)
        if not open_container(leaving["url"]).image_path:
            raise InvalidUrl(
                f"leg {leaving['number']} of {name} is {leaving['url']}: a copy is an image file",
                "holdfast leg replace moves it to one first.",
            )
        if any(each["url"] == copy.url for each in shown["legs"]):
            raise InvalidOption(f"{copy.url} is a leg of {name}", "Name another copy.")
        in_expendable_child(partial(_inode_of, leaving["url"]), doing=leaving["url"])
        behind = int(shown["journal"]["position"]) - copy.position
        return SwitchPlan(copy, int(leaving["number"]), str(leaving["url"]), max(0, behind))

    def switch(
        self, name: str, which: str = "", leg: str = "", reporter: Reporter = SILENT
    ) -> Receipt:
        """Let a copy and a leg of a volume in use change places; durable on return.

        Takes as long as applying the history that the copy lacks; requests are withheld for as long
        as those take that are under way. Killed anywhere, `recover`, or the next command on the
        copies, ends it, one way or the other. Raises what `plan` does, Unreachable,
        ContainerFailed: both are what they were then.
        """
        began, steps = time.time(), Steps()
        with steps.step("catch up", "what the copy lacked"):
            plan = self.plan(name, which, leg)
            if plan.history_bytes > _NEAR_BYTES:  # with other commands on the volume beside
                self._copies.advance(name, plan.copy.id, reporter)
        with self._promotions.turn(name, f"let a copy of {name} and a leg change places"):
            self._copies.clean(name)
            plan = self.plan(name, plan.copy.id, leg)
            copy = self._caught_up(plan.copy, reporter)
            before = self._host.gate(name).show()
            leaving = self._noted(copy, plan)
            try:
                with steps.step("become a leg", copy.url):
                    copy = self._joined(copy, reporter)
                with steps.step("come into sync", copy.url):
                    self._in_sync(copy, reporter)
                reporter.say("let the other one go")
                with steps.step("become a copy", plan.leg_url):
                    made = self._left(leaving, copy)
            except BaseException:
                self._settle_quietly(leaving)
                raise
            return self._receipt(plan, made, steps, began, before)

    def settle(self, record: VolumeCopy) -> str:
        """Finish what somebody dead began, or undo it; in words. The caller has the turn on copies.

        `record`: of either of both. Raises HoldfastError where that cannot be done now.
        """
        known = self._copies.records.of(record.volume)
        leaving = next((each for each in known if _is_of(each, record)), None)
        joined_url = leaving.leaves_for if leaving is not None else record.url
        joins = (each for each in known if each.becomes_leg and each.url == joined_url)
        joining = next(joins, None)
        if leaving is None:
            return self._promotions.settle(record) if joining is not None else "nothing was left"
        configuration = self._of_its_volume(leaving)
        if configuration is None:
            self._copies.records.remove(leaving)
            return f"the volume {leaving.volume} is no more"
        legs = {each.url: each for each in configuration.legs}
        joined = legs.get(leaving.leaves_for)
        if leaving.url not in legs or (joined is not None and joined.state is LegState.IN_SYNC):
            self._left(leaving, joining)
            return f"{leaving.url} and {leaving.leaves_for} have changed places"
        if joined is not None:
            self._host.gate(leaving.volume).remove_leg(str(joined.number))
            self._note(leaving.volume)
        if joining is not None:
            _unlocked(partial(self._promotions.settle, joining))
        self._copies.records.remove(leaving)
        return f"{leaving.url} stays a leg of {leaving.volume}, {leaving.leaves_for} a copy"

    # The caller has the turn

    def _settle_quietly(self, leaving: VolumeCopy) -> None:
        try:
            self.settle(leaving)
        except (HoldfastError, OSError) as error:
            about = {"volume": leaving.volume}
            words = "%s is left as it is; holdfast recover sees to it: %s"
            _log.warning(words, leaving.url, error, extra=about)

    def _only_copy(self, name: str) -> VolumeCopy:
        usable = self._copies.usable(name)
        if len(usable) == 1:
            return usable[0]
        words = "none that is there and as it was left" if not usable else f"{len(usable)} copies"
        raise InvalidOption(f"{name} has {words}", f"holdfast copy list {name}; name one.")

    def _caught_up(self, copy: VolumeCopy, reporter: Reporter) -> VolumeCopy:
        """Brought on until it lacks next to nothing; it stays a copy."""
        for _ in range(_MOST_ROUNDS):
            gate, configuration, place = self._copies.kept(copy.volume)
            target = kept_end(gate)
            if target - copy.position <= _NEAR_BYTES and not _is_mixed(copy):
                return copy
            size_bytes = max(copy.size_bytes, configuration.size_bytes)
            copy = self._copies.bring(copy, place, (target, size_bytes), reporter)
        return copy

    def _noted(self, copy: VolumeCopy, plan: SwitchPlan) -> VolumeCopy:
        """The record of the leg that is to leave; from here on it is settled."""
        gate, configuration, _ = self._copies.kept(copy.volume)
        inode = in_expendable_child(partial(_inode_of, plan.leg_url), doing=plan.leg_url)
        leaving = VolumeCopy(
            id=uuid.uuid4().hex,
            volume=copy.volume,
            volume_id=configuration.volume_id,
            url=plan.leg_url,
            size_bytes=configuration.size_bytes,
            position=_recorded(gate),
            made=time.time(),
            inode=inode,
            leaves_for=copy.url,
        )
        self._copies.records.save(leaving)
        return leaving

    def _joined(self, copy: VolumeCopy, reporter: Reporter) -> VolumeCopy:
        """It is a leg, to be filled with what was written since; durable.

        The ring keeps what the legs have not flushed. Where it loses what comes after the copy as
        fast as that is brought on, requests wait for the rest, HELD_SECONDS at most.
        """
        try:
            return self._given(copy, reporter)
        except Unreachable:
            known = [each for each in self._copies.records.of(copy.volume) if each.id == copy.id]
            if not known[0].becomes_leg:
                raise
        gate = self._host.gate(copy.volume)
        gate.hold(HELD_SECONDS, "a copy becomes a leg")
        try:
            return self._given(known[0], reporter)
        except Unreachable as error:
            raise Unreachable(
                f"{copy.url} cannot be brought on within {HELD_SECONDS:g} s: {error.message}",
                "Try again when less is written, or bring it on first: holdfast copy advance.",
            ) from error
        finally:
            with suppress(HoldfastError):
                gate.release()

    def _given(self, copy: VolumeCopy, reporter: Reporter) -> VolumeCopy:
        gate, configuration, place = self._copies.kept(copy.volume)
        copy = self._promotions.bring_on(copy, place, kept_end(gate), configuration, reporter)
        reporter.say("give it to the gate")
        gate.join_copy(copy.url, copy.position)
        self._note(copy.volume)
        return copy

    def _in_sync(self, copy: VolumeCopy, reporter: Reporter) -> None:
        """Wait until it is. Raises ContainerFailed when it fails."""
        reporter.say("wait until it is in sync")
        while True:
            shown = self._host.gate(copy.volume).show()
            leg = next((each for each in shown["legs"] if each["url"] == copy.url), None)
            if leg is None or leg["state"] not in (LegState.IN_SYNC, LegState.RESYNCING):
                why = f": {leg['reason']}" if leg is not None and leg["reason"] else ""
                raise ContainerFailed(f"{copy.url} failed as a leg{why}", "Look at its storage.")
            if leg["state"] == LegState.IN_SYNC:
                return
            reporter.percent(float(leg["resync_percent"] or 0.0))
            time.sleep(_POLL_SECONDS)

    def _left(self, leaving: VolumeCopy, joined: VolumeCopy | None) -> VolumeCopy:
        """The leg that the volume can do without is a copy."""
        name = leaving.volume
        gate = self._host.gate(name)
        number = self._serves(leaving)
        if number:
            leaving = replace(leaving, position=max(leaving.position, _recorded(gate)))
            self._copies.records.save(leaving)
            gate.remove_leg(str(number))
        self._note(name)
        shown = gate.show()
        work = partial(tasks.take_back, leaving)
        written_ns = _unlocked(partial(carried_out, work, SILENT, leaving.url))
        made = replace(
            leaving,
            leaves_for="",
            good_from=int(shown["journal"]["position"]),  # nothing later is in it
            written_ns=written_ns,
            size_bytes=max(leaving.size_bytes, int(shown["size_bytes"])),
            made=time.time(),
        )
        following = FollowingRecords(self._host.settings)
        found = None if joined is None else following.find(joined.id)
        if found is not None:  # before the other one is forgotten with its copy
            following.save(replace(found, id=made.id, failures=0, words="", mend=""))
        self._copies.records.save(made)
        if joined is not None:
            following.forget(joined.id)
            self._copies.records.remove(joined)
        return made

    def _serves(self, leaving: VolumeCopy) -> int:
        """Its number as a leg; 0: it is none any more."""
        legs = self._host.gate(leaving.volume).show()["legs"]
        return next((int(each["number"]) for each in legs if each["url"] == leaving.url), 0)

    def _of_its_volume(self, leaving: VolumeCopy) -> GateConfiguration | None:
        """None: the volume is no more. Raises as `Promotions.configuration`."""
        name = leaving.volume
        if not self._host.knows(name) or self._host.volume(name).id != leaving.volume_id:
            return None
        return self._promotions.configuration(name)

    def _note(self, name: str) -> None:
        """Which legs it has now, in the catalog."""
        volume = self._host.volume(name)
        self._host.catalog.update(as_reported(volume, self._host.show(name)))

    def _receipt(
        self,
        plan: SwitchPlan,
        made: VolumeCopy,
        steps: Steps,
        began: float,
        before: dict[str, Any],
    ) -> Receipt:
        name = made.volume
        after = self._host.gate(name).show()
        number = next(each["number"] for each in after["legs"] if each["url"] == plan.copy.url)
        receipt = Receipt(
            id=uuid.uuid4().hex,
            volume=name,
            strategy=STRATEGY,
            cause="by an administrator",
            started=began,
            finished=time.time(),
            outcome=f"done: {plan.copy.url} is leg {number}, and {plan.leg_url} a copy",
            steps=steps.done,
            errors_returned=int(after["errors_returned"]) - int(before["errors_returned"]),
            details={"copy": made.id, "position": made.position, "good_from": made.good_from},
        )
        self._host.catalog.restorations.end(receipt.id, receipt)
        return receipt


def _leg_of(legs: list[dict[str, Any]], which: str) -> dict[str, Any]:
    """Raises InvalidOption."""
    named = [
        each
        for each in legs
        if not which
        or which in (str(each["number"]), each["id"], each["url"])
        or (len(which) > 3 and str(each["id"]).startswith(which))
    ]
    if len(named) != 1:
        words = f"{which!r} is none of them" if which else "say which one is to be a copy"
        raise InvalidOption(f"the volume has {len(legs)} legs: {words}", "--leg NUMBER names one.")
    (leg,) = named
    if leg["state"] != LegState.IN_SYNC:
        raise InvalidOption(
            f"leg {leg['number']} is {leg['state']}: it would be no copy of now",
            "holdfast volume show says why; bring it back first.",
        )
    return leg


def _is_mixed(copy: VolumeCopy) -> bool:
    """Whether a killed attempt has written to it what comes after its position."""
    return (copy.good_from or 0) > copy.position


def _is_of(leaving: VolumeCopy, record: VolumeCopy) -> bool:
    """Whether it is the leg that leaves, of the pair to which this record belongs."""
    if not leaving.leaves_for:
        return False
    return leaving.id == record.id or (record.becomes_leg and leaving.leaves_for == record.url)


def _recorded(gate: GateClient) -> int:
    """The position up to which every leg in sync is durable."""
    return int(gate.show()["journal"]["recorded"])


def _unlocked(work: Callable[[], Result]) -> Result:
    """Once the gate has closed a leg that has left. Raises InUse when it does not."""
    deadline = time.monotonic() + _LOCKED_SECONDS
    while True:
        try:
            return work()
        except InUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)


# In expendable children: these touch storage.


def _inode_of(url: str) -> int:
    """Of the image of a leg; it must be to be believed as that of a copy is. Raises Untrusted."""
    descriptor = open_believed(Path(open_container(url).image_path), os.O_RDONLY)
    try:
        return os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)
