"""A server with its socket on the volume is migrated, and reached by the same name as before."""

from __future__ import annotations

import socket
from pathlib import Path

from holdfast.service import Holdfast, MigrateRequest
from tests.kernel.restoration.test_refused import adopted, program

__all__ = ["adopted"]

SERVER = """
import socket, threading
s = socket.socket(socket.AF_UNIX)
s.bind('here')
s.listen()
def serve():
    while True:
        with s.accept()[0] as a:
            a.sendall(b'served')
threading.Thread(target=serve, daemon=True).start()
"""


def asked(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        return client.recv(9)


def test_migrated(adopted: tuple[Holdfast, Path], ram_directory: Path) -> None:
    holdfast, path = adopted
    with program(SERVER, path):
        assert asked(path / "here") == b"served"
        holdfast.restorations.migrate(MigrateRequest("data", (f"file:{ram_directory}/2.img",)))
        assert asked(path / "here") == b"served"
        assert not list(path.glob(".holdfast*"))
