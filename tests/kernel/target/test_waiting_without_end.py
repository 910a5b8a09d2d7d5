"""A thread that waits without a time-out is not told that it was stopped: no EINTR (signal(7)).

Nor is one that waits for a socket with a time-out.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from holdfast.applications.rebind.agent.tracee import Tracee

BEGINNING = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
ours = {signal.SIGUSR2}
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.pthread_sigmask(signal.SIG_BLOCK, ours)
mask = (ctypes.c_uint64 * 16)(1 << signal.SIGUSR2 - 1)
events = ctypes.create_string_buffer(64)
end, other = os.pipe()
poll = libc.epoll_create1(0)
libc.epoll_ctl(poll, 1, end, ctypes.create_string_buffer(b"\\1" + bytes(11), 12))
semaphore = libc.semget(0, 1, 0o600)
change = ctypes.create_string_buffer(b"\\0\\0\\xff\\xff\\0\\0", 6)
"""
SOCKETS = """
import socket, struct
long = struct.pack("ll", 3600, 0)
here, there = socket.socketpair()
here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, long)
listening = socket.create_server(("127.0.0.1", 0))
listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, long)
number, room = here.fileno(), ctypes.create_string_buffer(8)
here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, long)
parameters = ctypes.create_string_buffer(120)
"""
RING = "libc.syscall(426, libc.syscall(425, 4, parameters), 0, 1, 1, None, 0)"
WAITS = {
    "epoll_wait": "libc.epoll_wait(poll, events, 1, -1)",
    "epoll_pwait": "libc.epoll_pwait(poll, events, 1, -1, None)",
    "semop": "libc.semop(semaphore, change, 1)",
    "recv with a time-out": "libc.recv(number, room, 1, 0)",
    "read with a time-out": "libc.read(number, room, 1)",
    "accept with a time-out": "libc.accept(listening.fileno(), None, None)",
    "io_uring_enter": RING,
    "sigwaitinfo": "libc.sigwaitinfo(mask, None)",
}
ENDING = """
print("ready", flush=True)
result = {wait}
print(result, ctypes.get_errno(), flush=True)
libc.semctl(semaphore, 0, 0)
"""


@pytest.mark.parametrize("wait", WAITS)
def test_goes_on_waiting(wait: str) -> None:
    """And ends when a signal handler runs, even if the signal came while it was stopped."""
    code = BEGINNING + SOCKETS + ENDING.format(wait=WAITS[wait])
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for number in (0, 0, signal.SIGUSR1):
            wait_until_asleep(process.pid)
            target = Tracee.stop(process.pid, time.monotonic_ns() + 60 * 10**9)
            if number:
                os.kill(process.pid, number)
            target.release()
        assert process.stdout.read() == "-1 4\n"
    finally:
        process.kill()
        process.communicate()


def wait_until_asleep(pid: int) -> None:
    """In the kernel, in the wait."""
    deadline = time.monotonic() + 10
    before = ""
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/syscall") as file:
            now = file.read()
        if now == before and now.split()[0] not in ("running", "-1"):
            return
        before = now
        time.sleep(0.01)
    raise AssertionError("it does not wait")
