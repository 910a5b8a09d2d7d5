"""Who sends too much, too slowly, or reads nothing, is refused; nobody else hears of it."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.api.bounds import Bounded
from holdfast.api.limits import MOST_HEADER_BYTES, ApiLimits
from tests.waiting import wait_until

Served = Callable[[ApiLimits], tuple[Path, Bounded]]
Connected = Callable[[Path], socket.socket]

POST = b"POST /v1/operations/recover HTTP/1.1\r\nhost: h\r\n"
GET = b"GET /v1/version HTTP/1.1\r\nhost: h\r\n\r\n"
IN_A_MOMENT = ApiLimits(request_seconds=0.2, write_seconds=0.2)


def everything(line: socket.socket) -> bytes:
    """What comes, until the other end closes."""
    found = b""
    try:
        while more := line.recv(1 << 16):
            found += more
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize("chunked", [False, True])
def test_an_oversized_body(served: Served, connected: Connected, chunked: bool) -> None:
    path, _ = served(ApiLimits(body_bytes=100))
    line = connected(path)
    if chunked:
        line.sendall(POST + b"transfer-encoding: chunked\r\n\r\n" + b"32\r\n%050d\r\n" % 0 * 3)
    else:
        line.sendall(POST + b"content-length: 101\r\n\r\n" + bytes(101))
    answered = everything(line)
    assert answered.startswith(b"HTTP/1.1 413") and b'"code": "OPTION"' in answered
    line = connected(path)
    line.sendall(GET)
    assert line.recv(12) == b"HTTP/1.1 200"


def test_oversized_headers(served: Served, connected: Connected) -> None:
    path, _ = served(ApiLimits())
    line = connected(path)
    line.sendall(b"GET /v1/version HTTP/1.1\r\nhost: h\r\nx: " + b"x" * (4 * MOST_HEADER_BYTES))
    assert everything(line)[:12] in (b"HTTP/1.1 400", b"")


@pytest.mark.parametrize("sent", [b"", b"GET /v1", GET + b"GET /v1"])
def test_a_request_that_never_ends(served: Served, connected: Connected, sent: bytes) -> None:
    path, bounded = served(IN_A_MOMENT)
    line = connected(path)
    line.sendall(sent)
    assert everything(line)[:12] == (b"HTTP/1.1 200" if sent.startswith(GET) else b"")
    wait_until(lambda: len(bounded.connections) == 0)


def test_a_body_that_never_ends(served: Served, connected: Connected) -> None:
    path, _ = served(IN_A_MOMENT)
    line = connected(path)
    line.sendall(POST + b"content-length: 9\r\n\r\n{")
    assert everything(line).startswith(b"HTTP/1.1 408")


def test_a_reader_who_reads_nothing(served: Served, connected: Connected) -> None:
    """It asks for far more than the kernel keeps for it."""
    path, bounded = served(IN_A_MOMENT)
    line = connected(path)
    line.settimeout(None)
    line.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: h\r\n\r\n" * 50)
    wait_until(lambda: len(bounded.connections) == 1)
    wait_until(lambda: len(bounded.connections) == 0)
    assert len(everything(line)) < 1 << 20


def test_one_user_leaves_room_for_others(served: Served, connected: Connected) -> None:
    path, bounded = served(ApiLimits(connections=3, connections_of_a_user=3))
    lines = [connected(path) for _ in range(3)]
    wait_until(lambda: len(bounded.connections) == 3)
    assert everything(connected(path)) == b""
    for line in lines:
        line.sendall(GET)
        assert line.recv(12) == b"HTTP/1.1 200"
    lines[0].close()
    wait_until(lambda: len(bounded.connections) == 2)


def test_half_a_request_of_one_who_has_gone_is_none(served: Served, connected: Connected) -> None:
    path, bounded = served(ApiLimits())
    line = connected(path)
    line.sendall(POST + b"content-length: 3\r\n\r\n{}")  # what is there could be carried out
    line.close()
    wait_until(lambda: len(bounded.connections) == 0)
    line = connected(path)
    line.sendall(b"GET /v1/jobs HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
    assert everything(line).endswith(b"\r\n\r\n[]")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root begins jobs")
def test_what_takes_long_is_waited_for(served: Served, connected: Connected) -> None:
    """Also where no other request is to follow."""
    path, _ = served(IN_A_MOMENT)
    line = connected(path)
    line.sendall(POST + b"content-length: 2\r\nconnection: close\r\n\r\n{}")
    job = json.loads(everything(line).partition(b"\r\n\r\n")[2])
    os.kill(job["pid"], signal.SIGSTOP)
    listening = connected(path)
    request = f"GET /v1/jobs/{job['id']}/events HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
    listening.sendall(request.encode())
    for _ in range(2):
        assert everything(connected(path)) == b""  # one that asks nothing, twice as long
    os.kill(job["pid"], signal.SIGCONT)
    assert b"event: end" in everything(listening)
