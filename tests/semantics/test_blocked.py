"""Claim: what cannot be moved is named beforehand, and then nothing at all is touched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from holdfast.errors import Blocked
from holdfast.service import Holdfast, MigrateRequest
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold
from tests.kernel.rebind.traces import Traces

IN_THE_WAY = {
    "socket": "held = socket.socketpair(type=socket.SOCK_DGRAM); held[0].bind('x')",
    "device": "os.mknod('x', 0o20600, os.makedev(1, 11)); held = os.open('x', 0)",
    "root": "os.chroot('.'); os.setresuid(65534, 65534, 65534)",
    "device mapped": "import mmap; os.mknod('x', 0o20600, os.makedev(1, 5));"
    "held = mmap.mmap(os.open('x', os.O_RDWR), 4096, mmap.MAP_PRIVATE)",
    "fanotify permission": "held = libc.fanotify_init(4, 0); open('x', 'w').close();"
    "assert held >= 0 and libc.fanotify_mark(held, 1, ctypes.c_uint64(65536), -100, b'x') == 0",
    "map sealed": "import mmap; f = os.open('x', os.O_CREAT | os.O_RDWR); os.ftruncate(f, 4096);"
    "held = mmap.mmap(f, 4096); at = ctypes.addressof(ctypes.c_char.from_buffer(held));"
    "os.close(f); sealed = libc.syscall(462, ctypes.c_void_p(at), ctypes.c_size_t(4096), 0);"
    "assert sealed == 0, 'no mseal'",
    "map userfaultfd": "import fcntl, mmap, struct; f = os.open('x', os.O_CREAT | os.O_RDWR);"
    "os.ftruncate(f, 4096); held = mmap.mmap(f, 4096); os.close(f);"
    "at = ctypes.addressof(ctypes.c_char.from_buffer(held)); watch = libc.syscall(323, 1);"
    "fcntl.ioctl(watch, 0xC018AA3F, struct.pack('QQQ', 0xAA, 1 << 15 | 1 << 13, 0));"
    "fcntl.ioctl(watch, 0xC020AA00, struct.pack('QQQQ', at, 4096, 2, 0))",
    "registered io_uring": "ring = libc.syscall(425, 8, ctypes.create_string_buffer(120));"
    "f = os.open('x', os.O_CREAT | os.O_RDWR);"
    "assert libc.syscall(427, ring, 2, (ctypes.c_int * 1)(f), 1) == 0; os.close(f)",
}
"""Code that holds it, by the words that the refusal uses."""


def state_of_everything(bench: Bench, pids: tuple[int, ...]) -> object:
    """Of the processes, the mounts, and the files beside the volume."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines()
              if str(bench.folder) in line]  # fmt: skip
    files = sorted(str(path) for path in bench.folder.glob("*"))
    return [Traces.of(pid) for pid in pids], mounts, files


def is_refused(adopted: Holdfast, bench: Bench, pid: int, other: int, word: str) -> None:
    before = state_of_everything(bench, (pid, other))
    with pytest.raises(Blocked) as caught:
        adopted.restorations.migrate(
            MigrateRequest("data", (f"file:{bench.folder}/new.img",), filesystem="xfs")
        )
    assert caught.value.exit_status == 3
    assert str(pid) in caught.value.message
    assert word in caught.value.message
    assert state_of_everything(bench, (pid, other)) == before
    assert adopted.restorations.in_progress("data") is None
    assert adopted.receipts("data") == []


@pytest.mark.parametrize("what", IN_THE_WAY)
def test_nothing_is_touched(adopted: Holdfast, bench: Bench, start: Hold, what: str) -> None:
    code = (
        f"import ctypes, os, socket, sys; libc = ctypes.CDLL(None); os.chdir({str(bench.path)!r});"
        f"{IN_THE_WAY[what]}; print('ready', flush=True); sys.stdin.readline()"
    )
    holder = start(sys.executable, "-c", code)
    other = start("sh", "-c", "cd $0; exec 5>log; echo ready; read x; echo ok", bench.path)
    is_refused(adopted, bench, holder.pid, other.pid, what.split()[-1])
    assert other.ask() == "ok"
