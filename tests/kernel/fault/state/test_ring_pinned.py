"""Fault: a write that waits for space keeps the log ring full; everything else is to go on."""

from __future__ import annotations

import errno
import mmap
import os
import re
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

from holdfast.config import Settings
from tests.kernel.fault.bench import Bench, fuse_leg
from tests.waiting import wait_until

SIZE = 256 << 20


def place_of(path: Path) -> int:
    """Offset on the volume of a file's first extent."""
    said = subprocess.run(["filefrag", "-v", str(path)], check=True, capture_output=True, text=True)
    found = re.search(r"^\s*0:\s+\d+\.\.\s*\d+:\s+(\d+)\.\.", said.stdout, re.M)
    assert found, said.stdout
    return int(found[1]) * 4096


def test_reads_and_discards_go_on(settings: Settings, ram_directory: Path) -> None:
    with (
        fuse_leg(ram_directory, size_bytes=SIZE) as leg,
        Bench(
            settings, ram_directory, [leg.url], size_bytes=SIZE, hold_timeout_seconds=600
        ) as bench,
    ):
        bench.images[leg.url] = leg.image
        made = {name: bench.mountpoint / name for name in ("full", "busy", "read", "dead")}
        for name, path in made.items():
            path.write_bytes(b"0" * (64 << 20 if name in ("busy", "dead") else 1 << 20))
        made["dead"].unlink()
        subprocess.run(["sync", "-f", str(bench.mountpoint)], check=True)
        place = place_of(made["full"])
        leg.error(errno.ENOSPC, on=("write",), byte_range=(place, place + 4096))
        files = {n: os.open(made[n], os.O_RDWR | os.O_DIRECT) for n in ("full", "busy", "read")}
        small = mmap.mmap(-1, 4096)
        buffers = [mmap.mmap(-1, 1 << 20) for _ in range(3)]

        def overwrite() -> None:
            for number in range(64):
                os.pwrite(files["busy"], buffers[1], number << 20)

        pinned = threading.Thread(target=os.pwrite, args=(files["full"], small, 0))
        pinned.start()
        wait_until(bench.held)
        busy = threading.Thread(target=overwrite)
        busy.start()
        busy.join(10)
        reading = threading.Thread(target=os.preadv, args=(files["read"], [buffers[2]], 0))
        reading.start()
        reading.join(10)
        trimming = subprocess.Popen(["fstrim", str(bench.mountpoint)])
        with suppress(subprocess.TimeoutExpired):
            trimming.wait(10)
        went = not reading.is_alive(), trimming.poll() is not None
        leg.serve()
        for thread in (pinned, busy, reading):
            thread.join()
        trimming.wait()
        for file in files.values():
            os.close(file)
        assert went == (True, True), "reading, trimming"
