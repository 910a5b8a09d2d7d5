"""What one can ask of Holdfast about points of several volumes at one moment.

Reached through `Holdfast.histories.groups`. The requests of all of them are withheld at the same
time, for as long as it takes to ask each where its log ends: whatever was acknowledged in one of
them before something was begun in another is in the one when that is in the other. Invariants: no
volume is held for longer than HELD_SECONDS, also where we are killed, or one of them hangs; all
points are there, or none.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from holdfast.copies.records import BegunGroupRecords, PointRecords
from holdfast.errors import DeadlinePassed, HoldfastError, InvalidOption, VolumeHeld
from holdfast.gate.outside.client import GateClient
from holdfast.model.hook import NO_HOOKS, PointHooks
from holdfast.model.point import BegunGroup, RestorePoint
from holdfast.model.volume import check_name
from holdfast.service.copies import Copies, kept_end
from holdfast.service.hooks import Hooks
from holdfast.service.host import Host
from holdfast.service.points import Points, check_point_name
from holdfast.service.rights import need_root

HELD_SECONDS = 3.0
"""A volume whose requests take longer than that to end is slow: the others do not wait for it. The
gates let them go on by themselves then."""
MOST_VOLUMES = 32
"""Each is asked within the time of all."""


class PointGroups:
    """Points of several volumes of this host."""

    def __init__(self, host: Host, copies: Copies, points: Points) -> None:
        self._host = host
        self._copies = copies
        self._points = points
        self._records = PointRecords(host.settings)
        self._begun = BegunGroupRecords(host.settings)

    def create(
        self, names: Sequence[str], point: str, hooks: PointHooks = NO_HOOKS
    ) -> tuple[RestorePoint, ...]:
        """Name the present moment of several volumes in use; durable on return.

        The hooks are run once, around all, for the first one. Each file system is synced before,
        while nobody waits. Raises as `Points.create`, for any of them; VolumeHeld, DeadlinePassed
        where one does not come to rest: none has the point then.
        """
        need_root()
        check_point_name(point)
        named = [check_name(each) for each in names]
        if len(set(named)) != len(named) or not 1 < len(named) <= MOST_VOLUMES:
            raise InvalidOption(
                f"a group of points has 2 to {MOST_VOLUMES} volumes, each once",
                "holdfast point create NAME POINT --with OTHER",
            )
        with ExitStack() as turns:
            for each in sorted(named):  # in one order, so that nobody waits for another in a ring
                turns.enter_context(self._points.turn(each))
            for each in named:
                self._points.check_new(each, point)
            with Hooks(self._host).around(named[0], point, hooks):
                return self._made(named, point)

    def _made(self, names: Sequence[str], point: str) -> tuple[RestorePoint, ...]:
        found = {each: self._copies.kept(each)[:2] for each in names}
        gates = {each: gate for each, (gate, _) in found.items()}
        _check_free(gates)  # before it is synced: that would wait for the hold's end
        for each in names:
            self._points.sync(each)
        with _held(gates, point) as ends:
            made = time.time()
        for each, gate in gates.items():
            kept_end(gate, ends[each])
        group = BegunGroup(uuid.uuid4().hex, names[0], made, tuple(names))
        points = tuple(
            RestorePoint(
                id=uuid.uuid4().hex,
                volume=name,
                volume_id=configuration.volume_id,
                name=point,
                position=ends[name],
                made=made,
                group=group.id,
            )
            for name, (_, configuration) in found.items()
        )
        self._begun.save(group)
        try:
            for one in points:
                self._records.save(one)
        except BaseException:
            for one in points:
                self._records.remove(one)
            self._begun.remove(group)
            raise
        self._begun.remove(group)  # from here on they are there
        return points


@contextmanager
def _held(gates: dict[str, GateClient], point: str) -> Iterator[dict[str, int]]:
    """Where the log of each ends while no request is under way in any. Raises VolumeHeld,
    DeadlinePassed."""
    _check_free(gates)
    begun: list[GateClient] = []
    deadline = time.monotonic() + HELD_SECONDS
    try:
        for name, gate in gates.items():
            begun.append(gate)
            left = deadline - time.monotonic()
            if left <= 0:
                raise _slow(name)
            gate.hold(left, f"a moment for the point {point}")
            if time.monotonic() > deadline:
                raise _slow(name)
        ends = {name: _end(name, gate.show()) for name, gate in gates.items()}
        again = {name: _end(name, gate.show()) for name, gate in gates.items()}
        if again != ends or time.monotonic() > deadline:
            raise _slow(next((name for name in ends if ends[name] != again[name]), "one of them"))
    finally:
        for gate in begun:
            with suppress(HoldfastError):  # it goes on by itself
                gate.release()
    yield ends


def _check_free(gates: dict[str, GateClient]) -> None:
    """Raises VolumeHeld."""
    for name, gate in gates.items():
        if gate.show()["held"]:
            raise VolumeHeld(f"{name} is held", f"See holdfast volume show {name}; release it.")


def _end(name: str, shown: dict[str, Any]) -> int:
    """Raises DeadlinePassed where it is not held any more."""
    if not shown["held_on_purpose"]:
        raise _slow(name)
    return int(shown["journal"]["position"])


def _slow(name: str) -> DeadlinePassed:
    return DeadlinePassed(
        f"{name} did not come to rest within {HELD_SECONDS:g} s: no point was made, and all go on",
        "Try again when less is under way there; holdfast volume show says how long they take.",
    )
