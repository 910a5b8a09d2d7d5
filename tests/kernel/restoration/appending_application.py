"""An application that appends numbered records without ever flushing them: run as a program.

Usage: DIRECTORY RECORD. It writes through a descriptor for writing alone, through one for both, and
into a shared map. Into RECORD (elsewhere) go how many records write(2) accepted, and how many
errors there were. A line of input makes it write 300 records more, and is answered with a line; the
end of input ends it. Must never import the code under test.
"""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

AT_ONCE = 300
RECORD_BYTES = 64


def record_of(number: int) -> bytes:
    """The record with this number."""
    return b"%d" % number + b"." * (RECORD_BYTES - 1 - len(str(number))) + b"\n"


def main() -> None:
    folder = Path(sys.argv[1])
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    table = os.open(folder / "table", os.O_RDWR | os.O_CREAT, 0o600)
    counter = os.open(folder / "counter", os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(counter, 8192)
    mapped = mmap.mmap(counter, 8192)
    accepted = errors = 0
    print("ready", flush=True)
    for _ in sys.stdin:
        for _ in range(AT_ONCE):
            try:
                os.write(log, record_of(accepted))
                os.pwrite(table, record_of(accepted), accepted * RECORD_BYTES)
            except OSError:
                errors += 1
                break
            accepted += 1
            mapped[4096:4104] = accepted.to_bytes(8, "little")
        Path(sys.argv[2]).write_text(f"{accepted} {errors}")
        print("done", flush=True)


if __name__ == "__main__":
    main()
