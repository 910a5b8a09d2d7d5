"""Samba shares a volume that is migrated; a client has a file with an oplock open all the time."""

from __future__ import annotations

import os
import socket
import subprocess
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.moved.moving import (
    SHORT_WITH_COMMANDS,
    migration,
    move_under_load,
    run,
    started,
)
from tests.scenarios.moved.programs import free_port, needed
from tests.waiting import wait_until

USER, WORD = "nobody", "moved"
RECORD_BYTES = 4096
RECORDS_BETWEEN = 20
ANSWER_SECONDS = 60
CONFIGURATION = """
[global]
server role = standalone server
interfaces = 127.0.0.1
bind interfaces only = yes
smb ports = {port}
disable netbios = yes
load printers = no
passdb backend = tdbsam:{outside}/passwords.tdb
private dir = {outside}/private
lock directory = {outside}/lock
state directory = {outside}/state
cache directory = {outside}/cache
pid directory = {outside}/pid
ncalrpc dir = {outside}/rpc
log file = {outside}/smbd.log
log level = 1
oplocks = yes
kernel oplocks = yes
[share]
path = {volume}/share
read only = no
"""


class Client:
    """A connection, and a file with a batch oplock that stays open: records go in and come out."""

    def __init__(self, port: int) -> None:
        smb = pytest.importorskip("smbprotocol")
        from smbprotocol.connection import Connection
        from smbprotocol.session import Session
        from smbprotocol.tree import TreeConnect

        assert smb
        self.count = 0
        self._connection = Connection(uuid.uuid4(), "127.0.0.1", port)
        self._connection.connect(timeout=ANSWER_SECONDS)
        session = Session(self._connection, USER, WORD, require_encryption=False)
        session.connect()
        self._tree = TreeConnect(session, r"\\127.0.0.1\share")
        self._tree.connect(require_secure_negotiate=False)
        self._held = self._open("held", oplock=True)
        self.oplock = int(self._held.oplock_level)

    def _open(self, name: str, oplock: bool = False) -> Any:
        from smbprotocol import open as opening

        levels = opening.RequestedOplockLevel
        file = opening.Open(self._tree, name)
        file.create(
            opening.ImpersonationLevel.Impersonation,
            opening.FilePipePrinterAccessMask.GENERIC_READ
            | opening.FilePipePrinterAccessMask.GENERIC_WRITE
            | opening.FilePipePrinterAccessMask.DELETE,
            opening.FileAttributes.FILE_ATTRIBUTE_NORMAL,
            0 if oplock else opening.ShareAccess.FILE_SHARE_READ,
            opening.CreateDisposition.FILE_OVERWRITE_IF,
            opening.CreateOptions.FILE_NON_DIRECTORY_FILE,
            oplock_level=levels.SMB2_OPLOCK_LEVEL_BATCH
            if oplock
            else levels.SMB2_OPLOCK_LEVEL_NONE,
        )
        return file

    def load(self, done: Callable[[], bool]) -> None:
        """A record into the file that is held, and one into a file of its own, until it is time."""
        while not done():
            data = record(self.count)
            offset = self.count * RECORD_BYTES
            assert self._held.write(data, offset) == RECORD_BYTES
            assert self._held.read(offset, RECORD_BYTES) == data
            file = self._open(f"file-{self.count % 7}")
            assert file.write(data, 0) == RECORD_BYTES
            assert file.read(0, RECORD_BYTES) == data
            file.close()
            self.count += 1

    def close(self) -> None:
        """The file, then the connection."""
        self._held.close()
        self._connection.disconnect(close=True, timeout=ANSWER_SECONDS)


def record(number: int) -> bytes:
    """What record so and so is."""
    return f"{number} ".encode().ljust(RECORD_BYTES, b"x")


def test_the_oplock_stays(ram_directory: Path, run_holdfast: Callable[..., Any]) -> None:
    pytest.importorskip("smbprotocol")
    smbd, smbpasswd = needed("smbd", "smbpasswd")
    with migration(ram_directory, run_holdfast) as mover:
        share = mover.path / "share"
        share.mkdir()
        run("chown", USER, share)
        port = free_port()
        configuration = _configure(ram_directory / "samba", mover.path, port)
        subprocess.run(
            [smbpasswd, "-c", configuration, "-s", "-a", USER],
            input=f"{WORD}\n{WORD}\n",
            text=True,
            check=True,
            capture_output=True,
        )
        command = [smbd, "--foreground", "--no-process-group", f"--configfile={configuration}"]
        with started(command, cwd="/", stdin=subprocess.DEVNULL):
            wait_until(lambda: _connects(port))
            client = Client(port)
            assert client.oplock
            held = share / "held"
            assert _leases(held) == ["WRITE"]

            def working() -> None:
                before = client.count
                wait_until(lambda: client.count >= before + RECORDS_BETWEEN)

            moves = move_under_load(mover, client.load, working, SHORT_WITH_COMMANDS)
            assert all(any("smbd" in name for name in moved.processes) for moved in moves), moves
            assert _leases(held) == ["WRITE"]
            client.close()
            wait_until(lambda: _leases(held) == [])
            assert held.read_bytes() == b"".join(record(number) for number in range(client.count))


def _configure(outside: Path, volume: Path, port: int) -> Path:
    outside.mkdir()
    for name in ("private", "lock", "state", "cache", "pid", "rpc"):
        (outside / name).mkdir()
    configuration = outside / "smb.conf"
    configuration.write_text(CONFIGURATION.format(outside=outside, volume=volume, port=port))
    return configuration


def _connects(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _leases(path: Path) -> list[str]:
    """The types of the leases that somebody has on a file, as /proc/locks tells them."""
    status = path.stat()
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return [words[3] for words in lines if words[1] == "LEASE" and place in words]
