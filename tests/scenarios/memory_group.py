"""A control group with little memory: `MemoryGroup`. Version 2 where it is in charge, else 1."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from holdfast.system.proc_text import parse_control_groups

_UNIFIED = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
_VERSION_1 = Path("/sys/fs/cgroup/memory")


class MemoryGroup:
    """Processes that share `limit_bytes`, page cache included. Skips where the host has none."""

    def __init__(self, name: str, limit_bytes: int) -> None:
        unified = next((path for path in _UNIFIED if _has_memory(path)), None)
        if unified is not None:
            self.path, self._limit = unified / name, "memory.max"
            self._peak = "memory.peak"
            (unified / "cgroup.subtree_control").write_text("+memory")
        elif (_VERSION_1 / "memory.limit_in_bytes").exists():
            self.path, self._limit = _VERSION_1 / name, "memory.limit_in_bytes"
            self._peak = "memory.max_usage_in_bytes"
        else:
            pytest.skip("this host has no memory controller")
        self.limit_bytes = limit_bytes

    def __enter__(self) -> Self:
        self.path.mkdir()
        (self.path / self._limit).write_text(str(self.limit_bytes))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        parent = self.path.parent / "cgroup.procs"
        deadline = time.monotonic() + 10.0
        while True:
            for pid in self.members():
                parent.write_text(str(pid))
            try:
                self.path.rmdir()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def members(self) -> list[int]:
        """Processes in the group."""
        return [int(line) for line in (self.path / "cgroup.procs").read_text().split()]

    def add(self, pid: int) -> None:
        """Move a process; what it allocates from now on counts here."""
        (self.path / "cgroup.procs").write_text(str(pid))

    @contextmanager
    def joined(self) -> Iterator[None]:
        """This process is in it meanwhile: what it starts is born here."""
        text = Path("/proc/self/cgroup").read_bytes()
        home = next(
            path
            for number, controllers, path in parse_control_groups(text)
            if (
                number == "0" if self._limit == "memory.max" else "memory" in controllers.split(",")
            )
        )
        self.add(os.getpid())
        try:
            yield
        finally:
            (self.path.parent / home.strip("/") / "cgroup.procs").write_text(str(os.getpid()))

    @property
    def prefix(self) -> list[str]:
        """Words before a command that is to run inside from its first instruction on."""
        return ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.path)]

    def peak_bytes(self) -> int:
        """The most that was ever in use."""
        return int((self.path / self._peak).read_text())


def _has_memory(path: Path) -> bool:
    controllers = path / "cgroup.controllers"
    return controllers.exists() and "memory" in controllers.read_text().split()
