"""Who may come in: only who has this start's secret, asks by an address, and asks only."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from holdfast.dashboard.door import Door, is_address, new_base

BASE = new_base()
HOST = "127.0.0.1:8520"


async def _inside(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse(f"inside {scope['path']}")(scope, receive, send)


DOOR = Door(_inside, BASE)


def asked(path: str, method: str = "GET", host: str = HOST, **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=DOOR)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            given = {"host": host, **{k.replace("_", "-"): v for k, v in headers.items()}}
            given = {name: value.encode("latin-1") for name, value in given.items()}
            return await client.request(method, path, headers=given)

    return asyncio.run(ask())


def cookie() -> str:
    answer = asked(f"/?token={DOOR.token}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{BASE}/")
    return str(answer.headers["set-cookie"])


def ticket() -> str:
    return cookie().partition(";")[0]


def test_the_printed_address_lets_in() -> None:
    given = cookie()
    # No script reads it, no page of others has it sent, and no other port of this host gets it.
    assert {"HttpOnly", f"Path={BASE}/", "SameSite=strict"} <= {x.strip() for x in given.split(";")}
    answer = asked(f"{BASE}/volumes/shop", cookie=ticket())
    assert (answer.status_code, answer.text) == (200, "inside /volumes/shop")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["/", "/?token=", "/?token=x", "/?token=%ff%00", f"{BASE}/", BASE, "/volumes/shop",
             "/favicon.ico", f"{BASE}x/", "//"]
)  # fmt: skip
def test_without_the_secret_nobody_comes_in(path: str) -> None:
    for given in ("", "holdfast=", "holdfast=x", f"holdfast={DOOR.token}", "holdfast=\xff"):
        answer = asked(path, cookie=given)
        assert answer.status_code == 401
        assert "inside" not in answer.text
        assert DOOR.token not in answer.text and BASE not in answer.text


def test_the_cookie_alone_is_not_enough() -> None:
    assert asked("/elsewhere/", cookie=ticket()).status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8520", "127.0.0.1.evil.example", "holdfast",
             "localhost.evil.example", "", "[::1", "127.0.0.1:8520:evil"]
)  # fmt: skip
def test_a_name_that_is_no_address_is_refused(host: str) -> None:
    answer = asked(f"{BASE}/", host=host, cookie=ticket())
    assert answer.status_code == 421
    assert asked(f"/?token={DOOR.token}", host=host).status_code == 421


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:9", "localhost:8520", "[::1]:8520", "[::1]", "10.0.0.7:8520"]
)
def test_addresses_are_answered(host: str) -> None:
    assert is_address(host)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(method: str) -> None:
    assert asked(f"{BASE}/", method, cookie=ticket()).status_code == 405


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [("same-origin", "cors", 200), ("none", "navigate", 200), ("cross-site", "navigate", 200),
     ("cross-site", "no-cors", 403), ("same-site", "cors", 403), ("same-site", "no-cors", 403)],
)  # fmt: skip
def test_pages_of_others_get_nothing(site: str, mode: str, status: int) -> None:
    answer = asked(f"{BASE}/", cookie=ticket(), sec_fetch_site=site, sec_fetch_mode=mode)
    assert answer.status_code == status


def test_each_start_has_secrets_of_its_own() -> None:
    other = Door(_inside, new_base())
    assert other.token != DOOR.token and new_base() != BASE
