"""A program that counts: so many processes of so many threads, each in a cell of its own.

    python counting.py CELLS PROCESSES THREADS [--rebel]

Keeps a file of its working directory open. The cells lie in a file outside of the volume, so that
a test can look at them whatever happens. With --rebel one thread forks children that exit at once,
all the time.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import threading
import time
from pathlib import Path

CELL = struct.Struct("<Q")


def count(cells: mmap.mmap, number: int) -> None:
    value = 0
    while True:
        value += 1
        CELL.pack_into(cells, number * CELL.size, value)
        time.sleep(0.001)


def fork_all_the_time() -> None:
    while True:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)


def main(path: str, processes: int, threads: int, rebel: bool) -> None:
    keep = Path(f"data-{os.getpid()}").open("w")  # noqa: SIM115 - for as long as it lives
    descriptor = os.open(path, os.O_RDWR)
    cells = mmap.mmap(descriptor, 0)
    os.close(descriptor)
    number = 0
    for _ in range(processes - 1):
        if os.fork() == 0:
            break
        number += 1
    if rebel and number == processes - 1:
        threading.Thread(target=fork_all_the_time, daemon=True).start()
    first = number * threads
    for thread in range(1, threads):
        threading.Thread(target=count, args=(cells, first + thread), daemon=True).start()
    count(cells, first)
    keep.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), "--rebel" in sys.argv)
