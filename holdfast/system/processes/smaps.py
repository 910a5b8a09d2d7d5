"""How a process's memory maps are set up beyond protection, and what they share with those of other
processes: proc_pid_smaps(5)."""

from __future__ import annotations

from collections.abc import Collection

from holdfast.late_dataclass import dataclass


@dataclass(frozen=True)
class MapSettings:
    """How one map is set up."""

    flags: frozenset[str]
    """Two letters each, as proc_pid_smaps(5) lists them."""
    protection_key: int = 0
    shared_bytes: int = 0
    """By how much all processes together would use more if this one had a copy of its own of what
    it has changed and shares copy-on-write, with a child or its parent. A page that two have counts
    half. 0 before Linux 6.0, which does not tell."""


def read_settings(pid: int, starts: Collection[int]) -> dict[int, MapSettings]:
    """Settings of the maps that begin at these addresses.

    The kernel counts the pages of every map on the way, so what lies behind the last address is
    not read. Raises OSError when the process has ended.
    """
    found: dict[int, MapSettings] = {}
    wanted = set(starts)
    current = key = 0
    sizes: dict[bytes, int] = {}
    if not wanted:
        return found
    with open(f"/proc/{pid}/smaps", "rb") as lines:
        for line in lines:
            if line.startswith(b"VmFlags:"):
                if current in wanted:
                    flags = frozenset(line.decode().split()[1:])
                    found[current] = MapSettings(flags, key, _shared_bytes(sizes))
                    if len(found) == len(wanted):
                        break
            elif line.startswith(b"ProtectionKey:"):
                key = int(line.split()[1])
            elif not line[:1].isupper():
                current, key = int(line.partition(b"-")[0], 16), 0
                sizes = {}
            elif current in wanted:
                name, _, size = line.partition(b":")
                if name in _SIZES:
                    sizes[name] = int(size.split()[0]) << 10
    return found


_SIZES = frozenset(
    {b"Anonymous", b"Shared_Dirty", b"Private_Dirty", b"Pss_Dirty", b"Swap", b"SwapPss"}
)


def _shared_bytes(sizes: dict[bytes, int]) -> int:
    """Of changed pages and of swapped ones, what the map has beyond its share. Pure.

    Pages of the file itself count as dirty as well until they are written: no more than the map's
    own can be shared copy-on-write.
    """
    dirty = sizes.get(b"Shared_Dirty", 0) + sizes.get(b"Private_Dirty", 0)
    beyond = dirty - sizes.get(b"Pss_Dirty", dirty)
    in_swap = sizes.get(b"Swap", 0) - sizes.get(b"SwapPss", 0)
    return max(0, min(beyond, sizes.get(b"Anonymous", 0))) + max(0, in_swap)
