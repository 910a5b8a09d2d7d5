"""Maps with a protection key (pkeys(7)) have it again, whoever finishes the move."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from holdfast.applications.rebind.rebind import Rebind
from holdfast.errors import Blocked
from holdfast.model.handle import HandleOutcome
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

PROGRAM = """
import ctypes, mmap, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
file = os.open(sys.argv[1] + "/file", os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 16384)
key = libc.pkey_alloc(0, 0)
assert key > 0, "no key"
held, at = {}, {}
for name, flags, protection in (
    ("shared", mmap.MAP_SHARED, 3),
    ("private", mmap.MAP_PRIVATE, 3),
    ("code", mmap.MAP_PRIVATE, 4),
):
    held[name] = mmap.mmap(file, 16384, flags=flags)
    at[name] = ctypes.addressof(ctypes.c_char.from_buffer(held[name]))
    held[name][0:4] = name.encode()[:4]
    place = ctypes.c_void_p(at[name])
    assert libc.mlock(place, ctypes.c_size_t(16384)) == 0
    used = libc.pkey_mprotect(place, ctypes.c_size_t(16384), protection, key)
    assert used == 0, ctypes.get_errno()
os.close(file)
if "own" in sys.argv:
    place = ctypes.c_void_p(at["code"])
    assert libc.mprotect(place, ctypes.c_size_t(16384), 4) == 0
if "freed" in sys.argv:
    assert libc.pkey_free(key) == 0
def dies(name):
    child = os.fork()
    if child == 0:
        libc.pkey_set(key, 1)  # PKEY_DISABLE_ACCESS
        held[name][0]
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGSEGV
print("ready", flush=True)
for line in sys.stdin:
    right = held["shared"][0:4] == b"shar" and held["private"][0:4] == b"priv"
    print("ok" if right and dies("shared") and dies("private") else "bad", flush=True)
"""


@pytest.fixture(autouse=True)
def has_keys() -> None:
    if not re.search(r"^flags\s.*\bospke\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
        pytest.skip("this processor has no protection keys")


def keys(pid: int) -> list[str]:
    """Of each map of the file: address, protection, key, and whether it is locked."""
    text = Path(f"/proc/{pid}/smaps").read_text()
    maps = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.MULTILINE)
    found = []
    for each in maps:
        if "/file\n" in each:
            lines = re.findall(r"^(?:[0-9a-f]+-[0-9a-f]+ \S+|ProtectionKey: +\d+)", each, re.M)
            found.append(" ".join(lines) + (" lo" if " lo" in each.split("VmFlags")[1] else ""))
    return found


def test_they_have_it_again(bench: Bench, start: Hold) -> None:
    program = start(sys.executable, "-c", PROGRAM, bench.path)
    before = keys(program.pid)
    assert len(before) == 3
    assert all("ProtectionKey: 0" not in " ".join(each.split()) for each in before)
    assert [each.split()[1] for each in before].count("--xp") == 1
    for filesystem in ("xfs", "ext4"):
        assert {line.outcome for line in bench.move(filesystem)} == {HandleOutcome.IDENTICAL}
        assert keys(program.pid) == before
        program.verify()
    bench.die_parked(60)
    rebind = Rebind.regain(bench.record)
    assert rebind is not None
    bench.move_here(rebind, same_inodes=True)
    assert keys(program.pid) == before
    program.verify()


@pytest.mark.parametrize("word", ["freed", "own"])
def test_one_that_nobody_can_give_it_again(bench: Bench, start: Hold, word: str) -> None:
    """Freed while it is in use, or the kernel's own: found when all stand, and nothing is done."""
    program = start(sys.executable, "-c", PROGRAM, bench.path, word)
    before = keys(program.pid)
    rebind = bench.rebind()
    rebind.stop()
    with pytest.raises(Blocked, match=r"map .*/file: its protection key"):
        rebind.park()
    assert not bench.record.exists()
    assert keys(program.pid) == before
    if word == "own":
        program.verify()
