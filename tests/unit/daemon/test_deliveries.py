"""A destination that never answers holds up neither the others nor whoever sends."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from holdfast.daemon.deliveries import Deliveries
from holdfast.policy.memory import Letter
from holdfast.policy.message import RAISED, Message
from holdfast.system.processes.process_state import children_of
from tests.waiting import wait_until

MESSAGE = Message("an-id", RAISED, "shop", "leg 1 is failed", "", 1.0, 4.0, "vm")


class Takes(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def deliveries() -> Iterator[Deliveries]:
    """Leaves no child behind, not even a dead one: other tests count those of this process."""
    before = set(children_of(os.getpid()))
    made = Deliveries()

    def is_clean() -> bool:
        made.finished()
        return set(children_of(os.getpid())) <= before

    yield made
    wait_until(is_clean)


@pytest.fixture
def takes() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Takes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"webhook:http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def hangs() -> Iterator[str]:
    """Connections are made, and nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"webhook:http://127.0.0.1:{listening.getsockname()[1]}/"


def test_each_by_itself(deliveries: Deliveries, takes: str, hangs: str) -> None:
    silent, first, second = (Letter(MESSAGE, url) for url in (hangs, takes, takes))
    over: list[tuple[Letter, str]] = []

    def is_over() -> bool:
        over.extend(deliveries.finished())
        return bool(over)

    deliveries.begin([silent, first, second])
    wait_until(is_over)
    assert over == [(first, "")]
    deliveries.begin([silent, second])
    over.clear()
    wait_until(is_over)
    assert over == [(second, "")]
    [waiting] = deliveries.errands()
    waiting.end()
    assert [letter for letter, error in deliveries.finished() if error] == [silent]


def test_nobody_there(deliveries: Deliveries) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"webhook:http://127.0.0.1:{listening.getsockname()[1]}/"
    deliveries.begin([Letter(MESSAGE, url)])
    over: list[tuple[Letter, str]] = []

    def is_over() -> bool:
        over.extend(deliveries.finished())
        return bool(over)

    wait_until(is_over)
    assert "refused" in over[0][1]
