"""A map that was locked with a right that its process has given up is kept, without the lock."""

from __future__ import annotations

import sys

from holdfast.model.handle import HandleKind, HandleOutcome
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

CODE = """
import ctypes, mmap, os, resource, sys
libc = ctypes.CDLL(None)
for name, letter in (("locked", b"a"), ("other", b"b")):
    with open(f"{sys.argv[1]}/{name}", "wb") as file:
        file.write(letter * 65536)
with open(f"{sys.argv[1]}/locked", "r+b") as file:
    locked = mmap.mmap(file.fileno(), 65536)
with open(f"{sys.argv[1]}/other", "r+b") as file:
    other = mmap.mmap(file.fileno(), 65536, flags=mmap.MAP_PRIVATE)
other[0:1] = b"c"
address = ctypes.addressof(ctypes.c_char.from_buffer(locked))
assert libc.mlock(ctypes.c_void_p(address), 65536) == 0
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
os.setresuid(65534, 65534, 65534)
print("ready", flush=True)
for line in sys.stdin:
    right = locked[:] == b"a" * 65536 and other[:] == b"c" + b"b" * 65535
    print("ok" if right else "bad", flush=True)
"""


def test_its_maps_are_there(bench: Bench, start: Hold) -> None:
    bench.path.chmod(0o755)  # nobody but root can have named what the process may not open any more
    program = start(sys.executable, "-c", CODE, bench.path)
    program.verify()
    lines = bench.move("xfs")
    program.verify()
    assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}
    (locked,) = [
        line
        for line in lines
        if line.handle.kind is HandleKind.MAP and line.handle.path.endswith("locked")
    ]
    assert "not locked" in locked.note
