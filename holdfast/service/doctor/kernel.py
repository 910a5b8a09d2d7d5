"""Doctor: what this kernel brings (FUSE, takeover, watchdog, other kinds of storage)."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from holdfast.errors import MissingFuse
from holdfast.model.finding import Finding, Verdict
from holdfast.model.volume import Volume
from holdfast.system.children.run import find_tool, run
from holdfast.system.proc_text import lines

_TAKEOVER_KERNEL = (6, 9)
"""First Linux with FUSE_NOTIFY_RESEND (FUSE protocol 7.40)."""

_COVER_KERNEL, _COPIED_COVER_KERNEL = (6, 5), (6, 8)
"""First Linux with MOVE_MOUNT_BENEATH, and with mount numbers that are given out once."""

_DEFAULT_HOLD_SECONDS = 600.0
_FUSE = Path("/dev/fuse")
_HUNG_TASK_SECONDS = Path("/proc/sys/kernel/hung_task_timeout_secs")
_HUNG_TASK_PANIC = Path("/proc/sys/kernel/hung_task_panic")
_FILE_SYSTEMS = Path("/proc/filesystems")


def kernel_version(release: str) -> tuple[int, int]:
    """Major and minor number of a kernel release such as `6.18.44-amd64`; (0, 0) if unreadable."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def fuse_device() -> Iterator[Finding]:
    """The gate speaks FUSE through /dev/fuse."""
    try:
        os.close(os.open(_FUSE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        yield Finding(
            "FUSE device",
            Verdict.MISSING,
            f"{_FUSE}: {error.strerror}",
            "No volume can be attached.",
            _fuse_mend(error.errno),
        )
    else:
        yield Finding("FUSE device", Verdict.OK, f"{_FUSE} opens")


def _fuse_mend(number: int | None) -> str:
    if number in (errno.EACCES, errno.EPERM):
        return "Run as root; in a container, give it the device (--device /dev/fuse)."
    return "modprobe fuse; in a container, give it the device (--device /dev/fuse)."


def takeover(release: str | None = None) -> Iterator[Finding]:
    """Whether the kernel sends requests again when a worker was killed."""
    release = release or os.uname().release
    if kernel_version(release) >= _TAKEOVER_KERNEL:
        yield Finding("takeover", Verdict.OK, f"Linux {release} re-sends requests")
    else:
        yield Finding(
            "takeover",
            Verdict.LIMITED,
            f"Linux {release} cannot re-send requests (6.9 and newer can)",
            "A killed worker loses the requests it had in flight: whoever waits for them waits for "
            "ever. Legs and failover are not affected.",
            "Install a kernel of 6.9 or newer (Debian 12: from bookworm-backports).",
        )


def check_takeover(mend: str = "") -> None:
    """Raise MissingFuse where a worker that is ended takes the requests with it that it has.

    `mend`: what does the same on such a kernel; empty: nothing does.
    """
    for found in takeover():
        if found.verdict is not Verdict.OK:
            raise MissingFuse(f"{found.found}: nothing was done", mend or found.mend)


def newcomers(release: str | None = None) -> Iterator[Finding]:
    """Whether processes that come by path wait while a volume is dismounted and mounted."""
    release = release or os.uname().release
    version = kernel_version(release)
    mend = "Install a kernel of 6.9 or newer (Debian 12: from bookworm-backports)."
    if version >= _COPIED_COVER_KERNEL:
        yield Finding("newcomers", Verdict.OK, f"Linux {release} lets them wait for a volume")
    elif version >= _COVER_KERNEL:
        yield Finding(
            "newcomers",
            Verdict.LIMITED,
            f"Linux {release} does not tell new mount namespaces from old ones (6.8 and newer do)",
            "A service that starts in one of its own while a volume is moved may not have it.",
            mend,
        )
    else:
        yield Finding(
            "newcomers",
            Verdict.LIMITED,
            f"Linux {release} cannot mount beneath a mount (6.5 and newer can)",
            "Who comes by path while a volume is moved may see the directory below it.",
            mend,
        )


def hung_task_watchdog(
    volumes: Sequence[Volume] = (),
    seconds_file: Path = _HUNG_TASK_SECONDS,
    panic_file: Path = _HUNG_TASK_PANIC,
) -> Iterator[Finding]:
    """The kernel's watchdog keeps running while a volume is held."""
    try:
        limit_seconds = int(seconds_file.read_text())
    except FileNotFoundError:
        yield Finding("hung-task watchdog", Verdict.OK, "this kernel has none")
        return
    panics = panic_file.exists() and int(panic_file.read_text()) > 0
    longest = max((volume.hold_timeout_seconds for volume in volumes), default=None)
    hold_seconds = _DEFAULT_HOLD_SECONDS if longest is None else longest
    whose = "by default" if longest is None else "at most, of the volumes here"
    found = f"{limit_seconds} s; volumes are held {hold_seconds:g} s {whose}"
    if limit_seconds == 0 or hold_seconds <= limit_seconds:
        off = "switched off" if limit_seconds == 0 else found
        yield Finding("hung-task watchdog", Verdict.OK, off)
    elif panics:
        yield Finding(
            "hung-task watchdog",
            Verdict.LIMITED,
            f"{found}; it panics",
            "A hold that lasts longer than the watchdog's limit restarts the whole host.",
            "sysctl kernel.hung_task_panic=0, or a shorter --hold-timeout.",
        )
    else:
        yield Finding(
            "hung-task watchdog",
            Verdict.LIMITED,
            found,
            "The kernel logs 'task blocked' for processes that wait longer than its limit. It is "
            "harmless: they continue.",
            f"Nothing, or: sysctl kernel.hung_task_timeout_secs={int(hold_seconds) + 60}",
        )


def kernel_has_file_system(name: str) -> bool:
    """Whether the kernel knows a file system, loaded already or as a module that is installed."""
    known = {line.split()[-1] for line in lines(_FILE_SYSTEMS.read_bytes()) if line.strip()}
    return name.encode() in known or _module_exists(name)


def _module_exists(name: str) -> bool:
    if Path("/sys/module", name.replace("-", "_")).exists():
        return True
    if find_tool("modprobe") is None:
        return False
    found = run(["modprobe", "--dry-run", "--quiet", name], accepted=range(256))
    return found.returncode == 0


def later_storage_kinds() -> Iterator[Finding]:
    """Kernel parts that image files and local disks do not need: said now, so that nobody plans
    on legs that cannot be had here."""
    parts = {
        "NBD": _module_exists("nbd"),
        "device mapper (LVM, multipath)": _module_exists("dm_mod"),
        "iSCSI": _module_exists("iscsi_tcp"),
        "NFS": kernel_has_file_system("nfs"),
        "SMB": kernel_has_file_system("cifs"),
        "CephFS": kernel_has_file_system("ceph"),
    }
    present = [name for name, there in parts.items() if there]
    absent = [name for name, there in parts.items() if not there]
    if present:
        yield Finding("other storage", Verdict.OK, f"this kernel has {', '.join(present)}")
    if absent:
        yield Finding(
            "other storage",
            Verdict.LIMITED,
            f"not in this kernel: {', '.join(absent)}",
            "No legs on such storage here. Image files and local disks are not affected.",
            "Nothing, or a kernel that has them.",
        )
