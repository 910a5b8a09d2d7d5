"""Doctor: what processes may do here (rights, locked memory, control groups)."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

from holdfast.gate.data.compiled import COMPILED, WHY_NOT
from holdfast.model.finding import Finding, Verdict
from holdfast.model.size import format_size
from holdfast.system.proc import read_record
from holdfast.system.proc_text import number_of
from holdfast.system.resources.cgroup import unified_mount
from holdfast.system.resources.own_group import memory_limit_of_own_group

_CAP_IPC_LOCK = 14  # linux/capability.h
_CAP_SYS_ADMIN = 21
_CAP_SYS_RESOURCE = 24

_GATE_LOCKED_BYTES = 256 << 20
"""Generous bound for what a gate locks: a Python process with its buffers."""


def _capabilities() -> int:
    return number_of(read_record("/proc/self/status"), b"CapEff", 16) or 0


def _has(capability: int) -> bool:
    return bool(_capabilities() >> capability & 1)


def rights() -> Iterator[Finding]:
    """Root with CAP_SYS_ADMIN: without it nothing can be mounted."""
    user = os.geteuid()
    if user == 0 and _has(_CAP_SYS_ADMIN):
        if _has(_CAP_SYS_RESOURCE):
            yield Finding("rights", Verdict.OK, "root with CAP_SYS_ADMIN and CAP_SYS_RESOURCE")
        else:
            yield Finding(
                "rights",
                Verdict.LIMITED,
                "root without CAP_SYS_RESOURCE",
                "The gate cannot protect itself from the out-of-memory killer, nor tell the kernel "
                "that it serves write-back, and ext4 cannot be grown while it is mounted.",
                "Give the container or service CAP_SYS_RESOURCE.",
            )
        return
    found = f"user id {user}" if user else "root without CAP_SYS_ADMIN"
    mend = "Run holdfast as root (sudo)." if user else "Give the container CAP_SYS_ADMIN."
    yield Finding(
        "rights", Verdict.MISSING, found, "Mounts, loop devices and FUSE need root.", mend
    )


def memory_lock() -> Iterator[Finding]:
    """A gate locks its memory, so that write-back never waits for it to be swapped in."""
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if _has(_CAP_IPC_LOCK):
        yield Finding("memory lock", Verdict.OK, "CAP_IPC_LOCK: no limit")
    elif limit == resource.RLIM_INFINITY or limit >= _GATE_LOCKED_BYTES:
        found = "no limit" if limit == resource.RLIM_INFINITY else format_size(limit)
        yield Finding("memory lock", Verdict.OK, found)
    else:
        yield Finding(
            "memory lock",
            Verdict.LIMITED,
            f"at most {format_size(limit)} may be locked",
            "Under memory pressure a gate may wait for memory that only its own writes can free.",
            "Raise the limit (ulimit -l unlimited, LimitMEMLOCK=infinity) or give CAP_IPC_LOCK.",
        )


def memory_limit() -> Iterator[Finding]:
    """A gate leaves the memory limit of the applications that it serves, where it can."""
    limit = memory_limit_of_own_group()
    if limit is None:
        yield Finding("memory limit", Verdict.OK, "none that a gate cannot leave")
        return
    waits = "" if _has(_CAP_SYS_RESOURCE) else ", or wait for ever for the write-back it has to do"
    yield Finding(
        "memory limit",
        Verdict.LIMITED,
        f"a control group limits memory to {format_size(limit)}, and a gate cannot leave it",
        f"When applications fill it, a gate may get no memory{waits}.",
        "Run gates outside of that limit (on the host), or show the host's control groups here, "
        "writable" + ("; give CAP_SYS_RESOURCE." if waits else "."),
    )


def fast_path() -> Iterator[Finding]:
    """Whether gates serve ordinary requests by compiled code."""
    if COMPILED is not None:
        yield Finding("fast path", Verdict.OK, "compiled code serves ordinary requests")
        return
    yield Finding(
        "fast path",
        Verdict.LIMITED,
        f"no compiled code: {WHY_NOT.reason}",
        "Gates serve everything in Python: nothing is lost but speed.",
        WHY_NOT.mend,
    )


def control_groups() -> Iterator[Finding]:
    """A gate gets a control group of its own, away from the session that started it."""
    mount = unified_mount()
    if mount is not None and os.access(mount, os.W_OK):
        yield Finding("control groups", Verdict.OK, f"version 2 at {mount}")
        return
    found = "version 2 is not mounted" if mount is None else f"{mount} is not writable"
    yield Finding(
        "control groups",
        Verdict.LIMITED,
        found,
        "A gate stays in the control group of the command that started it and is killed when that "
        "group is (end of a login session, stop of a service).",
        "Mount it: mount -t cgroup2 none /sys/fs/cgroup/unified.",
    )
