"""A leg image whose storage server misbehaves on command: `FuseLeg`."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.faults.mounting import unmount
from tests.faults.power_cut import wait_until_stopped

REPOSITORY = Path(__file__).parents[2]

EVERYTHING = ("read", "write", "flush", "discard", "resize", "open")
WRITING = ("write", "flush", "discard", "resize")


class FuseLeg:
    """`path` shows `image` through a server process of its own; use `url` as a leg.

    >>> with FuseLeg(directory / "leg.img", directory / "served.img") as leg:
    ...     leg.error(errno.EIO, on=("write",))
    """

    def __init__(
        self, image: Path, path: Path, size_bytes: int | None = None, *, user: int = 0
    ) -> None:
        """Serve `image` (created sparse with `size_bytes` when absent) at `path`.

        `user`: whose server it claims to be, as fusermount says of whoever calls it.
        """
        self._user = user
        self.image = image
        self.path = path
        self._server: subprocess.Popen[bytes] | None = None
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

    @property
    def process_id(self) -> int:
        """The server's process."""
        assert self._server is not None, "the server is not running"
        return self._server.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        while unmount(self.path):
            pass

    def start(self) -> None:
        """The server (again): mounts `path` anew; handles opened before stay dead (ENOTCONN)."""
        assert self._server is None, "the server runs already"
        while unmount(self.path):
            pass
        self._server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.faults.fuse_server",
                str(self.image),
                str(self.path),
                str(self._user),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            start_new_session=True,
        )
        self._answer()

    def kill(self) -> None:
        """The server dies (-9): whatever waits, and whatever comes, gets ENOTCONN."""
        if self._server is None:
            return
        self._server.kill()
        self._server.wait()
        for stream in (self._server.stdin, self._server.stdout):
            if stream:
                # A command that was never taken cannot be flushed any more.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._server = None

    def stop(self) -> None:
        """SIGSTOP: requests hang in the kernel's queue. The server is stopped on return."""
        os.kill(self.process_id, signal.SIGSTOP)
        wait_until_stopped(self.process_id)

    def resume(self) -> None:
        """SIGCONT after `stop`."""
        os.kill(self.process_id, signal.SIGCONT)

    def serve(self) -> dict[str, Any]:
        """No fault any more; requests kept by `hang` are performed now, late as they are."""
        return self._command(kind="serve")

    def serve_kept(
        self,
        fault: dict[str, Any] | None = None,
        only: int = 1 << 30,
        then: dict[str, Any] | None = None,
    ) -> None:
        """Answer so many of the requests kept by `hang`, as that fault says; later ones as `then`
        says, else they are served. Nothing comes in between."""
        self._command(kind="serve", kept_as=fault, only=only, then=then)

    def error(
        self,
        number: int = errno.EIO,
        on: Collection[str] = EVERYTHING,
        byte_range: tuple[int, int] | None = None,
    ) -> None:
        """Answer these kinds of request with an error; only those in `byte_range` if given."""
        self._command(kind="error", errno=number, on=list(on), range=byte_range)

    def read_only(self) -> None:
        """EROFS for everything that changes something."""
        self.error(errno.EROFS, on=WRITING)

    def full_after(self, allowance_bytes: int) -> None:
        """ENOSPC once so many bytes more were written."""
        self._command(
            kind="error", errno=errno.ENOSPC, on=["write"], allowance_bytes=allowance_bytes
        )

    def short(self, on: Collection[str] = ("read", "write")) -> None:
        """Only half of each transfer is done."""
        self._command(kind="short", on=list(on))

    def hang(self, on: Collection[str] = EVERYTHING) -> None:
        """Take these requests and answer none; whoever waits for them cannot be killed."""
        self._command(kind="hang", on=list(on))

    def delay(self, seconds: float, on: Collection[str] = ("read", "write", "flush")) -> None:
        """Answer these requests so much later, however many there are: a disk far away."""
        self._command(kind="delay", seconds=seconds, on=list(on))

    def volatile(self, enabled: bool = True) -> None:
        """Keep writes in memory until a flush, as a disk's cache does."""
        self._command(kind="volatile", enabled=enabled)

    def lose(self) -> None:
        """Unflushed writes are lost, as those are that a disk could not write; it goes on."""
        self._command(kind="lose")

    def crash(self, survival: float = 0.0, seed: int = 0) -> None:
        """Power loss of the storage: unflushed writes are lost, the server is gone.

        `survival`: the part of unflushed blocks that reached the medium all the same, at random.
        `start` brings the storage back.
        """
        server = self._server
        assert server is not None and server.stdin is not None
        server.stdin.write(json.dumps(_crash(survival, seed)).encode() + b"\n")
        server.stdin.flush()
        server.wait()
        self.kill()

    def counts(self) -> dict[str, int]:
        """Requests seen so far by kind: read, write, flush, discard, resize, open, other."""
        return dict(self._command(kind="counts")["counts"])

    def waiting(self) -> int:
        """Requests taken and not answered since `hang`."""
        return int(self._command(kind="counts")["kept"])

    def unflushed_blocks(self) -> int:
        """4 KiB blocks that a crash would lose now."""
        return int(self._command(kind="counts")["unflushed"])

    def _command(self, **command: Any) -> dict[str, Any]:
        assert self._server is not None and self._server.stdin is not None
        self._server.stdin.write(json.dumps(command).encode() + b"\n")
        self._server.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._server is not None and self._server.stdout is not None
        line = self._server.stdout.readline()
        if not line:
            raise RuntimeError(f"the server of {self.path} ended: {self._server.wait()}")
        return dict(json.loads(line))


def _crash(survival: float, seed: int) -> dict[str, Any]:
    return {"kind": "crash", "survival": survival, "seed": seed}
