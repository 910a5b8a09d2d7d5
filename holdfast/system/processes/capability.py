"""Linux capabilities of this process: being root is not always enough (containers drop some)."""

from __future__ import annotations

from holdfast.system.proc import read_record
from holdfast.system.proc_text import number_of

CAP_SYS_ADMIN = 21
CAP_SYS_RESOURCE = 24
"""Numbers from linux/capability.h."""


def has_capability(number: int) -> bool:
    """Whether this process may use the capability now."""
    effective = number_of(read_record("/proc/self/status"), b"CapEff", 16) or 0
    return bool(effective >> number & 1)
