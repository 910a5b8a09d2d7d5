"""While it serves as ever, a worker starts no thread and maps no memory: what it needs is there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.front.serving import FEWEST
from holdfast.gate.members.superblock import SLOT_BYTES, SLOTS
from holdfast.gate.processes.preparing import STACK_BYTES
from holdfast.gate.runtime import shared_page
from tests.kernel.volume.stack import volume, wish
from tests.resume.killing import counters, kill_worker
from tests.waiting import wait_until

ROUNDS = 3
"""Of what it does once a second, counted by the superblocks that are written for it."""


@pytest.mark.parametrize("takes_over", [False, True])
def test_same_threads_and_maps(
    holdfast_home: Path, disk_directory: Path, *, takes_over: bool
) -> None:
    """Of the first worker, and of one that stood by."""
    settings = Settings()
    with volume(settings, wish(disk_directory)) as made:
        run_directory = settings.gate_run_directory(made.name)
        if takes_over:
            page = shared_page.open_page(run_directory)
            wait_until(lambda: shared_page.announced_standby(page) != (0, 0))
            kill_worker(run_directory)
        image = Path(made.leg_urls[0].removeprefix("file:"))
        file = os.open(f"{made.mount.path}/file", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _serve(file, image, run_directory)  # whatever is made at the first use
            before = _maps(run_directory)
            threads = _threads(run_directory)
            assert _serve(file, image, run_directory) == threads
            assert _maps(run_directory) == before
        finally:
            os.close(file)


def test_stacks_are_small(holdfast_home: Path, disk_directory: Path) -> None:
    """Of every thread, as all of it is locked in memory; the main thread's grows on demand."""
    settings = Settings()
    with volume(settings, wish(disk_directory)) as made:
        run_directory = settings.gate_run_directory(made.name)
        pid = counters(run_directory).worker_pid
        sizes = {}
        for thread in _threads(run_directory) - {str(pid)}:
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                sizes[thread] = _stack_bytes(pid, thread)
        assert len(sizes) >= FEWEST, "those that serve stay"
        assert max(sizes.values()) <= STACK_BYTES, sizes


def _stack_bytes(pid: int, thread: str) -> int:
    """Length of the map that the thread's stack pointer is in (proc_pid_syscall(5))."""
    words: list[str] = []

    def waits() -> bool:
        words[:] = Path(f"/proc/{pid}/task/{thread}/syscall").read_text().split()
        return len(words) > 1

    wait_until(waits)
    pointer = int(words[-2], 16)
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        begin, end = (int(word, 16) for word in line.split()[0].split("-"))
        if begin <= pointer < end:
            return end - begin
    raise AssertionError("no stack")


def _serve(file: int, image: Path, run_directory: Path) -> set[str]:
    """Have requests served until so many rounds are through; every thread that was seen."""
    seen = set()
    for _ in range(ROUNDS):
        slots = _slots(image)

        def through(slots: bytes = slots) -> bool:
            os.pwrite(file, os.urandom(4096), 0)
            os.fsync(file)
            seen.update(_threads(run_directory))
            return _slots(image) != slots

        wait_until(through)
    return seen


def _slots(image: Path) -> bytes:
    """Both superblocks, at the end of an image."""
    with image.open("rb") as file:
        file.seek(-SLOTS * SLOT_BYTES, os.SEEK_END)
        return file.read()


def _threads(run_directory: Path) -> set[str]:
    return {
        path.name for path in Path(f"/proc/{counters(run_directory).worker_pid}/task").iterdir()
    }


def _maps(run_directory: Path) -> list[str]:
    """The addresses of all that the worker has mapped."""
    text = Path(f"/proc/{counters(run_directory).worker_pid}/maps").read_text()
    return [line.split(maxsplit=1)[0] for line in text.splitlines()]
