"""How a process's memory maps are set up beyond protection: VmFlags of proc_pid_smaps(5)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class MapSettings:
    """How one map is set up."""

    flags: frozenset[str]
    """Two letters each, as proc_pid_smaps(5) lists them."""
    protection_key: int = 0


def read_settings(pid: int, starts: Collection[int]) -> dict[int, MapSettings]:
    """Settings of the maps that begin at these addresses.

    The kernel counts the pages of every map on the way, so what lies behind the last address is
    not read. Raises OSError when the process has ended.
    """
    found: dict[int, MapSettings] = {}
    wanted = set(starts)
    current = key = 0
    if not wanted:
        return found
    with open(f"/proc/{pid}/smaps", "rb") as lines:
        for line in lines:
            if line.startswith(b"VmFlags:"):
                if current in wanted:
                    found[current] = MapSettings(frozenset(line.decode().split()[1:]), key)
                    if len(found) == len(wanted):
                        break
            elif line.startswith(b"ProtectionKey:"):
                key = int(line.split()[1])
            elif not line[:1].isupper():
                current, key = int(line.partition(b"-")[0], 16), 0
    return found
