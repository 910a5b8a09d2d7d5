"""Whoever connects to a gate's control socket cannot disturb it: strangers, floods, nonsense."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

from holdfast.config import Settings
from holdfast.gate.outside.client import GateClient
from holdfast.gate.processes.control.connections import CONVERSATIONS
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import FLUSHING
from tests.waiting import wait_until


def ask_as_nobody(path: Path) -> bytes:
    """What the gate answers to somebody else's `stop`."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX) as end:
                end.connect(str(path))
                with suppress(BrokenPipeError):  # it has its answer already
                    end.sendall(b'{"verb": "stop"}\n')
                os.write(writing, end.recv(4096))
        except OSError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        found = answer.read()
    os.waitpid(pid, 0)
    return found


def test_strangers_floods_and_nonsense(settings: Settings, ram_directory: Path) -> None:
    with (
        Bench(settings, ram_directory, plain_legs(ram_directory, 1, 1)) as bench,
        ExitStack() as silent,
    ):
        activity = bench.start(FLUSHING)
        worker = bench.counters().worker_pid
        path = bench.run_directory / "control"

        for sent in (b"", b"\n", b"\xff\n", b"[]\n", b"[" * 60000 + b"\n", b'{"verb": 1}\n'):
            with socket.socket(socket.AF_UNIX) as end:
                end.connect(str(path))
                end.sendall(sent)
                end.shutdown(socket.SHUT_WR)
                assert b'"ok": false' in end.recv(1 << 16)

        for _ in range(3 * CONVERSATIONS):  # and they say nothing
            end = silent.enter_context(socket.socket(socket.AF_UNIX))
            end.connect(str(path))
        activity.goes_on(20)
        silent.close()
        wait_until(bench.answers)

        for folder in (bench.run_directory, *bench.run_directory.parents):
            if folder.is_relative_to(ram_directory):
                folder.chmod(0o711)
        ram_directory.parent.chmod(0o711)
        path.chmod(0o666)
        assert b'"RIGHTS"' in ask_as_nobody(path)
        assert os.path.ismount(bench.run_directory / "device")
        activity.goes_on()
        assert GateClient(bench.run_directory).show()["worker_pid"] == worker
        bench.check(1)
