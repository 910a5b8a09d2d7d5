"""Both clients offer the same; a stream is put together however it is cut."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest

from holdfast.client import AsyncClient, AsyncRemoteJob, Client, RemoteJob, asking
from holdfast.client.hearing import HeardEvent, Hearing
from holdfast.errors import HoldfastError, InvalidName, NewerVersion, NoSuchVolume


def offered(kind: type) -> dict[str, Any]:
    """Names with their parameters."""
    public = inspect.getmembers(kind, inspect.isfunction)
    return {
        name: list(inspect.signature(each).parameters.items())
        for name, each in public
        if not name.startswith("_")
    }


@pytest.mark.parametrize("pair", [(Client, AsyncClient), (RemoteJob, AsyncRemoteJob)])
def test_both_offer_the_same(pair: tuple[type, type]) -> None:
    plain, awaited = map(offered, pair)
    assert plain == awaited
    for name in awaited:
        assert inspect.iscoroutinefunction(getattr(pair[1], name)), name


def test_events_are_put_together() -> None:
    hearing = Hearing()
    lines = [": it goes on", "", "id: 3", "event: event", 'data: {"a": 1}', "", "data: {}", ""]
    found = [each for line in lines if (each := hearing.hear(line))]
    assert found == [HeardEvent(3, "event", {"a": 1}), HeardEvent(3, "event", {})]
    assert hearing.headers()["last-event-id"] == "3"
    hearing.hear("id: 4")
    hearing.begin()  # the connection ended in the middle of an event
    assert hearing.hear("") is None
    assert hearing.last == 3


@pytest.mark.parametrize("data", ["x", "[]", "1"])
def test_what_is_no_event_is_refused(data: str) -> None:
    hearing = Hearing()
    hearing.hear(f"data: {data}")
    with pytest.raises(ValueError):
        hearing.hear("")


def test_problems_are_errors() -> None:
    problem = {
        "type": "urn:holdfast:error:NOVOLUME",
        "title": "t",
        "status": 404,
        "detail": "there is none",
        "code": "NOVOLUME",
        "mend": "list",
        "exit_status": 4,
    }
    with pytest.raises(NoSuchVolume) as raised:
        asking.volumes(False).read(404, json.dumps(problem).encode())
    assert (raised.value.message, raised.value.mend) == ("there is none", "list")
    for code in ("", "ofanotherversion"):
        with pytest.raises(HoldfastError) as other:
            asking.volumes(False).read(404, json.dumps({**problem, "code": code}).encode())
        assert type(other.value) is HoldfastError


@pytest.mark.parametrize("text", [b"", b"<html>", b"{}", b'[{"name": "shop", "new": 1}]'])
def test_what_another_version_says_is_told_so(text: bytes) -> None:
    for status in (200, 404):
        with pytest.raises(NewerVersion):
            asking.volumes(False).read(status, text)


@pytest.mark.parametrize("name", ["..", ".", "a/../b", "a?b", "a#b", "\0", "\udce9"])
def test_what_is_named_is_one_part_of_a_path(name: str) -> None:
    path = asking.receipt(name).path
    assert path.startswith("/v1/receipts/") and path.count("/") == 3
    assert not {"?", "#", "\0"} & set(path) and path.rsplit("/", 1)[1].strip(".")
    with pytest.raises(InvalidName):
        asking.volume(name)
