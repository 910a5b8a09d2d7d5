"""An application that never stops verifying itself: run as a program by restoration_bench.

Usage: DIRECTORY RECORD [simple]. Appends numbered lines with fsync, counts in a shared map, holds
a flock and its working directory on the volume, reads a file that has no name any more. Into RECORD
(24 bytes, elsewhere) go: acknowledged lines, errors, the largest gap in microseconds. SIGTERM ends
it. A simple one only appends, and tries a line again that failed.
Must never import the code under test.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import struct
import sys
import threading
import time
from pathlib import Path

RECORD = struct.Struct("<QQQ")


def main() -> None:
    directory, record_path = Path(sys.argv[1]), sys.argv[2]
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    record = os.open(record_path, os.O_RDWR | os.O_CREAT, 0o600)
    os.chdir(directory)
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    simple = len(sys.argv) > 3
    if not simple:
        counter = os.open("counter", os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(counter, 8192)
        mapped = mmap.mmap(counter, 8192)
        nameless = os.open("nameless", os.O_RDWR | os.O_CREAT, 0o600)
        os.write(nameless, b"still here")
        Path("nameless").unlink()
    lines = Path("log").read_text().count("\n")
    errors = largest_gap = 0
    seen = time.monotonic_ns()
    while not ended.is_set():
        try:
            os.write(log, b"%d\n" % lines)
            os.fsync(log)
            lines += 1
            if simple:
                continue
            mapped[0:8] = lines.to_bytes(8, "little")
            mapped[4096:4104] = lines.to_bytes(8, "little")
            if os.pread(nameless, 64, 0) != b"still here" or not Path("log").exists():
                errors += 1
        except OSError as error:
            errors += 1
            print(f"line {lines}: {error}", file=sys.stderr, flush=True)
            time.sleep(0.05)
        finally:
            now = time.monotonic_ns()
            largest_gap = max(largest_gap, (now - seen) // 1000)
            seen = now
            os.pwrite(record, RECORD.pack(lines, errors, largest_gap), 0)


if __name__ == "__main__":
    main()
