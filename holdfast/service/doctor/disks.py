"""Doctor: whether disks can say that they are about to fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from holdfast.detection.smart import disk_of
from holdfast.model.finding import Finding, Verdict
from holdfast.system.children.run import find_tool

_SYS_BLOCK = Path("/sys/class/block")


def smart() -> Iterator[Finding]:
    """The daemon asks those below volumes. Asks none now."""
    disks = sorted(each.name for each in _SYS_BLOCK.iterdir() if disk_of(each.name) == each.name)
    if not disks:
        yield Finding("SMART", Verdict.OK, "no disk of this host has it (virtual disks, or none)")
    elif find_tool("smartctl") is None:
        yield Finding(
            "SMART",
            Verdict.LIMITED,
            "not installed: smartctl",
            f"A disk that says that it fails is not heard ({', '.join(disks)}).",
            "apt install --no-install-recommends smartmontools",
        )
    else:
        found = f"smartctl asks {', '.join(disks)}, where a volume lies there"
        yield Finding("SMART", Verdict.OK, found)
