"""A process that ran on at its deadline, with errors in place of files, is put right afterwards."""

from __future__ import annotations

import os
import sys

from holdfast.applications.rebind.rebind import Rebind
from holdfast.model.handle import HandleKind, HandleOutcome
from holdfast.mountpoints.capture import capture
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

CODE = """
import mmap, os, sys
folder = sys.argv[1]
os.chdir(folder)
file, other = (os.open(name, os.O_RDWR | os.O_CREAT) for name in ("file", "other"))
os.write(file, bytes(4096))
directory = os.open(".", os.O_RDONLY)
mapped = mmap.mmap(file, 4096)
print("ready", flush=True)
for line in sys.stdin:
    answer = []
    try:
        os.pwrite(file, b"x", 0)
    except OSError as error:
        answer.append("file")
        os.close(other)
        other = os.open("/dev/null", os.O_RDWR)
    if "file" not in os.listdir(directory):
        answer.append("directory")
    if "file" not in os.listdir("."):
        answer.append("cwd")
    if not answer and mapped[0:1] != b"x":
        answer.append("map")
    if os.readlink(f"/proc/self/fd/{other}") == "/dev/null":
        answer.append("replaced")
    print(" ".join(answer) or "ok", flush=True)
"""


def test_is_put_right(bench: Bench, start: Hold) -> None:
    """And what the program has opened in the meantime stays as it is."""
    program = start(sys.executable, "-c", CODE, bench.path)
    program.verify()
    bench.die_parked(12.0)  # everybody is to be parked by then, on a busy host, too
    assert program.ask() == "file directory cwd replaced"
    regained = Rebind.regain(bench.record)
    assert regained is not None
    bases = {point.id: os.open(bench.path, os.O_PATH) for point in capture(str(bench.path))}
    try:
        lines = regained.rebind(bases)
    finally:
        regained.release()
        for descriptor in bases.values():
            os.close(descriptor)
    assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}
    assert sorted(line.handle.kind for line in lines) == sorted(
        (*[HandleKind.FILE] * 2, HandleKind.DIRECTORY, HandleKind.WORKING_DIRECTORY, HandleKind.MAP)
    )
    assert program.ask() == "replaced"
    assert not bench.record.exists()
    assert Rebind.regain(bench.record) is None
