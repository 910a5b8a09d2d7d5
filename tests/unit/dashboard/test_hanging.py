"""An API that takes every question and answers none: pages say so in time, and few questions are
asked, however many look."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from holdfast.client import AsyncClient
from holdfast.dashboard import application
from holdfast.dashboard.application import make_application
from holdfast.dashboard.asking import MOST_AT_ONCE, Asking
from holdfast.dashboard.templates import Templates

PAGES = (
    "/", "/volumes/shop", "/receipts", "/receipts/x", "/receipts/x/file", "/restorations/x",
    "/jobs", "/drills", "/policies", "/alerts",
)  # fmt: skip

MANY = 50
"""Who look at each page at the same time."""


@pytest.fixture(name="silent")
def _silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Where it listens."""
    monkeypatch.setattr(application, "PAGE_SECONDS", 0.5)
    monkeypatch.setattr(application, "_ALIVE_SECONDS", 0.5)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "api.sock"))
        listener.listen(1000)
        listener.setblocking(False)
        yield listener


def asked(listener: socket.socket) -> int:
    """How many have come to ask."""
    count = 0
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


async def get(silent: socket.socket, paths: list[str]) -> list[httpx.Response]:
    """What pages at these paths say, all of them asked for at once."""
    client = AsyncClient(Path(silent.getsockname()))
    pages = make_application(Asking(client), Templates("/base"), "/base")
    transport = httpx.ASGITransport(pages)
    async with client, httpx.AsyncClient(transport=transport, base_url="http://h") as asking:
        return await asyncio.gather(*(asking.get(path) for path in paths))


def test_every_page_says_so_and_tries_again(silent: socket.socket) -> None:
    answers = asyncio.run(get(silent, [*PAGES] * MANY))
    for each in answers:
        assert each.status_code == 504
        assert "has not answered within 0.5 s" in each.text and "data-again" in each.text
    assert 0 < asked(silent) <= MOST_AT_ONCE


def test_a_part_of_a_page_says_so_where_it_would_stand(silent: socket.socket) -> None:
    (rest, alive) = asyncio.run(get(silent, ["/volumes/shop/rest", "/answers"]))
    assert rest.status_code == 200
    assert "has not answered" in rest.text
    assert 'hx-get="/base/volumes/shop/rest"' in rest.text  # it is asked for again
    assert alive.json() == {"answers": False}
