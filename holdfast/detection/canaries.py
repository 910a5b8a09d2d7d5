"""Canaries: one child now and then in every volume, and what became of it.

Owns the pace: at most one child in a volume, whatever hangs; none while a command changes it, or
while its requests are withheld; and none is inside for more than a small share of the time. Never
waits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

from holdfast.detection.canary import CanaryAnswer, CanaryStep, CanaryTarget, ask
from holdfast.model.evidence import Evidence
from holdfast.model.size import format_size
from holdfast.policy.patience import HUNG_SECONDS, Waited, waited
from holdfast.policy.room import FreeRoom, Shortage, shortage
from holdfast.system.children.errand import Errand
from holdfast.system.processes.process_state import read_state
from holdfast.system.storage.block import finished_requests

SOURCE = "canary"

INTERVAL_SECONDS = 30.0

_SHARE = 300
"""A canary that took a second comes again after so many: whoever dismounts the volume meets it
rarely, and slow storage is not asked for more than it gives."""

_AT_ONCE = 4
"""Begun at one look: each costs 7 ms of processor time, nearly all of it for the fork."""

_MANY = 10
"""With more volumes than that each is asked so much less often: 0.25 % of a processor for all."""

_NOT_THE_VOLUME = (CanaryStep.ENTER, CanaryStep.IMAGES)
"""What hangs there is not its device: the path above it, the storage of a leg (of which its gate
says it)."""

_NEXT = dict(zip(CanaryStep, list(CanaryStep)[1:], strict=False))

_Rooms = dict[tuple[str, str], tuple[Shortage, FreeRoom]]
"""By what has the room (the volume: empty), and the directory."""


class Canaries:
    """All canaries of this host; for one thread."""

    def __init__(
        self,
        before: Sequence[Evidence] = (),
        interval_seconds: float = INTERVAL_SECONDS,
        hung_seconds: float = HUNG_SECONDS,
    ) -> None:
        """`before`: what the last daemon's have met, which holds until the first one is back.

        `interval_seconds`: between two in the same volume, where these are few. `hung_seconds`:
        for how long nothing may happen.
        """
        self._before = [each for each in before if each.source == SOURCE]
        self._interval_seconds = interval_seconds
        self._hung_seconds = hung_seconds
        self._canaries: dict[str, _Canary] = {}
        self._dying: list[tuple[str, Errand[CanaryAnswer]]] = []
        """Of volumes to which none may go now: there is no other one before they are gone."""
        self._looked = time.monotonic()

    def look(
        self,
        targets: Sequence[CanaryTarget],
        devices: Mapping[str, str],
        *,
        attached: Collection[str],
        busy: Collection[str] = (),
    ) -> None:
        """See how far they are, and begin what is due. Does not wait.

        `devices`: the kernel's names of the volumes' own. `attached`: volumes of which stays what
        was met, although one may not go there now. `busy`: where there must be none now. Raises
        OSError: there can be no child.
        """
        now = time.monotonic()
        gap, self._looked = now - self._looked, now
        wanted = {each.volume: each for each in targets}
        for name in [each for each in self._canaries if each not in wanted]:
            self._dying += [(name, errand) for errand in self._canaries[name].leave()]
            if name not in attached:
                del self._canaries[name]
        self._before = [each for each in self._before if each.volume in attached]
        self._dying = [each for each in self._dying if not each[1].is_gone()]
        busy = {*busy, *(name for name, _ in self._dying)}
        interval_seconds = self._interval_seconds * max(1.0, len(wanted) / _MANY)
        begun = 0
        for name, target in wanted.items():
            if name not in self._canaries:
                self._canaries[name] = _Canary(self._hung_seconds)
            canary = self._canaries[name]
            canary.interval_seconds = interval_seconds
            if canary.is_out:
                canary.attend(devices.get(name, ""), gap, is_busy=name in busy)
                if canary.has_judged:
                    self._before = [each for each in self._before if each.volume != name]
            elif name not in busy and now >= canary.due and begun < _AT_ONCE:
                canary.begin(target)
                begun += 1

    def evidence(self) -> Iterator[Evidence]:
        """What they have met."""
        yield from self._before
        for name, canary in self._canaries.items():
            if canary.fault:
                mend = f"holdfast assess {name}"
                yield Evidence(name, "state", canary.fault, mend, grave=True, source=SOURCE)
            for (what, folder), (short, room) in canary.rooms.items():
                if short:
                    yield _shortage(name, canary.room_mend, what, folder, short, room)


class _Canary:
    """One volume's."""

    def __init__(self, hung_seconds: float) -> None:
        self._hung_seconds = hung_seconds
        self.interval_seconds = INTERVAL_SECONDS
        self.due = 0.0
        """Monotonic seconds."""
        self.fault = ""
        """What the last one that ended by itself has met, or one that hung; in words."""
        self.rooms: _Rooms = {}
        self.room_mend = ""
        self.has_judged = False
        """One has ended by itself, or hung."""
        self._errand: Errand[CanaryAnswer] | None = None
        self._is_killed = False

    @property
    def is_out(self) -> bool:
        """Whether there is one."""
        return self._errand is not None

    def begin(self, target: CanaryTarget) -> None:
        """Send one. Raises OSError."""
        self._errand = Errand(partial(ask, target))
        self._is_killed = False
        self._begun = time.monotonic()
        self._waits_at = CanaryStep.ENTER
        self._waited = Waited()
        self._inside_seconds = 0.0
        self._fault_now = ""
        self._rooms_now: _Rooms = {}
        self.room_mend = target.room_mend

    def leave(self) -> list[Errand[CanaryAnswer]]:
        """End it; what has to be buried."""
        if self._errand is None:
            return []
        errand, self._errand = self._errand, None
        errand.end()
        return [errand]

    def attend(self, device: str, gap_seconds: float, *, is_busy: bool) -> None:
        """See how far it is."""
        errand = self._errand
        if errand is None:
            return
        answers = errand.fetch()
        for answer in answers:
            self._take(answer)
        if answers:
            self._waited = Waited()
        if errand.is_over:
            self._bury(errand)
        elif is_busy:
            self._kill(errand)
        else:
            state = read_state(errand.pid)
            own = device and self._waits_at not in _NOT_THE_VOLUME
            finished = finished_requests(device) if own else None
            self._waited = waited(self._waited, gap_seconds, state.state if state else "", finished)
            if self._waited.seconds >= self._hung_seconds:
                self._judge()
                if self._waits_at is not CanaryStep.IMAGES:
                    seconds = time.monotonic() - self._begun
                    self.fault = f"{self._waits_at} has not been answered for {seconds:.0f} s"
                self._kill(errand)

    def _kill(self, errand: Errand[CanaryAnswer]) -> None:
        """It is over now for us; there is no other one before it is gone."""
        self._is_killed = True
        errand.end()

    def _bury(self, errand: Errand[CanaryAnswer]) -> None:
        if not errand.is_gone():
            return
        errand.end()
        self._errand = None
        self.due = time.monotonic() + max(self.interval_seconds, _SHARE * self._inside_seconds)
        if not self._is_killed:
            self._judge()

    def _judge(self) -> None:
        self.has_judged = True
        self.fault = self._fault_now
        if self._rooms_now:
            self.rooms = self._rooms_now

    def _take(self, answer: CanaryAnswer) -> None:
        self._waits_at = _NEXT.get(answer.step, CanaryStep.IMAGES)
        self._inside_seconds = max(self._inside_seconds, answer.seconds)
        if answer.error:
            self._fault_now = f"{answer.step} failed: {os.strerror(answer.error)}"
            self._waits_at = CanaryStep.IMAGES
        elif answer.wrong:
            self._fault_now = "a test file reads differently from what was written to it"
        if answer.room is not None:
            key = (answer.what, answer.folder)
            before = self.rooms.get(key, (Shortage(), answer.room))[0]
            self._rooms_now[key] = (shortage(answer.room, before), answer.room)


def _shortage(
    name: str, mend: str, what: str, folder: str, short: Shortage, room: FreeRoom
) -> Evidence:
    few = []
    if short.bytes:
        percent = 100 * room.free_bytes / room.total_bytes
        few.append(f"{format_size(room.free_bytes)} ({percent:.1f} %)")
    if short.inodes:
        few.append(f"{room.free_inodes} of {room.total_inodes} inodes")
    free = f"only {' and '.join(few)} free"
    if not what:
        words = f"its file system has {free}"
        return Evidence(name, "room", words, mend, short.grave, SOURCE)
    told = f"{folder}, where {what} grows, has {free}"
    mend = f"Make room in {folder}."
    return Evidence(name, f"room of {what}", told, mend, short.grave, SOURCE)
