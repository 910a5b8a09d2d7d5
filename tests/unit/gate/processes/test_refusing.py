"""What a keeper does while no worker can start ends in time, whatever the kernel asks meanwhile."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

from holdfast.gate.front.fuse_file import FuseFile
from holdfast.gate.processes.refusing import refuse_waiting
from holdfast.gate.runtime import shared_page
from holdfast.system.fuse import wire

_IN_HEADER = struct.Struct("=IIQQIIIHH")
"""struct fuse_in_header, <linux/fuse.h>."""


def test_a_question_is_answered_and_nothing_waited_for(tmp_path: Path) -> None:
    """`df` asks, and then nothing more comes: what reads there could never be interrupted."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    cells = memoryview(bytearray(shared_page.SIZE_BYTES)).cast("Q")
    with here, there:
        front = FuseFile.resume(tmp_path, here.fileno())
        there.send(_IN_HEADER.pack(40, wire.STATFS, 5, 1, 0, 0, 0, 0, 0).ljust(80, b"\0"))
        refusing = threading.Thread(target=refuse_waiting, args=(front, cells, 0.05), daemon=True)
        refusing.start()
        refusing.join(20)
        assert not refusing.is_alive()
        assert cells[shared_page.KEEPER_ERRORS] == 0
