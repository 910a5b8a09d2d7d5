"""A power cut, seen from the storage: the containers as they were at one instant.

Several files cannot be read at one instant while somebody writes to them, so everyone who writes is
stopped first: the gate's keeper and worker get SIGSTOP, and the copy begins when every thread of
theirs is stopped. SIGSTOP takes effect on the way back to user mode, so a write that was in flight
has ended then, and no new one can begin: the copy shows all containers, the journal and gate.json
at the same instant, at an arbitrary point between two system calls of the gate.

What is lost, as with real power: the page cache of the volume's own file system (it lies above the
gate and is never copied), and everything in the memory of gate and applications. What is not lost:
writes that a container took and that were not flushed. The gate writes with O_DIRECT, and on a
tmpfs the page cache is the medium. Loss of a disk's volatile cache is the other half of a power
cut; `FuseLeg.volatile` and `FuseLeg.crash` inject it.

The copies carry the same volume id and the same file-system UUID as the original: detach or kill
the original before they are attached (xfs and btrfs refuse two of one UUID).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

STOP_TIMEOUT_SECONDS = 10.0


class PowerCut:
    """Copies of `sources` (files or directories) under `destination`, all of one instant."""

    def __init__(self, sources: Sequence[Path], destination: Path) -> None:
        self.sources = sources
        self.destination = destination

    def copy(self, process_ids: Iterable[int]) -> list[Path]:
        """Stop the writers (given processes and their children), copy, let them continue."""
        self.destination.mkdir(parents=True, exist_ok=True)
        copies = [self.destination / source.name for source in self.sources]
        if len(set(copies)) != len(copies):
            raise ValueError("two sources have the same name")
        with stopped(process_ids):
            for source in self.sources:
                command = ["cp", "--archive", "--reflink=auto", "--sparse=always"]
                subprocess.run([*command, str(source), str(self.destination)], check=True)
        return copies


@contextlib.contextmanager
def stopped(process_ids: Iterable[int]) -> Iterator[tuple[int, ...]]:
    """Every thread of these processes and of their children is stopped inside the block.

    Raises TimeoutError when one does not stop (it hangs in the kernel); all continue then.
    """
    halted: list[int] = []
    try:
        waiting = list(process_ids)
        while waiting:
            process_id = waiting.pop(0)
            if process_id in halted:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGSTOP)
                halted.append(process_id)
                wait_until_stopped(process_id)
                # Read only now: a stopped process makes no more children.
                waiting += _children(process_id)
        yield tuple(halted)
    finally:
        for process_id in reversed(halted):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGCONT)


def _children(process_id: int) -> list[int]:
    children: list[int] = []
    for thread in Path(f"/proc/{process_id}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            children += map(int, thread.read_text().split())
    return children


def wait_until_stopped(process_id: int) -> None:
    """Block until every thread is stopped (SIGSTOP acts a moment later). Raises TimeoutError."""
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    while not all(state in "TtZX" for state in _thread_states(process_id)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {process_id} does not stop")
        time.sleep(0.0005)


def _thread_states(process_id: int) -> list[str]:
    states = []
    for thread in Path(f"/proc/{process_id}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            states.append(thread.read_text().rpartition(")")[2].split()[0])
    return states
