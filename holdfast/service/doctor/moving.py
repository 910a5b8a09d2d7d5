"""Doctor: whether handles of running processes can be moved here, and processes frozen.

Tries the real thing on a child of its own: traces it, compares its descriptors. Volumes with a gate
need none of this: whatever is lacking limits `migrate`, `restore`, `rebind` and `freeze` only.
"""

from __future__ import annotations

import errno
import os
import platform
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.applications.rebind.tracing.threads import LAYOUT
from holdfast.model.finding import Finding, Verdict
from holdfast.system.processes import ptrace
from holdfast.system.processes.kcmp import Shared, is_shared
from holdfast.system.processes.process import fork_bound
from holdfast.system.resources.cgroup import unified_mount

_CAP_SYS_PTRACE = 19  # linux/capability.h
_YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
_NOBODY_TRACES = 3  # Documentation/admin-guide/LSM/Yama.rst
_USER_NAMESPACES = Path("/proc/sys/user/max_user_namespaces")
_FREEZER_KERNEL = "5.2"
"""First Linux with cgroup.freeze (cgroups(7))."""


def machine(name: str | None = None) -> Iterator[Finding]:
    """The code that waits inside a stopped process is written for one kind of processor."""
    name = name or platform.machine()
    if name == LAYOUT.machine:
        yield Finding("moving handles", Verdict.OK, f"possible on {name}")
        return
    yield Finding(
        "moving handles",
        Verdict.LIMITED,
        f"not possible on {name}, only on {LAYOUT.machine}",
        "migrate and restore refuse volumes that processes use. Gated volumes are not affected.",
        "None: stop the applications before, or give the volume a gate.",
    )


def tracing() -> Iterator[Finding]:
    """Other users' processes may be traced, also those with a seccomp filter."""
    rights = ptrace.status_fields(os.getpid(), ("CapEff",))["CapEff"]
    if not int(rights, 16) >> _CAP_SYS_PTRACE & 1:
        yield _cannot_trace("no CAP_SYS_PTRACE", "Give the container or service CAP_SYS_PTRACE.")
        return
    refusal = _try_to_trace(suspend_seccomp=False)
    if refusal is not None:
        yield _cannot_trace(f"ptrace: {refusal.strerror}", _tracing_mend())
        return
    yield Finding("tracing", Verdict.OK, "processes can be stopped (ptrace)")
    refusal = _try_to_trace(suspend_seccomp=True)
    if refusal is None:
        yield Finding(
            "seccomp", Verdict.OK, "filters of processes can be suspended while these are moved"
        )
        return
    missing = refusal.errno == errno.EINVAL
    yield Finding(
        "seccomp",
        Verdict.LIMITED,
        "the kernel lacks CONFIG_CHECKPOINT_RESTORE" if missing else str(refusal.strerror),
        "Processes with a seccomp filter (many services, all in most containers) cannot be moved.",
        "A kernel that has it." if missing else "Run Holdfast outside of a container.",
    )


def _cannot_trace(found: str, mend: str) -> Finding:
    meaning = "migrate and restore refuse volumes that processes use; users finds fewer of them."
    return Finding("tracing", Verdict.LIMITED, found, meaning, mend)


def _tracing_mend(scope_file: Path = _YAMA) -> str:
    """What forbids tracing to whoever has the right."""
    with suppress(OSError, ValueError):
        if int(scope_file.read_text()) >= _NOBODY_TRACES:
            return "kernel.yama.ptrace_scope is 3: it takes a restart with a lower one."
    return "Look at the security module and the container that Holdfast runs in."


@contextmanager
def _child() -> Iterator[int]:
    """A process of ours that waits; it is gone afterwards."""
    pid = fork_bound()
    if pid == 0:
        try:
            signal.pause()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _try_to_trace(*, suspend_seccomp: bool) -> OSError | None:
    """Why a child cannot be traced; None when it can."""
    with _child() as pid:
        try:
            ptrace.seize(pid, suspend_seccomp=suspend_seccomp)
        except OSError as error:
            return OSError(error.errno, os.strerror(error.errno or errno.EIO))
    return None


def comparison() -> Iterator[Finding]:
    """What processes share is told by kcmp(2)."""
    with _child() as pid:
        try:
            is_shared(Shared.MEMORY, os.getpid(), pid)
        except OSError as error:
            yield Finding(
                "kcmp",
                Verdict.LIMITED,
                f"kcmp: {os.strerror(error.errno or errno.EIO)}",
                "Descriptors that processes share are not recognised: handles cannot be moved.",
                "A kernel with CONFIG_KCMP; CAP_SYS_PTRACE.",
            )
            return
    yield Finding("kcmp", Verdict.OK, "it is recognised what processes share")


def user_namespaces(limit_file: Path = _USER_NAMESPACES) -> Iterator[Finding]:
    """User namespaces: to move an unprivileged process's own program takes one for an instant."""
    try:
        limit = int(limit_file.read_text())
    except FileNotFoundError:
        limit = 0
    if limit > 0:
        yield Finding("user namespaces", Verdict.OK, "programs of unprivileged users can be moved")
        return
    yield Finding(
        "user namespaces",
        Verdict.LIMITED,
        "this host allows none",
        "A process without privileges whose program lies on a volume keeps it from being moved.",
        "sysctl user.max_user_namespaces=1000",
    )


def freezer() -> Iterator[Finding]:
    """Processes are frozen unnoticed by a control group; otherwise by a signal."""
    mount = unified_mount()
    folders = () if mount is None else mount.glob("*/cgroup.freeze")
    if any(folders):
        yield Finding("freezer", Verdict.OK, "control groups of version 2 can be frozen")
        return
    found = "version 2 is not mounted" if mount is None else f"no group below {mount} has one"
    yield Finding(
        "freezer",
        Verdict.LIMITED,
        found,
        "freeze uses SIGSTOP, which the parents of processes see. Restorations are not affected.",
        f"Linux {_FREEZER_KERNEL} or newer with version 2 mounted.",
    )
