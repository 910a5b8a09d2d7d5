"""A leg served by programs we did not write: nbdkit with its error filter under nbdfuse."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.mounting import unmount

START_TIMEOUT_SECONDS = 10.0


class NbdLeg:
    """`path` shows `image` through nbdkit and nbdfuse; `failing(True)` makes requests fail.

    `error_options` are those of nbdkit-error-filter(1), e.g. `error-pwrite-rate=100%`.
    """

    def __init__(
        self,
        image: Path,
        path: Path,
        size_bytes: int | None = None,
        error_options: tuple[str, ...] = ("error=EIO", "error-rate=100%"),
    ) -> None:
        self.image = image
        self.path = path
        self._socket = path.with_name(path.name + ".socket")
        self._trigger = path.with_name(path.name + ".failing")
        self._error_options = error_options
        self._processes: list[subprocess.Popen[bytes]] = []
        if not image.exists():
            if size_bytes is None:
                raise ValueError(f"{image} does not exist and no size was given")
            with image.open("wb") as file:
                file.truncate(size_bytes)
        path.touch(exist_ok=True)

    @property
    def url(self) -> str:
        """The container's URL."""
        return f"file:{self.path}"

    def __enter__(self) -> Self:
        try:
            server = ["nbdkit", "--foreground", f"--unix={self._socket}", "--filter=error"]
            server += ["file", str(self.image), *self._error_options]
            self._start([*server, f"error-file={self._trigger}"])
            self._wait(self._socket.exists)
            self._start(["nbdfuse", str(self.path), f"nbd+unix:///?socket={self._socket}"])
            self._wait(lambda: self.path.stat().st_size == self.image.stat().st_size)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while unmount(self.path):
            pass
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        self._processes.clear()
        self._socket.unlink(missing_ok=True)
        self._trigger.unlink(missing_ok=True)

    def failing(self, enabled: bool) -> None:
        """From now on requests fail, or no longer."""
        if enabled:
            self._trigger.touch()
        else:
            self._trigger.unlink(missing_ok=True)

    def kill(self) -> None:
        """The NBD server is gone; nbdfuse answers with errors."""
        self._processes[0].kill()
        self._processes[0].wait()

    def _start(self, command: list[str]) -> None:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        self._processes.append(process)

    def _wait(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            with contextlib.suppress(OSError):
                if ready():
                    return
            if time.monotonic() > deadline or self._processes[-1].poll() is not None:
                raise TimeoutError(f"{self._processes[-1].args!r} did not start")
            time.sleep(0.01)
