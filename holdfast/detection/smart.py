"""What the disks say of themselves that volumes lie on: smartctl is asked now and then, in a child.

Owns the pace: one disk at a time, each every half an hour, and none is woken from standby. Never
waits. Disks that say nothing, and hosts without smartctl, are told by `doctor` only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from holdfast.detection.parts import DeviceBelow
from holdfast.errors import HoldfastError
from holdfast.model.bounded import read_object
from holdfast.model.evidence import Evidence
from holdfast.policy.smart_words import DiskHealth, health_of, in_words
from holdfast.system.children.errand import Errand
from holdfast.system.children.run import find_tool, run

SOURCE = "SMART"

INTERVAL_SECONDS = 1800.0
"""As smartd(8)."""

DEADLINE_SECONDS = 30.0
"""A disk answers within a second; one behind a bus that is reset, after half a minute or never."""

_SYS_BLOCK = Path("/sys/class/block")

_ANY_STATUS = range(256)
"""smartctl(8) says with its status what it found: eight bits."""


class Smart:
    """All disks of this host below volumes; for one thread."""

    def __init__(self, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._interval_seconds = interval_seconds
        self._asked: dict[str, float] = {}
        """When each disk was asked last; monotonic seconds."""
        self._health: dict[str, DiskHealth] = {}
        self._first: dict[str, Mapping[str, int]] = {}
        """Counts when this daemon looked first."""
        self._errand: tuple[str, Errand[DiskHealth], float] | None = None
        """The disk, who asks it, and until when."""

    def look(self, parts: Iterable[DeviceBelow]) -> Iterator[Evidence]:
        """What is known of the disks of these devices; asks the one that is due. Does not wait.

        Raises OSError: there can be no child.
        """
        disks = {part: disk for part in parts if (disk := disk_of(part.device))}
        wanted = dict.fromkeys(disks.values())
        self._take()
        self._begin(wanted)
        for gone in self._health.keys() - wanted:
            del self._health[gone]
            self._first.pop(gone, None)
        for part, disk in disks.items():
            health = self._health.get(disk)
            words = in_words(health, self._first.get(disk, {})) if health else ""
            if words:
                where = f" ({part.where})" if part.where else ""
                told = f"the disk {disk}{where}: {words}"
                yield Evidence(part.volume, part.about, told, part.mend, source=SOURCE)

    def _take(self) -> None:
        if self._errand is None:
            return
        disk, errand, until = self._errand
        for health in errand.fetch():
            if health.is_told:
                self._health[disk] = health
                self._first.setdefault(disk, health.counts)
        if errand.is_over or time.monotonic() >= until:
            errand.end()
            if errand.is_gone():
                self._errand = None

    def _begin(self, disks: Collection[str]) -> None:
        now = time.monotonic()
        self._asked = {disk: at for disk, at in self._asked.items() if disk in disks}
        due = [
            disk
            for disk in disks
            if disk not in self._asked or now >= self._asked[disk] + self._interval_seconds
        ]
        if self._errand is None and due and find_tool("smartctl"):
            disk = due[0]
            self._asked[disk] = now
            # A little more than smartctl has: whoever asks ends it first.
            self._errand = disk, Errand(partial(_ask, disk)), now + DEADLINE_SECONDS + 5.0


def disk_of(device: str) -> str:
    """The kernel's name of the disk that this is, or is a partition of; empty: it is none that
    could say anything (loop devices, device mapper, RAID: their parts can)."""
    folder = _SYS_BLOCK / device
    with suppress(OSError):
        if (folder / "partition").exists():
            folder = folder.resolve().parent
        if (folder / "device").exists() and _bus(folder) != "virtio":
            return folder.name
    return ""


def _bus(folder: Path) -> str:
    try:
        return (folder / "device/subsystem").resolve(strict=True).name
    except OSError:
        return ""


def _ask(disk: str, tell: Callable[[DiskHealth], None]) -> None:
    """In a child; what is no answer is none."""
    with suppress(HoldfastError, ValueError, OSError):
        command = ["smartctl", "--json=c", "--nocheck=standby", "--all", f"/dev/{disk}"]
        said = run(command, deadline_seconds=DEADLINE_SECONDS, accepted=_ANY_STATUS)
        tell(health_of(read_object(said.stdout)))
