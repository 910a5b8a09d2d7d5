"""A process that has nothing to do with any volume: how regularly does it run?

`python -m benchmarks.heartbeat` wakes up every millisecond. For every line that it is given it
prints the longest time between two beats since the line before, in milliseconds.
"""

from __future__ import annotations

import select
import sys
import time

BEAT_SECONDS = 0.001


def main() -> int:
    """Ends when its input does."""
    longest_seconds = 0.0
    last = time.monotonic()
    while True:
        asked = bool(select.select([sys.stdin], [], [], BEAT_SECONDS)[0])
        now = time.monotonic()
        longest_seconds, last = max(longest_seconds, now - last), now
        if asked:
            if not sys.stdin.readline():
                return 0
            print(f"{longest_seconds * 1000:.3f}", flush=True)
            longest_seconds, last = 0.0, time.monotonic()


if __name__ == "__main__":
    sys.exit(main())
