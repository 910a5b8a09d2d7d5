"""Finds bytes in a process's executable memory that nothing uses.

The zeros behind the last instruction of an executable mapping, up to the end of its page, are never
executed: they pad the file. The vDSO comes first: every process has it, and it is on no volume.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.applications.rebind.harbour import PAGE, SLACK_BYTES
from holdfast.errors import Refused

_MARGIN_BYTES = 64


def find_slack(pid: int, memory: int) -> int:
    """Address of SLACK_BYTES unused executable bytes. Raises Refused when there are none.

    `memory`: a descriptor of /proc/PID/mem of the stopped process.
    """
    executable = [line for line in _maps(pid) if line.split(" ", 2)[1] == "r-xp"]
    for line in sorted(executable, key=lambda line: not line.endswith("[vdso]")):
        end = int(line.split(" ", 1)[0].partition("-")[2], 16)
        try:
            page = os.pread(memory, PAGE, end - PAGE)
        except OSError:
            continue  # beyond the end of its file
        used = len(page.rstrip(b"\0"))
        start = (used + _MARGIN_BYTES + 15) // 16 * 16
        if used and start + SLACK_BYTES <= len(page):
            return end - PAGE + start
    raise Refused(
        f"process {pid} has no room for a system call of ours in its executable memory",
        "Stop this process, or see holdfast explain.",
    )


def _maps(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/maps").read_text().splitlines()
