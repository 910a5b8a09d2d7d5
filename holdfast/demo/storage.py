"""The storage below the demo's volume: plain images, and images behind storage servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from holdfast.containers import image_url
from holdfast.errors import CommandFailed
from holdfast.system.fuse import wire
from holdfast.system.mounts.mount_table import mount_at


class Storage:
    """One container in a folder of its own, by letter: an image file on a local disk."""

    kind = "a local disk"

    def __init__(self, home: Path, letter: str) -> None:
        self.letter = letter
        self.folder = home / f"storage-{letter}"
        self.folder.mkdir()
        self.image = self.folder / "leg.img"

    def __str__(self) -> str:
        return f"storage {self.letter}"

    @property
    def url(self) -> str:
        """The container's URL."""
        return image_url(self.image)


class ServedStorage(Storage):
    """An image that is reached through a storage server: a process that can hang and die."""

    kind = "a storage server"

    def __init__(self, home: Path, letter: str, size_bytes: int) -> None:
        super().__init__(home, letter)
        self.path = self.folder / "served.img"
        self._server: subprocess.Popen[bytes] | None = None
        with self.image.open("wb") as file:
            file.truncate(size_bytes)
        self.path.touch()

    @property
    def url(self) -> str:
        """The container's URL."""
        return image_url(self.path)

    @property
    def process_id(self) -> int:
        """The server's process."""
        if self._server is None:
            raise CommandFailed(f"the server of {self} does not run")
        return self._server.pid

    def start(self) -> None:
        """Start the server (again). It serves when this returns; who had it open, stays cut off."""
        while mount_at(self.path) is not None:
            wire.unmount_file(self.path, lazy=True)
        self._server = subprocess.Popen(
            [
                *(sys.executable, "-m", "holdfast.demo.storage_server"),
                *(str(self.image), str(self.path)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd="/",
            start_new_session=True,  # Ctrl-C is meant for the demo
        )
        assert self._server.stdout is not None
        with self._server.stdout as words:
            if not words.readline():
                raise CommandFailed(f"the server of {self} ended: {self._server.wait()}")

    def freeze(self) -> None:
        """SIGSTOP: it takes requests and answers none, as a hung server does."""
        os.kill(self.process_id, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.process_id, signal.SIGCONT)

    def die(self) -> None:
        """SIGKILL: whoever uses it gets ENOTCONN at once."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()
        self._server = None
