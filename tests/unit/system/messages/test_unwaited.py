"""Words reach the log, and nobody waits for a log that does not take them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HANGING = """
import os
from holdfast.system.messages.unwaited import MOST_KEPT, wait_until_written, write_soon as complain
for number in range(3 * MOST_KEPT):
    complain(f"{number}")
wait_until_written(0.05)
print("went on", flush=True)
if not os.fork():
    complain("a child has its own")
    wait_until_written(0.05)
    print("went on", flush=True)
    os._exit(0)
os.wait()
"""

WORKING = """
import os
from holdfast.system.messages.unwaited import wait_until_written, write_soon as complain
complain("first")
wait_until_written()
if not os.fork():
    complain("second")
    wait_until_written()
    os._exit(0)
os.wait()
complain("third")
wait_until_written()
"""


DEFECT = """
import os, threading
from holdfast.system.messages.unwaited import start_writer, wait_until_written, write_soon
threading.excepthook = lambda failure: os._exit(1)
start_writer()
assert "unwaited" in [thread.name for thread in threading.enumerate()]
write_soon("lost", lambda words: 1 / 0)
write_soon("kept")
wait_until_written(30)
"""


LATER = """
import os, threading
from holdfast.system.messages.unwaited import start_writer, wait_until_written, write_soon
start_writer(at_once=False)
write_soon("first", lambda words: os.write(1, b"written\\n"))
threading.Event().wait(0.1)
os.write(1, b"in a hurry\\n")
start_writer()
wait_until_written(30)
if not os.fork():
    start_writer(at_once=False)
    write_soon("last words", lambda words: os.write(1, words))
    wait_until_written(30)
    os._exit(0)
os.wait()
"""


def test_words_wait_for_whoever_is_in_a_hurry() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATER], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "in a hurry\nwritten\nlast words\n"


def test_one_that_cannot_be_written_ends_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEFECT], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == "kept\n"


def test_nobody_waits_for_a_log_that_hangs() -> None:
    """A pipe that is full and that nobody reads stands for it."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    try:
        while True:
            os.write(write_end, bytes(65536))
    except BlockingIOError:
        os.set_blocking(write_end, True)
    try:
        done = subprocess.run(
            [sys.executable, "-c", HANGING],
            check=True,
            stdout=subprocess.PIPE,
            stderr=write_end,
            timeout=60,
        )
        assert done.stdout == b"went on\n" * 2
    finally:
        os.close(read_end)
        os.close(write_end)


def test_every_process_writes_in_order(tmp_path: Path) -> None:
    log = tmp_path / "gate.log"
    with log.open("wb") as file:
        subprocess.run([sys.executable, "-c", WORKING], stderr=file, check=True, timeout=60)
    assert log.read_text() == "first\nsecond\nthird\n"
