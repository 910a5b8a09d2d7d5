"""What a program in Python holds: buffered files, a map, a lock, its directory, a child.

holder.py DIRECTORY. Says "ready", then for each line of input "ok" or what is wrong.
"""

import fcntl
import mmap
import os
import subprocess
import sys
import threading
from pathlib import Path

folder = Path(sys.argv[1])
os.chdir(folder)
log = open("log.txt", "a+")  # noqa: SIM115 - held on purpose
log.write("first\n")
log.flush()
reader = open("log.txt")  # noqa: SIM115
assert reader.readline() == "first\n"
Path("data").write_bytes(bytes(1 << 16))
with open("data", "r+b") as file:
    data = mmap.mmap(file.fileno(), 0)
    own = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
data[0:5] = b"hello"
own[40000:40003] = b"own"
locked = open("lock", "w")  # noqa: SIM115
fcntl.flock(locked, fcntl.LOCK_EX)
listing = os.scandir(".")
next(listing)
threading.Thread(target=threading.Event().wait, daemon=True).start()
child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=open("cat.txt", "w"))  # noqa: SIM115


def verify() -> None:
    """Everything that was opened before the move still is what it was."""
    log.write("again\n")
    log.flush()
    assert reader.readline() == "again\n"
    assert data[0:5] == b"hello" and own[40000:40003] == b"own"
    data[7] = data[7] + 1 & 0xFF
    assert Path("data").read_bytes()[7] == data[7]
    attempt = subprocess.run(["flock", "--nonblock", "lock", "true"], check=False)
    assert attempt.returncode == 1
    assert Path.cwd() == folder
    Path("made").write_text("here")
    assert (folder / "made").read_text() == "here"
    before = Path("cat.txt").stat().st_size
    child.stdin.write(b"meow\n")
    child.stdin.flush()
    while Path("cat.txt").stat().st_size != before + 5:
        pass
    assert sum(1 for _ in os.scandir(".")) >= 5


print("ready", flush=True)
for _ in sys.stdin:
    try:
        verify()
        print("ok", flush=True)
    except BaseException as error:
        print(repr(error), flush=True)
child.kill()
