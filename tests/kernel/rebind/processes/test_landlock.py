"""A process that has confined itself with Landlock would lose what its rules permit it."""

from __future__ import annotations

import sys

import pytest

from holdfast.errors import Blocked
from holdfast.system.processes.landlock import has_landlock
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

PROGRAM = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
file = os.open(sys.argv[1] + "/file", os.O_RDWR | os.O_CREAT)
READ_FILE, READ_DIR = 1 << 2, 1 << 3
if sys.argv[2] == "confined":
    ruleset = libc.syscall(444, struct.pack("=Q", READ_FILE | READ_DIR), ctypes.c_size_t(8), 0)
    place = os.open(sys.argv[1], os.O_PATH)
    rule = struct.pack("=Qi", READ_FILE | READ_DIR, place)
    assert libc.syscall(445, ruleset, 1, rule, 0) == 0
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.syscall(446, ruleset, 0) == 0
    os.close(place)
print("ready", flush=True)
for line in sys.stdin:
    print(os.listdir(sys.argv[1]).count("file"), flush=True)
"""


@pytest.mark.skipif(not has_landlock(), reason="this kernel does not use Landlock")
def test_it_is_found_while_it_stands(bench: Bench, start: Hold) -> None:
    program = start(sys.executable, "-c", PROGRAM, bench.path, "confined")
    rebind = bench.rebind(refuses_confined=True)
    with pytest.raises(Blocked, match="Landlock"):
        rebind.stop()
    assert program.ask() == "1"


def test_others_are_none(bench: Bench, start: Hold) -> None:
    program = start(sys.executable, "-c", PROGRAM, bench.path, "free")
    rebind = bench.rebind(refuses_confined=True)
    rebind.stop()
    rebind.release()
    assert program.ask() == "1"
