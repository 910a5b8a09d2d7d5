"""A program for the benchmark `disruptions`: `python -m benchmarks.steady_writer FILE` writes 4 KiB
to a file and syncs it, every few milliseconds, and opens it anew after an error. Of each attempt
it says `ok` or `error`, and when that was known (Unix seconds).
"""

from __future__ import annotations

import os
import sys
import time

PAUSE_SECONDS = 0.005


def main() -> None:
    """Until it is killed."""
    descriptor = -1
    while True:
        word = "ok"
        try:
            if descriptor < 0:
                descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(descriptor, os.urandom(4096), 0)
            os.fdatasync(descriptor)
        except OSError:
            word = "error"
            if descriptor >= 0:
                os.close(descriptor)
                descriptor = -1
        print(f"{word} {time.time():.6f}", flush=True)
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
