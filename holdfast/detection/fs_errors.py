"""What file systems report of themselves (FAN_FS_ERROR): ext4 from Linux 5.16 on, XFS on kernels
that have it. It arrives also where the kernel's log cannot be read, or says too much.

Owns how long a report counts: an hour after the last one, or until the file system is mounted anew.
Must never follow a path on which somebody else than the kernel answers (NFS, FUSE): it would wait.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence

from holdfast.detection.kernel_log import COUNTS_SECONDS
from holdfast.detection.mount_table import is_own, on_the_way, seen_at
from holdfast.late_dataclass import dataclass
from holdfast.model.evidence import Evidence
from holdfast.model.volume import VolumeReport, VolumeState
from holdfast.system.files.fanotify import ErrorGroup
from holdfast.system.mounts.mount_table import Mount

_log = logging.getLogger(__name__)

SOURCE = "file system"

KINDS = frozenset(("ext4", "xfs"))
_ANSWERING = frozenset((*KINDS, "btrfs", "tmpfs", "ramfs", "rootfs", "squashfs", "devtmpfs"))
"""Below which mount points are found without asking anybody."""


@dataclass
class _Listened:
    """One volume's file system."""

    mount: int
    """The mount's number: another one, another file system perhaps."""
    system: int
    """As `os.statvfs` calls it."""
    count: int = 0
    words: str = ""
    last: float = 0.0
    """Monotonic seconds."""


class FileSystemErrors:
    """Of all volumes; for one thread."""

    def __init__(self) -> None:
        self._volumes: dict[str, _Listened] = {}
        self._deaf: dict[str, int] = {}
        """Volumes, and mounts of theirs, whose file systems tell nothing."""
        self._group: ErrorGroup | None = None
        try:
            self._group = ErrorGroup()
        except OSError as error:
            _log.info("file systems do not report errors on this kernel: %s", error)

    def descriptors(self) -> list[int]:
        """For poll(2): something was reported."""
        return [] if self._group is None else [self._group.descriptor]

    def look(self, reports: Sequence[VolumeReport], table: Sequence[Mount]) -> None:
        """Listen to the file systems of these volumes; what others report is nobody's. Raises
        OSError."""
        if self._group is None:
            return
        self.take_in()
        before, self._volumes = self._volumes, {}
        heard = self._group.heard()
        for report in reports:
            mount = seen_at(table, report.mount)
            if mount is None or not is_own(mount, report) or mount.filesystem not in KINDS:
                continue
            known = before.get(report.name)
            # The number of a mount is given again to the next one, at once.
            if known and known.mount == mount.identifier and mount.device_number in heard:
                self._volumes[report.name] = known
            elif report.state in (VolumeState.HEALTHY, VolumeState.DEGRADED):
                above = on_the_way(table, report.mount)
                is_safe = all(each.filesystem in _ANSWERING for each in above)
                if is_safe and self._deaf.get(report.name) != mount.identifier:
                    self._listen(self._group, report, mount)

    def take_in(self) -> bool:
        """Read what was reported; whether any of it is about a volume. Does not wait."""
        news = False
        for system, code, count in self._group.read() if self._group else ():
            for each in self._volumes.values():
                if each.system == system:
                    each.count += count
                    each.words, each.last = os.strerror(code), time.monotonic()
                    news = True
        return news

    def evidence(self) -> Iterator[Evidence]:
        """What was reported lately."""
        now = time.monotonic()
        for name, each in self._volumes.items():
            if each.count and now - each.last <= COUNTS_SECONDS:
                words = f"its file system reports errors of itself ({each.count}): {each.words}"
                yield Evidence(name, "state", words, f"holdfast assess {name}", source=SOURCE)

    def _listen(self, group: ErrorGroup, report: VolumeReport, mount: Mount) -> None:
        try:
            group.add(report.mount)
            system = os.statvfs(report.mount).f_fsid
        except OSError as error:
            self._deaf[report.name] = mount.identifier
            _log.info("%s: %s tells of no errors: %s", report.name, mount.filesystem, error)
            return
        self._volumes[report.name] = _Listened(mount.identifier, system)
