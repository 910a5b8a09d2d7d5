"""What one can ask of Holdfast about the legs of a gated volume, and drills.

Reached through `Holdfast.legs`. Owns the way only: each method takes its turn on the volume, asks
the gate, and notes in the catalog which containers belong to the volume now.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import replace
from functools import partial

from holdfast.containers import parse_container_url
from holdfast.errors import InvalidOption
from holdfast.model.volume import LegState, Volume, VolumeReport
from holdfast.service.host import Host
from holdfast.service.plans import find_leg
from holdfast.service.resynchronisation import Percentage, wait_until_in_sync
from holdfast.system.children.expendable import in_expendable_child
from holdfast.volumes.checks.foundation import check_not_own_leg
from holdfast.volumes.checks.room import check_room, room_of

DRILLS = ("leg-eio", "leg-hang", "leg-gone", "worker-kill")


class Legs:
    """The legs of the volumes on this host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def plan_add(self, name: str, url: str, spare: bool = False) -> str:
        """What `add` would do, in words. Changes nothing. Raises OwnLeg."""
        self._host.gate(name)
        url = self._url(name, url)
        if spare:
            return f"keep {url} as a spare of {name}"
        return f"add {url} to {name} and bring it up to date"

    def add(
        self,
        name: str,
        url: str,
        spare: bool = False,
        wait: bool = True,
        percentage: Percentage | None = None,
    ) -> VolumeReport:
        """Add a container; durable on return, in sync on return when `wait` and not a spare."""
        with self._host.turn(name, f"add {url} to {name}"):
            gate = self._host.gate(name)
            url = self._url(name, url)
            self._check_room(name, url)
            gate.add_leg(url, spare=spare)
            self.note(name)
        if wait and not spare:
            wait_until_in_sync(lambda: self._host.show(name), url, percentage)
        return self._host.show(name)

    def plan_remove(self, name: str, leg: str) -> str:
        """What `remove` would do, in words. Changes nothing. Raises NoSuchLeg."""
        self._host.gate(name)
        found = find_leg(self._host.show(name), leg)
        what = "the spare" if found.state is LegState.SPARE else f"leg {found.number}"
        return f"remove {what} ({found.url}) from {name}"

    def remove(self, name: str, leg: str) -> VolumeReport:
        """Remove a leg or spare; durable on return. Raises LastLeg when it holds the only data."""
        with self._host.turn(name, f"remove leg {leg} from {name}"):
            self._host.gate(name).remove_leg(self._word(name, leg))
            self.note(name)
        return self._host.show(name)

    def plan_replace(self, name: str, leg: str, url: str) -> str:
        """What `replace` would do, in words. Changes nothing. Raises NoSuchLeg, OwnLeg."""
        self._host.gate(name)
        found = find_leg(self._host.show(name), leg)
        url = self._url(name, url)
        return f"bring {url} up to date, then remove leg {found.number} ({found.url}) from {name}"

    def replace(
        self,
        name: str,
        leg: str,
        url: str,
        wait: bool = True,
        percentage: Percentage | None = None,
    ) -> VolumeReport:
        """Replace a leg by another container, which is in sync on return when `wait`.

        The old leg serves until then; when the new one fails before, the old one stays.
        """
        with self._host.turn(name, f"replace leg {leg} of {name} by {url}"):
            gate = self._host.gate(name)
            url = self._url(name, url)
            self._check_room(name, url)
            gate.replace_leg(self._word(name, leg), url)
            self.note(name)
        if wait:
            wait_until_in_sync(lambda: self._host.show(name), url, percentage)
            with self._host.turn(name, f"note that leg {leg} of {name} was replaced"):
                self.note(name)
        return self._host.show(name)

    def drill(
        self, name: str, fault: str, seconds: float = 10.0, leg: str | None = None
    ) -> VolumeReport:
        """Rehearse a fault on an attached volume. Returns when it is in place, not when it ends.

        `leg` is the one it happens to; None: the first that is in sync.
        """
        if fault not in DRILLS:
            raise InvalidOption(f"{fault!r} is no drill", f"Use {', '.join(DRILLS)}.")
        gate = self._host.gate(name)
        if fault == "worker-kill":
            if leg is not None:
                raise InvalidOption("worker-kill concerns no leg", "Leave out --leg.")
            _kill(gate.show()["worker_pid"])
        else:
            legs = self._host.show(name).legs
            first = next((known.id for known in legs if known.state is LegState.IN_SYNC), "1")
            gate.fault(fault, self._word(name, leg or first), seconds)
        return self._host.show(name)

    def _url(self, name: str, url: str) -> str:
        """The normalised URL of a container that does not stand on the volume itself."""
        normal = str(parse_container_url(url))
        settings, path = self._host.settings, self._host.volume(name).mount.path
        check = partial(check_not_own_leg, settings, name, path, normal)
        in_expendable_child(check, doing=normal)
        return normal

    def _check_room(self, name: str, url: str) -> None:
        """Raise TooSmall when what the volume holds now does not fit where this image lies."""
        report = self._host.show(name)
        in_sync = [leg.url for leg in report.legs if leg.state is LegState.IN_SYNC]
        rooms = [room for room in map(room_of, in_sync) if room is not None]
        if rooms:
            held_bytes = min(room.allocated_bytes for room in rooms)
            check_room([url], held_bytes, f"what {name} holds now")

    def _word(self, name: str, leg: str) -> str:
        """How the gate names the leg that a person named."""
        found = find_leg(self._host.show(name), leg)
        return found.url if found.state is LegState.SPARE else str(found.number)

    def note(self, name: str) -> None:
        """Keep in the catalog which containers belong to the volume now."""
        self._host.catalog.update(as_reported(self._host.volume(name), self._host.show(name)))


def as_reported(volume: Volume, report: VolumeReport) -> Volume:
    """A gated volume with the containers that it has now: a spare takes a leg's place by itself."""
    legs = report.legs
    return replace(
        volume,
        leg_urls=tuple(leg.url for leg in legs if leg.state is not LegState.SPARE),
        spare_urls=tuple(leg.url for leg in legs if leg.state is LegState.SPARE),
    )


def _kill(pid: int) -> None:
    """Kill a process as the out-of-memory killer would; nothing when it has just ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
