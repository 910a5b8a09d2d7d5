"""All sources of evidence together: what they see of these volumes, and whether there is news.

Must never wait for storage, nor change a volume.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Iterator, Sequence

from holdfast.config import Settings
from holdfast.containers import image_behind
from holdfast.coordination.turn import at_work
from holdfast.detection.canaries import Canaries
from holdfast.detection.canary import CanaryTarget
from holdfast.detection.fs_errors import FileSystemErrors
from holdfast.detection.kernel_log import KernelReports
from holdfast.detection.mount_table import MountTable, hidden, is_own, refusing, seen_at
from holdfast.detection.parts import DeviceBelow, kernel_name, parts_of
from holdfast.detection.smart import Smart
from holdfast.model.evidence import Evidence
from holdfast.model.volume import LegState, VolumeReport, VolumeState
from holdfast.system.mounts.mount_table import Mount

_log = logging.getLogger(__name__)


class Sources:
    """The kernel's log and its reports of file systems, the mount table, disks, and a canary in
    each volume; for one thread."""

    def __init__(self, settings: Settings, before: Sequence[Evidence]) -> None:
        """`before`: what the last daemon saw, which holds until it is seen again, or not."""
        self._settings = settings
        self._kernel = KernelReports()
        self._table = MountTable()
        self._errors = FileSystemErrors()
        self._smart = Smart()
        self._canaries = Canaries(before)
        self._parts: dict[str, tuple[VolumeReport, tuple[DeviceBelow, ...]]] = {}
        """By the volume's id. The same report again: nothing has changed below it."""
        self._devices: frozenset[str] = frozenset()
        """The kernel's names of those that volumes lie on."""

    def look(self, reports: Sequence[VolumeReport]) -> tuple[Evidence, ...]:
        """What they see of these volumes now. Does not wait. Raises OSError."""
        table = self._table.look([report.mount for report in reports])
        parts = [part for report in reports for part in self._parts_of(report, table)]
        self._parts = {report.id: self._parts[report.id] for report in reports}
        self._devices = frozenset(part.device for part in parts)
        self._kernel.take_in(self._devices)
        self._errors.look(reports, table)
        self._send_canaries(reports, table)
        return (
            *hidden(reports, table),
            *refusing(reports, table),
            *self._canaries.evidence(),
            *self._kernel.evidence(parts),
            *self._errors.evidence(),
            *self._smart.look(parts),
        )

    def register(self, poller: select.poll) -> None:
        """Let it end when there may be news."""
        for descriptor in (*self._kernel.descriptors(), *self._errors.descriptors()):
            poller.register(descriptor, select.POLLIN)
        for descriptor in self._table.descriptors():
            poller.register(descriptor, select.POLLPRI)

    def has_news(self) -> bool:
        """Whether something was seen since the last look that concerns a volume of that look."""
        said = self._kernel.take_in(self._devices)
        reported = self._errors.take_in()
        return self._table.has_changed() or said or reported

    def _parts_of(self, report: VolumeReport, table: Sequence[Mount]) -> tuple[DeviceBelow, ...]:
        known = self._parts.get(report.id)
        if known is None or known[0] is not report:
            known = self._parts[report.id] = report, tuple(parts_of(report, table))
        return known[1]

    def _send_canaries(self, reports: Sequence[VolumeReport], table: Sequence[Mount]) -> None:
        targets = [target for report in reports for target in _targets(report, table)]
        names = {
            report.name: kernel_name(report.device)
            for report in reports
            if report.device.startswith("/dev/")
        }
        attached = [each.name for each in reports if each.state is not VolumeState.DETACHED]
        busy = at_work(self._settings.run_directory)
        self._canaries.look(targets, names, attached=attached, busy=busy)


def _targets(report: VolumeReport, table: Sequence[Mount]) -> Iterator[CanaryTarget]:
    """Where a canary may go: a volume that serves, as far as its report knows."""
    is_held = report.gate is not None and report.gate.held
    if report.state not in (VolumeState.HEALTHY, VolumeState.DEGRADED) or is_held:
        return
    here = seen_at(table, report.mount)
    if here is None or not is_own(here, report) or report.frozen_until is not None:
        return
    name = report.name
    if report.gate is not None:
        mend = f"Make room in it, or: holdfast volume resize {name} SIZE"
        images = [(f"leg {leg.number}", image_behind(leg.url)) for leg in report.legs
                  if leg.state in (LegState.IN_SYNC, LegState.RESYNCING)]  # fmt: skip
    else:
        mend = f"Make room in it, or move it: holdfast migrate {name} URL"
        images = [("its image", image_behind(report.source))]
    yield CanaryTarget(
        name,
        report.mount,
        frozenset({here.identifier}),
        not here.read_only,
        mend,
        tuple((what, path) for what, path in images if path),
    )
