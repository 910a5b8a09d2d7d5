"""What a process is, as far as it decides whether something in it can be moved.

Reads /proc only, and no file that lies on storage.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import struct
from collections.abc import Collection

from holdfast.applications.rebind.tracing.hindrances import frozen, hindrance, traced
from holdfast.late_dataclass import dataclass
from holdfast.system.proc import address_space_limit, descriptor_limit, link, read, read_record
from holdfast.system.proc_text import parse_stat
from holdfast.system.processes.calls_of_32_bits import has_32_bits
from holdfast.system.processes.smaps import MapSettings, read_settings

_AT_PHENT = 4  # include/uapi/linux/auxvec.h: size of one program header
_PROGRAM_HEADER_64_BYTES = 56  # sizeof(Elf64_Phdr)

_CAP_SYS_CHROOT, _CAP_SYS_ADMIN, _CAP_CHECKPOINT_RESTORE = 18, 21, 40  # linux/capability.h

_NEEDED_DESCRIPTORS = 3
"""A socket pair, and what comes through it."""

_NEEDED_BYTES = 1 << 20
"""Address space for a harbour, of a process with thousands of threads as well."""

_STATUS = re.compile(rb"^(TracerPid|CapPrm|CapEff|Seccomp|VmSize):\s*(\w+)(?: kB)?$", re.MULTILINE)
"""What of proc_pid_status(5) matters here."""

_MACHINES = frozenset({"x86_64"})


@dataclass(frozen=True)
class ProcessTraits:
    """What the verdicts on a process's handles depend on."""

    pid: int
    blocked: str = ""
    """Why nothing of it can be moved; empty: nothing is in the way."""
    waiting: str = ""
    """What keeps it from being stopped at the moment."""
    capabilities: int = 0
    """Effective, in its own user namespace."""
    permitted: int = 0
    """Those that it may make effective."""
    filtered: bool = False
    """A seccomp filter is set."""
    chrooted: bool = False
    maps: dict[int, MapSettings] | None = None

    @property
    def may_change_root(self) -> bool:
        """chroot(2)"""
        return bool(self.capabilities >> _CAP_SYS_CHROOT & 1)

    @property
    def may_take_root(self) -> bool:
        """chroot(2) by a thread that takes the right for that. A filter would be its own, too."""
        return bool(self.permitted >> _CAP_SYS_CHROOT & 1) and not self.filtered

    @property
    def may_change_program(self) -> bool:
        """prctl(2), PR_SET_MM_MAP with exe_fd."""
        return bool(self.capabilities >> _CAP_CHECKPOINT_RESTORE & 1) or bool(
            self.capabilities >> _CAP_SYS_ADMIN & 1
        )


def gather(pid: int, map_starts: Collection[int] = (), machine: str = "") -> ProcessTraits:
    """The facts of one process, with the settings of its maps at these addresses.

    `machine` (uname -m): the kind of processor; empty: that of this host.
    """
    try:
        found = _STATUS.findall(read_record(f"/proc/{pid}/status"))
        status = {name.decode(): value.decode() for name, value in found}
        return ProcessTraits(
            pid=pid,
            blocked=_blocked(pid, status, machine or platform.machine()),
            waiting=_waiting(pid),
            capabilities=int(status["CapEff"], 16),
            permitted=int(status["CapPrm"], 16),
            filtered=status.get("Seccomp", "0") != "0",
            chrooted=_is_chrooted(pid),
            maps=read_settings(pid, map_starts),
        )
    except (FileNotFoundError, ProcessLookupError):
        return ProcessTraits(pid, blocked="")  # it has ended: its handles went with it
    except (PermissionError, KeyError, ValueError) as error:
        return ProcessTraits(pid, blocked=f"/proc/{pid} cannot be read: {error}")


def _blocked(pid: int, status: dict[str, str], machine: str) -> str:
    if pid == os.getpid():
        return "this is Holdfast itself"
    tracer = int(status.get("TracerPid", "0"))
    if tracer not in (0, os.getpid()):
        by = traced(tracer)
        return f"{by.words}. {by.mend}"
    if machine not in _MACHINES:
        return f"system calls cannot be made inside processes on {machine}"
    if not _has_64_bits(pid):
        if not has_32_bits(pid):
            return "it is neither a 64-bit process nor a 32-bit one of i386"
        if status.get("Seccomp", "0") != "0":
            return (
                "it is a 32-bit process with a seccomp filter, which may end it for a system call"
                " of 64 bits: end it for that time"
            )
    standing = frozen(pid)
    if standing is not None:
        return f"{standing.words}. {standing.mend}"
    limit_bytes = address_space_limit(pid)
    if int(status.get("VmSize", "0")) * 1024 + _NEEDED_BYTES > limit_bytes:
        return (
            "it has as much address space as it may have (RLIMIT_AS): give it some more, prlimit"
            f" --pid {pid} --as=unlimited"
        )
    most = descriptor_limit(pid)[1]
    folder = f"/proc/{pid}/fd"
    # The size is how many there are, from Linux 6.2 on; 0 before.
    count = os.stat(folder).st_size or len(os.listdir(folder))  # noqa: PTH116, PTH208
    if count + _NEEDED_DESCRIPTORS > most:
        return f"it has as many descriptors as it may have ({most}): none is left to work with"
    return ""


def _is_chrooted(pid: int) -> bool:
    try:
        return link(f"/proc/{pid}/root") != "/"
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return True
        raise


def _waiting(pid: int) -> str:
    for name in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
        state = parse_stat(read_record(f"/proc/{pid}/task/{name}/stat")).state
        if state == "D":
            found = hindrance(pid, int(name))
            return f"thread {name} cannot be stopped now: {found.words}. {found.mend}"
    return ""


def _has_64_bits(pid: int) -> bool:
    """Told by the auxiliary vector in its memory, not by its program, which lies on storage."""
    data = read(f"/proc/{pid}/auxv")
    pairs = dict(struct.iter_unpack("=QQ", data[: len(data) // 16 * 16]))
    return not data or pairs.get(_AT_PHENT) == _PROGRAM_HEADER_64_BYTES
