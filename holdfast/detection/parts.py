"""Which block devices a volume lies on, by the names that the kernel's messages use.

Reads sysfs and the mount table; nothing here touches storage. A path of an image is looked up by
its name alone: one that leads through a symbolic link counts as lying where the link does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.containers import open_container
from holdfast.errors import HoldfastError
from holdfast.late_dataclass import dataclass
from holdfast.model.volume import ADOPTED, LegState, VolumeReport, VolumeState
from holdfast.system.mounts.mount_table import Mount, is_under, topmost

_SYS_BLOCK = Path("/sys/class/block")
_MOST_LAYERS = 16
"""Of devices on devices; more than anybody has, and an end in any case."""


@dataclass(frozen=True)
class DeviceBelow:
    """A block device below a volume, and what somebody is to be told when it fails."""

    volume: str
    about: str
    """The cause, as of a trouble: `state`, or the leg."""
    device: str
    """The kernel's name, e.g. `sdb1`."""
    where: str
    """What of the volume lies there, for people; empty: it is the volume's own device."""
    mend: str


def parts_of(report: VolumeReport, table: Sequence[Mount]) -> Iterator[DeviceBelow]:
    """Every device below a volume that is attached, each once for each of its legs."""
    if report.state is VolumeState.DETACHED:
        return
    name = report.name
    mend = f"holdfast assess {name}"
    if report.device.startswith("/dev/") and not report.filesystem.startswith("fuse"):
        own = kernel_name(report.device)
        for device in below(own, table):
            where = "" if device == own else f"below {own}"
            yield DeviceBelow(name, "state", device, where, mend)
    if report.kind == ADOPTED:
        return
    for leg in report.legs:
        if leg.state is not LegState.SPARE:
            about, mend = f"leg {leg.number}", f"holdfast leg replace {name} {leg.number} URL"
            for device in _devices_of(leg.url, table):
                where = f"where leg {leg.number} ({leg.url}) lies"
                yield DeviceBelow(name, about, device, where, mend)


def kernel_name(device: str) -> str:
    """`dm-0` of `/dev/mapper/x`. Names below /dev are root's."""
    return Path(os.path.realpath(device)).name


def below(device: str, table: Sequence[Mount]) -> Iterable[str]:
    """This device and those that it is made of, also through an image in a loop device."""
    found: dict[str, None] = {}
    waiting = [device]
    while waiting and len(found) < _MOST_LAYERS:
        name = waiting.pop()
        if not name or name in found or not (_SYS_BLOCK / name).exists():
            continue
        found[name] = None
        with suppress(OSError):
            waiting += sorted(each.name for each in (_SYS_BLOCK / name / "slaves").iterdir())
        with suppress(OSError):
            image = (_SYS_BLOCK / name / "loop/backing_file").read_bytes().removesuffix(b"\n")
            waiting += _device_below(os.fsdecode(image), table)
    return found


def _devices_of(url: str, table: Sequence[Mount]) -> Iterable[str]:
    try:
        container = open_container(url)
    except HoldfastError:
        return ()
    if container.device_path:
        return below(kernel_name(container.device_path), table)
    return [each for name in _device_below(container.image_path, table)
            for each in below(name, table)]  # fmt: skip


def _device_below(path: str, table: Sequence[Mount]) -> list[str]:
    """The device of the file system that a file lies on; none where that is no device."""
    above = [mount.path for mount in table if is_under(path, mount.path)] if path else []
    mount = topmost(table, max(above, key=len)) if above else None
    if mount is None or not mount.source.startswith("/dev/") or mount.filesystem.startswith("fuse"):
        return []
    return [kernel_name(mount.source)]
