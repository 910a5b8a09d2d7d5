"""Control groups: a place of its own for a gate, so that nothing else's end takes it along."""

from __future__ import annotations

from pathlib import Path

_MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


def unified_mount() -> Path | None:
    """Where the version 2 hierarchy is mounted, or None (cgroups(7))."""
    return next((path for path in _MOUNTS if (path / "cgroup.procs").exists()), None)


def move_to_own_group(pid: int, name: str) -> bool:
    """Put a process into the group holdfast/NAME at the top; False where that is impossible.

    A gate that was started from a login session or a service would otherwise be killed with it.
    """
    mount = unified_mount()
    if mount is None:
        return False
    group = mount / "holdfast" / name
    try:
        group.mkdir(parents=True, exist_ok=True)
        (group / "cgroup.procs").write_text(str(pid))
    except OSError:
        return False
    return True


def remove_group(name: str) -> None:
    """Remove the empty group of a gate; leaves it when it is still in use."""
    mount = unified_mount()
    if mount is None:
        return
    for group in (mount / "holdfast" / name, mount / "holdfast"):
        try:
            group.rmdir()
        except OSError:
            return
