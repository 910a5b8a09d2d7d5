"""An API that takes every question and answers none: pages say so in time, and few questions are
asked, however many look."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from holdfast.client import AsyncClient, reaching
from holdfast.dashboard import application
from holdfast.dashboard.application import make_application
from holdfast.dashboard.asking import MOST_AT_ONCE, Asking
from holdfast.dashboard.templates import Templates

PAGES = (
    "/", "/volumes/shop", "/receipts", "/receipts/x", "/receipts/x/file", "/restorations/x",
    "/jobs", "/drills", "/policies", "/alerts",
)  # fmt: skip

MANY = 10
"""Who look at each page at the same time."""


class Silent:
    """Takes questions, and answers none."""

    def __init__(self) -> None:
        self.now = self.most = 0
        """Who ask."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until whoever asks gives up."""
        self.now += 1
        self.most = max(self.most, self.now)
        await reader.read()
        self.now -= 1
        writer.close()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "PAGE_SECONDS", 1.0)
    monkeypatch.setattr(application, "_ALIVE_SECONDS", 0.5)
    monkeypatch.setattr(reaching, "ANSWER_SECONDS", 2.0)


def get(place: Path, paths: list[str]) -> tuple[list[httpx.Response], int]:
    """What pages at these paths say, all of them asked for at once; and how many questions were
    asked at the same time."""

    async def asked() -> tuple[list[httpx.Response], int]:
        silent = Silent()
        client = AsyncClient(place)
        pages = make_application(Asking(client), Templates("/base"), "/base")
        transport = httpx.ASGITransport(pages)
        async with (
            await asyncio.start_unix_server(silent.serve, place, limit=1 << 20),
            client,
            httpx.AsyncClient(transport=transport, base_url="http://h") as asking,
        ):
            return await asyncio.gather(*(asking.get(path) for path in paths)), silent.most

    return asyncio.run(asked())


def test_every_page_says_so_and_tries_again(tmp_path: Path) -> None:
    answers, most = get(tmp_path / "api.sock", [*PAGES] * MANY)
    for each in answers:
        assert each.status_code == 504
        assert "has not answered within 1 s" in each.text and "data-again" in each.text
    assert most <= MOST_AT_ONCE


def test_a_part_of_a_page_says_so_where_it_would_stand(tmp_path: Path) -> None:
    paths = ["/volumes/shop/rest", "/answers", "/volumes/shop/moment/part?at=10m+ago"]
    (rest, alive, moment), _ = get(tmp_path / "api.sock", paths)
    assert rest.status_code == 200
    assert "has not answered" in rest.text
    assert 'hx-get="/base/volumes/shop/rest"' in rest.text  # it is asked for again
    assert alive.json() == {"answers": False}
    assert moment.status_code == 200  # the command has no limit
    assert "holdfast restore shop --at &#39;10m ago&#39; --dry-run" in moment.text
