"""nginx serves files from a volume and logs to it while it is migrated: every answer is right."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.moved.moving import (
    SEQUENCE_FROM_BTRFS,
    SHORT_WITH_COMMANDS,
    migration,
    move_under_load,
    started,
)
from tests.waiting import wait_until

CLIENTS = 2
FILES = 20
REQUESTS_BETWEEN = 50
CONFIGURATION = """
user www-data;
worker_processes 2;
daemon off;
pid {outside}/pid;
error_log {volume}/logs/error.log warn;
events {{}}
http {{
    sendfile on;
    open_file_cache max=100 inactive=60s;
    log_format plain '$arg_n $status $body_bytes_sent';
    access_log {volume}/logs/access.log plain;
    client_body_temp_path {outside}/body;
    proxy_temp_path {outside}/proxy;
    fastcgi_temp_path {outside}/fastcgi;
    uwsgi_temp_path {outside}/uwsgi;
    scgi_temp_path {outside}/scgi;
    server {{
        listen unix:{outside}/socket;
        root {volume}/www;
    }}
}}
"""


class Clients:
    """Requests on connections that stay open; each answer is compared."""

    def __init__(self, address: Path, digests: dict[str, str]) -> None:
        self._address = str(address)
        self._digests = digests
        self._lock = threading.Lock()
        self.count = 0

    def load(self, done: Callable[[], bool]) -> None:
        """Several clients until it is time. Raises what the first one found wrong."""
        problems: list[BaseException] = []

        def work(seed: int) -> None:
            try:
                self._ask_until(lambda: done() or bool(problems), random.Random(seed))
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if problems:
            raise problems[0]

    def _ask_until(self, done: Callable[[], bool], choice: random.Random) -> None:
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(self._address)
        while not done():
            with self._lock:
                number, self.count = self.count, self.count + 1
            name = choice.choice(list(self._digests))
            connection.request("GET", f"/{name}?n={number}")
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, (answer.status, body)
            assert hashlib.sha256(body).hexdigest() == self._digests[name], name
            if answer.getheader("Connection") == "close":
                connection.close()
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.connect(self._address)
        connection.close()


def test_every_answer_is_right(ram_directory: Path, run_holdfast: Callable[..., Any]) -> None:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("needs nginx")
    with migration(ram_directory, run_holdfast) as mover:
        outside = ram_directory / "nginx"
        outside.mkdir()
        digests = _make_pages(mover.path / "www")
        logs = mover.path / "logs"
        logs.mkdir()
        configuration = outside / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(outside=outside, volume=mover.path))
        with started([program, "-c", configuration, "-e", logs / "error.log"], cwd="/") as server:
            wait_until((outside / "socket").is_socket)
            clients = Clients(outside / "socket", digests)

            def working() -> None:
                before = clients.count
                wait_until(lambda: clients.count >= before + REQUESTS_BETWEEN)

            moves = move_under_load(
                mover, clients.load, working, SHORT_WITH_COMMANDS, SEQUENCE_FROM_BTRFS
            )
            assert all(moved.processes.count("nginx") == 3 for moved in moves), moves
            server.terminate()
            assert server.wait(timeout=20) == 0
        lines = (logs / "access.log").read_text().splitlines()
        assert sorted(int(line.split()[0]) for line in lines) == list(range(clients.count))
        assert {line.split()[1] for line in lines} == {"200"}
        assert (logs / "error.log").read_text() == ""


def _make_pages(folder: Path) -> dict[str, str]:
    folder.mkdir()
    digests = {}
    for number in range(FILES):
        data = os.urandom(1000 * (number + 1) ** 2)
        page = folder / f"{number}.bin"
        page.write_bytes(data)
        digests[page.name] = hashlib.sha256(data).hexdigest()
    return digests
