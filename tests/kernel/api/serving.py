"""The API of a test: its process, and how it is asked, also as somebody else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from holdfast import Client
from holdfast.config import Settings
from tests.forked import in_fork
from tests.unit.api.certificates import make
from tests.waiting import wait_until

NOBODY = 65534
GROUP = "nogroup"
ANSWER_SECONDS = 60.0


@contextmanager
def api(*more: str, group: str | None = GROUP) -> Iterator[subprocess.Popen[str]]:
    """`holdfast api`, for this test's HOLDFAST_HOME, until the block ends."""
    words = [] if group is None else ["--group", group]
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("holdfast")), "api", *words, *more],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: process.poll() is not None or answers())
        yield process
    finally:
        process.terminate()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def answers() -> bool:
    """Whether somebody listens."""
    try:
        with client() as asking:
            return asking.get("/v1/version").status_code == 200
    except httpx.TransportError:
        return False


def client(path: Path | str | None = None) -> httpx.Client:
    """To be closed."""
    transport = httpx.HTTPTransport(uds=str(path or Settings().api_socket))
    return httpx.Client(transport=transport, base_url="http://holdfast", timeout=ANSWER_SECONDS)


def as_somebody(ask: Callable[[httpx.Client], object], *, is_member: bool = True) -> str:
    """Ask as a user who is not root, of the group or not; how that ended, empty: well.

    The way to the socket is not part of it: others may not enter the folders of a test.
    """

    def begin() -> None:
        os.chdir(Settings().api_socket.parent)
        os.setgroups([])
        os.setgid(NOBODY if is_member else NOBODY - 1)
        os.setuid(NOBODY)
        with client("api.sock") as asking:
            ask(asking)

    ended = in_fork(begin)
    return "" if ended.code == 0 else str(ended)


Reach = Callable[[str], Client]


@contextmanager
def by_network(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Reach]]:
    """`holdfast api`, also by TCP with TLS; `reach(token)`: a client, to be closed."""
    made = make(folder)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    words = ["--listen", address, "--certificate", str(made.certificate), "--key", str(made.key)]
    with api(*words) as process:

        def reach(token: str) -> Client:
            return Client(url=f"https://{address}", token=token, authority=made.certificate)

        yield process, reach
