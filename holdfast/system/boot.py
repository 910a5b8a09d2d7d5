"""Which boot of the host this is: what lives in memory, or carries a number, ends with it."""

from __future__ import annotations

from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """A UUID that the kernel makes when it starts: proc_sys_kernel(5)."""
    return _BOOT_ID.read_text(encoding="ascii").strip()
