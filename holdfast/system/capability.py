"""Linux capabilities of this process: being root is not always enough (containers drop some)."""

from __future__ import annotations

from pathlib import Path

CAP_SYS_ADMIN = 21
CAP_SYS_RESOURCE = 24
"""Numbers from linux/capability.h."""

_STATUS = Path("/proc/self/status")


def has_capability(number: int) -> bool:
    """Whether this process may use the capability now."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False
