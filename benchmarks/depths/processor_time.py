"""Who used the processors while a load ran, beside fio, which tells of itself.

Told apart are the server's processes (for Holdfast: keeper and worker, all threads) and the host's
kernel threads: a loop device's work is done by some that belong to nobody in particular, so all
count, and the figure means something on a quiet host. Interrupts are in neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.system.proc_text import parse_stat

_PROC = Path("/proc")


@dataclass(frozen=True)
class Spent:
    """Processor time in microseconds."""

    server_us: float
    kernel_us: float


@dataclass(frozen=True)
class Reading:
    """Processor time so far, by thread."""

    server_ns: dict[int, int]
    kernel_ns: dict[int, int]

    def since(self, before: Reading) -> Spent:
        """A thread that ended in between is not in."""
        return Spent(
            _grown(before.server_ns, self.server_ns) / 1000,
            _grown(before.kernel_ns, self.kernel_ns) / 1000,
        )


def read(servers: Iterable[int]) -> Reading:
    """Now. `servers` are processes, of which all threads count."""
    threads = [task for pid in servers for task in (_PROC / f"{pid}/task").iterdir()]
    return Reading(_used_ns(threads), _used_ns(_kernel_threads()))


def _kernel_threads() -> Iterator[Path]:
    """All that can be seen: none in a container."""
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError, ValueError):
                if parse_stat((folder / "stat").read_bytes()).kernel_thread:
                    yield folder


def _used_ns(threads: Iterable[Path]) -> dict[int, int]:
    used = {}
    for thread in threads:
        with suppress(OSError):
            used[int(thread.name)] = int((thread / "schedstat").read_text().split()[0])
    return used


def _grown(before: dict[int, int], after: dict[int, int]) -> int:
    return sum(now - before.get(thread, 0) for thread, now in after.items())
