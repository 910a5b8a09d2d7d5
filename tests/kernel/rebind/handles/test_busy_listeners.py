"""A server at whose door somebody waits at every moment is moved, and serves everybody: who would
come next, and uses the volume, stands while it accepts."""

from __future__ import annotations

import sys

import pytest

from holdfast.model.handle import HandleOutcome
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

SERVER = """
import os, select, signal, socket, sys, threading, time
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen(64)
def serve():
    with server.accept()[0] as end:
        time.sleep(0.005)
        end.sendall(end.recv(9))
def accept():
    while True:
        serve()
def fork():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        select.select([server], [], [])
        if not os.fork():
            server.settimeout(0.1)
            try:
                serve()
            finally:
                os._exit(0)
        time.sleep(0.002)
print("ready", flush=True)
globals()[sys.argv[2]]()
"""
"""One that accepts, or one that forks a child each time that somebody waits."""

CLIENTS = """
import os, socket, sys, threading, time
os.chdir(os.path.dirname(sys.argv[1]))
served, errors = [0] * 8, []
def work(number):
    try:
        while True:
            with socket.socket(socket.AF_UNIX) as end:
                end.connect(sys.argv[1])
                end.sendall(b"question")
                assert end.recv(9) == b"question"
            served[number] += 1
    except BaseException as error:
        errors.append(repr(error))
for number in range(len(served)):
    threading.Thread(target=work, args=(number,), daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    before = list(served)
    while not errors and not all(now > then for now, then in zip(served, before)):
        time.sleep(0.001)
    print(errors or "ok", flush=True)
"""
"""They use the volume, and each connects again as soon as it was served."""


@pytest.mark.parametrize("kind", ["accept", "fork"])
def test_clients_stand_while_it_accepts(bench: Bench, start: Hold, kind: str) -> None:
    path = bench.path / "socket"
    start(sys.executable, "-uc", SERVER, path, kind)
    clients = start(sys.executable, "-uc", CLIENTS, path)
    for filesystem in ("xfs", "btrfs", "ext4"):
        assert clients.ask() == "ok"
        assert {line.outcome for line in bench.move(filesystem)} == {HandleOutcome.IDENTICAL}
    assert clients.ask() == "ok"
