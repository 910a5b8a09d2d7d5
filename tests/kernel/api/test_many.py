"""A thousand who listen to a job are refused or served, and nobody else waits for them."""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from holdfast.api.limits import ApiLimits
from holdfast.config import Settings
from tests.kernel.api.serving import answers, api, as_somebody, client
from tests.waiting import wait_until

MANY = 1000


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for so many connections in this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 2 * MANY), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def beginning(line: socket.socket) -> bytes:
    """The status line of the answer; empty: the connection was ended."""
    try:
        return line.recv(12)
    except ConnectionError:
        return b""


def test_a_thousand_streams(many_files: None, holdfast_home: Path) -> None:
    limits = ApiLimits()
    with ExitStack() as stack:
        stack.enter_context(api())
        with client() as asking:
            job = asking.post("/v1/operations/recover", json={}).json()
        os.kill(job["pid"], signal.SIGSTOP)  # it tells nothing, and does not end
        lines = []
        request = f"GET /v1/jobs/{job['id']}/events HTTP/1.1\r\nhost: h\r\n\r\n".encode()
        for _ in range(MANY):
            line = stack.enter_context(socket.socket(socket.AF_UNIX))
            with suppress(ConnectionError):  # it was refused
                line.connect(str(Settings().api_socket))
                line.sendall(request)
            line.settimeout(60)
            lines.append(line)
        # Root's streams are limited; the rest of its connections got an answer, or an end.
        answered = [beginning(each) for each in lines]
        assert answered.count(b"HTTP/1.1 200") == limits.streams
        assert answered.count(b"HTTP/1.1 429") == limits.connections - limits.streams
        assert answered.count(b"") == MANY - limits.connections
        assert as_somebody(lambda asking: asking.get("/v1/volumes").raise_for_status()) == ""
        for line in lines:
            line.close()
        wait_until(answers)
        os.kill(job["pid"], signal.SIGCONT)
        with client() as asking:
            wait_until(lambda: asking.get(f"/v1/jobs/{job['id']}").json()["end"] is not None)
