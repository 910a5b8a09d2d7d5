"""The API in a thread of a test, with bounds of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from holdfast.api.bounds import Bounded
from holdfast.api.limits import ApiLimits
from holdfast.api.serve import make_server
from holdfast.config import Settings
from tests.waiting import wait_until

Served = Callable[[ApiLimits], tuple[Path, Bounded]]


@contextmanager
def _served(path: Path, limits: ApiLimits) -> Iterator[tuple[Path, Bounded]]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        server = make_server(limits, Settings())
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started)
            bounded = server.config.app
            assert isinstance(bounded, Bounded)
            yield path, bounded
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """`served(limits)`: the socket, and what is behind it."""
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path))
    with ExitStack() as stack:
        yield lambda limits: stack.enter_context(_served(tmp_path / "api.sock", limits))


@pytest.fixture
def connected() -> Iterator[Callable[[Path], socket.socket]]:
    """`connected(path)`: a connection."""
    with ExitStack() as stack:

        def connect(path: Path) -> socket.socket:
            line = stack.enter_context(socket.socket(socket.AF_UNIX))
            line.settimeout(60)
            line.connect(str(path))
            return line

        yield connect
