"""A volume whose writes are kept, somebody who writes, and what the script makes of a copy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from holdfast.errors import HoldfastError
from holdfast.gate.runtime.shared_page import read_counters
from holdfast.service import Holdfast, NewVolume
from tests.kernel.volume.stack import SIZE
from tests.waiting import wait_until

SMALLEST_XFS_BYTES = 300 << 20
"""mkfs.xfs makes none that is smaller."""
SCRIPT = Path(__file__).parents[3] / "docs" / "read_history.py"


@contextmanager
def made(
    holdfast: Holdfast,
    folder: Path,
    name: str = "shop",
    hang_timeout_seconds: float = 10.0,
    filesystem: str = "ext4",
) -> Iterator[Path]:
    """A volume with one leg, where it is mounted; deleted afterwards.

    On a busy host a thread may get no processor for seconds, which is not to look like storage that
    hangs: who lets storage hang says after how long that counts.
    """
    mount = folder / f"mnt-{name}"
    holdfast.create_volume(
        NewVolume(
            name=name,
            size_bytes=SIZE if filesystem == "ext4" else SMALLEST_XFS_BYTES,
            mount_path=str(mount),
            leg_urls=(f"file:{folder}/{name}.img",),
            filesystem=filesystem,
            hang_timeout_seconds=hang_timeout_seconds,
        )
    )
    try:
        yield mount
    finally:
        with suppress(HoldfastError):
            holdfast.attach_volume(name)
        holdfast.delete_volume(name)


class WritingThread:
    """Somebody who writes and syncs all the time, from `with` to its end. An error at it is an
    error of the test."""

    def __init__(self) -> None:
        self.written = 0
        self.error: OSError | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def write_next(self) -> None:
        """Write something that is durable on return; `written` are before it. Raises OSError."""
        raise NotImplementedError

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self.write_next()
            except OSError as error:
                self.error = error
                return
            self.written += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self.error is None

    def go_on(self, more: int = 5) -> None:
        """Until it has written so many more."""
        until = self.written + more
        wait_until(lambda: self.written >= until or self.error is not None)


class Writer(WritingThread):
    """Writes whole files."""

    def __init__(self, mount: Path) -> None:
        super().__init__()
        self.mount = mount

    def write_next(self) -> None:
        write(self.mount, self.written)


def write(mount: Path, number: int) -> None:
    with (mount / f"file-{number % 20}").open("wb") as file:
        file.write(os.urandom(1000 + number % 50 * 1000))
        file.flush()
        os.fsync(file.fileno())


def kill(worker_pid: int) -> None:
    """Unless it was succeeded before."""
    with suppress(ProcessLookupError):
        os.kill(worker_pid, signal.SIGKILL)


def succeed(run_directory: Path) -> None:
    """The worker is killed, and the next one serves."""
    before = read_counters(run_directory)
    assert before is not None
    kill(before.worker_pid)

    def is_there() -> bool:
        now = read_counters(run_directory)
        return now is not None and now.takeovers > before.takeovers

    wait_until(is_there)


def script(history: Path, image: Path, begin: int, to: int | None = None) -> int:
    asked = [] if to is None else ["--to", str(to)]
    command = [sys.executable, SCRIPT, history, image, "--from", str(begin), *asked]
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode
