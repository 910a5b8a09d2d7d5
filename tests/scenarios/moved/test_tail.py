"""`tail -F` follows a growing file while the volume below is moved: no line lost or doubled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.scenarios.moved.moving import move_in_turn, started, stopped_copy
from tests.waiting import wait_until

WRITER = """
import signal, sys, time
going = True
def stop(*_):
    global going
    going = False
signal.signal(signal.SIGTERM, stop)
number = 0
with open(sys.argv[1], "a", buffering=1) as file:
    while going:
        file.write(f"line {number}\\n")
        number += 1
        time.sleep(0.0005)
print(number)
"""


def test_no_line_is_lost_or_doubled(ram_directory: Path) -> None:
    with stopped_copy(ram_directory) as mover:
        growing = mover.path / "growing.log"
        growing.touch()
        seen = ram_directory / "seen"
        with (
            started(
                [sys.executable, "-c", WRITER, growing],
                cwd="/",
                stdout=subprocess.PIPE,
                text=True,
            ) as writer,
            seen.open("wb") as output,
            started(["tail", "-n", "+1", "-F", growing], cwd="/", stdout=output) as tail,
        ):
            size_bytes = 0

            def following() -> None:
                nonlocal size_bytes
                wait_until(lambda: seen.stat().st_size > size_bytes + 100)
                size_bytes = seen.stat().st_size

            moves = move_in_turn(mover, following)
            assert all({"tail"} < set(moved.processes) for moved in moves), moves
            writer.terminate()
            written = int(writer.communicate(timeout=20)[0])
            lines = [f"line {number}" for number in range(written)]
            wait_until(lambda: len(seen.read_text().splitlines()) >= written)
            assert seen.read_text().splitlines() == lines
            assert growing.read_text().splitlines() == lines
            assert tail.poll() is None
