"""Claim: after a restore each handle has an outcome; only those of missing files return errors."""

from __future__ import annotations

import os
import sys

from holdfast.service import Holdfast, RestoreRequest
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

READER = """
import os, sys
files = {name: os.open(name, os.O_RDWR) for name in ("same", "older", "missing")}
for descriptor in files.values():
    os.lseek(descriptor, 4, os.SEEK_SET)
print("ready", flush=True)
for line in sys.stdin:
    try:
        print(os.read(files[line.strip()], 100).decode(), flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""


def test_each_handle_has_an_outcome(adopted: Holdfast, bench: Bench, start: Hold) -> None:
    backup = bench.folder / "backup"
    backup.mkdir()
    for name in ("same", "older", "missing"):
        (bench.path / name).write_text(f"now {name}")
    for name, text in (("same", "now same"), ("older", "old older")):
        (backup / name).write_text(text)
    stamp = (bench.path / "same").stat()
    os.utime(backup / "same", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    program = start(sys.executable, "-c", READER, cwd=bench.path)
    receipt = adopted.restorations.restore(RestoreRequest("data", str(backup)))
    assert receipt is not None
    (told,) = receipt.processes
    assert told["handles"]["file"] == {"identical": 1, "rolled-back": 1, "file-missing": 1}
    assert program.ask("same") == "same"
    assert program.ask("older") == "older"
    assert program.ask("missing") == os.strerror(107)  # ENOTCONN
    assert program.ask("older") == ""
    assert program.process.poll() is None
