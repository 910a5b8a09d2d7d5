"""Take the host's memory away: `MemoryHog`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

_PROGRAM = """
import mmap, sys
block = mmap.mmap(-1, int(sys.argv[1]), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for offset in range(0, len(block), 4096):
    block[offset] = 1
print("full", flush=True)
sys.stdin.read()
"""


class MemoryHog:
    """A process that holds `size_bytes` of touched memory; the first one the kernel may kill.

    `prefix`: words before the command, e.g. to start it in a control group.
    """

    def __init__(self, size_bytes: int, prefix: Sequence[str] = ()) -> None:
        self.size_bytes = size_bytes
        self.prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [*self.prefix, sys.executable, "-c", _PROGRAM, str(self.size_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with open(f"/proc/{self._process.pid}/oom_score_adj", "w") as file:
            file.write("1000")
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()
        self._process = None

    @property
    def killed(self) -> bool:
        """Whether the kernel's memory killer ended it."""
        return self._process is not None and self._process.poll() is not None


def available_bytes() -> int:
    """MemAvailable of this host."""
    with open("/proc/meminfo") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/meminfo has no MemAvailable")
