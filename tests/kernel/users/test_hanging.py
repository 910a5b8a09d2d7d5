"""A dead or hung volume blocks nobody who looks for its users, and its users are found."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.applications.users import busy_processes
from holdfast.model.handle import HandleKind
from tests.faults.mounting import unmount
from tests.kernel.users.programs import STAY, mounts_at, users_at

LONGEST_SECONDS = 20.0
"""Far more than it takes, far less than for ever."""

SERVER = """
import os, struct, sys
from pathlib import Path
from tests.faults.mounting import mount
connection = os.open('/dev/fuse', os.O_RDWR)
options = f'fd={connection},rootmode=40000,user_id=0,group_id=0,allow_other'
mount('hanging', Path(sys.argv[1]), 'fuse.hanging', options)
print('ready', flush=True)

def attributes(node):
    mode = 0o40755 if node == 1 else 0o100644
    return struct.pack('<6Q10I', node, 4096, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

while True:
    try:
        request = os.read(connection, 1 << 20)
    except OSError:
        break
    _, operation, unique, node = struct.unpack_from('<IIQQ', request)
    answer = b''
    if operation in (2, 36, 42):  # FORGET, INTERRUPT, BATCH_FORGET
        continue
    if operation == 26:  # INIT
        answer = struct.pack('<IIIIHHIIHHI28x', 7, 31, 0, 0, 64, 48, 65536, 1, 16, 0, 0)
    elif operation == 1:  # LOOKUP; nothing may be remembered: a look would ask again
        answer = struct.pack('<4Q2I', 2, 0, 0, 0, 0, 0) + attributes(2)
    elif operation == 3:  # GETATTR
        answer = struct.pack('<QII', 0, 0, 0) + attributes(node)
    elif operation in (14, 27):  # OPEN, OPENDIR
        answer = struct.pack('<QII', 0, 0, 0)
    elif operation == 15:  # READ
        answer = b'x' * 4096
    os.write(connection, struct.pack('<IiQ', 16 + len(answer), 0, unique) + answer)
"""

USER = """
import mmap, os, sys
point = sys.argv[1]
f = os.open(point + '/f', os.O_RDONLY)
m = mmap.mmap(f, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ)
d = os.open(point, os.O_RDONLY | os.O_DIRECTORY)
os.chdir(point)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A FUSE file system with one file, and its server."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield folder, process
    process.kill()
    process.wait()
    with suppress(OSError):
        unmount(folder)


@pytest.fixture
def user(server: tuple[Path, subprocess.Popen[bytes]]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", USER + STAY, str(server[0])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield process
    server[1].kill()  # what hangs in the user ends with the connection
    process.kill()
    process.wait()


@pytest.mark.parametrize("fault", ["killed", "stopped"])
def test_users_are_found(
    fault: str, server: tuple[Path, subprocess.Popen[bytes]], user: subprocess.Popen[bytes]
) -> None:
    folder, process = server
    if fault == "killed":
        process.kill()
        process.wait()
    else:
        os.kill(process.pid, 19)
    begun = time.monotonic()
    found = users_at(folder)
    busy = busy_processes(mounts_at(folder))
    assert time.monotonic() - begun < LONGEST_SECONDS
    assert user.pid in busy
    kinds = [handle.kind for handle in found[user.pid].handles if handle.kind is not HandleKind.MAP]
    assert sorted(set(kinds)) == [
        HandleKind.DIRECTORY,
        HandleKind.FILE,
        HandleKind.WORKING_DIRECTORY,
    ]
    maps = [each for each in found[user.pid].handles if each.kind is HandleKind.MAP]
    assert {each.inside for each in maps} == {"f"}
    assert os.getpid() not in found
