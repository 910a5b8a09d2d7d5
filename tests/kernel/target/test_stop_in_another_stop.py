"""A thread that is about to stop for its dead tracer stops for the next one all the same.

What was closed by its last call is let go between the moment in which it decides to stop and the
stop itself (ptrace_notify, kernel/signal.c). That may take a while; its tracer may die, and another
one interrupt it meanwhile. Any stop takes such an interruption away.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from holdfast.applications.rebind.agent.tracee import Tracee
from tests.waiting import wait_until

CODE = """
import socket, struct, sys
line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
line.setblocking(False)
try:
    while True:
        line.send(bytes(1 << 16))
except BlockingIOError:
    pass
print(line.fileno(), flush=True)
print(sys.stdin.readline(), flush=True)
"""
DUP3 = 292
"""asm/unistd_64.h. It closes what it replaces on its way out; close(2) does at once."""


def test_it_stops() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        program = subprocess.Popen(
            [sys.executable, "-c", CODE, port],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        peer, _ = server.accept()
        try:
            assert program.stdout is not None
            number = int(program.stdout.readline())
            deadline_ns = time.monotonic_ns() + 60 * 10**9
            agent = os.fork()
            if agent == 0:
                try:
                    Tracee.stop(program.pid, deadline_ns).call("dup3", 0, number, 0)
                finally:
                    os._exit(1)
            wait_until(lambda: _replaces_and_sleeps(program.pid))
            os.kill(agent, signal.SIGKILL)
            os.waitpid(agent, 0)
            Tracee.stop(program.pid, deadline_ns).release()
            assert program.communicate("goes on")[0] == "goes on\n"
        finally:
            peer.close()
            program.kill()
            program.communicate()


def _replaces_and_sleeps(pid: int) -> bool:
    call = Path(f"/proc/{pid}/syscall").read_text().split()
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return call[0] == str(DUP3) and state in "SD"
