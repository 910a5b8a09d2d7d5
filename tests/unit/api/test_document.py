"""docs/api.md names every route and operation, and the bounds that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from holdfast.api.application import make_application
from holdfast.api.begun_jobs import MOST_ENDED, MOST_ENDING, MOST_EVENTS, MOST_RUNNING
from holdfast.api.connections import Seats
from holdfast.api.limits import MOST_HEADER_BYTES, ApiLimits
from holdfast.api.lookers import (
    ANSWER_SECONDS,
    MOST_LOOKERS,
    MOST_WAITING,
    MOST_WAITING_OF_A_USER,
)
from holdfast.api.network import (
    HANDSHAKE_SECONDS,
    LOOK_SECONDS,
    STAYS_SECONDS,
    STRANGERS,
    STRANGERS_OF_AN_ADDRESS,
)
from holdfast.client import Client, RemoteJob
from holdfast.service.operations import OPERATIONS

TEXT = (Path(__file__).parents[3] / "docs" / "api.md").read_text()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return make_application(ApiLimits(), Seats(1, 1)).openapi()


def test_routes(document: dict[str, Any]) -> None:
    there = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
        if "/operations/" not in path
    }
    named = {
        re.sub(r"\bNAME\b", "{name}", each)
        for each in re.findall(r"`((?:GET|DELETE) /[^`?]+)", TEXT)
        if each != "GET /openapi.json"
    }
    receipt = "GET /v1/receipts/{identifier}"
    named = {each.replace("/receipts/ID", "/receipts/{identifier}") for each in named}
    named = {each.replace("/jobs/ID", "/jobs/{identifier}") for each in named}
    assert receipt in named
    assert named == there


def test_operations(document: dict[str, Any]) -> None:
    (listed,) = re.findall(r"^Operations are (.*?); the body", TEXT, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`([\w-]+)`", listed)) == {each.name for each in OPERATIONS}
    for each in OPERATIONS:
        route = document["paths"][f"/v1/operations/{each.name}"]["post"]
        schema = route["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        described = document["components"]["schemas"][schema.rpartition("/")[2]]
        fields = getattr(each.request, "__dataclass_fields__")  # noqa: B009
        assert described.get("properties", {}).keys() == fields.keys()


def test_bounds() -> None:
    limits = ApiLimits()
    for words in [
        f"| {limits.body_bytes >> 10} KiB, {MOST_HEADER_BYTES >> 10} KiB,"
        f" {limits.request_seconds:g} s |",
        f"| {limits.write_seconds:g} s, then",
        f"| {limits.connections} of root, {limits.connections} of all others,"
        f" {limits.connections_of_a_user} of one user |",
        f"| {limits.streams} of root, {limits.streams} of all others,"
        f" {limits.streams_of_a_user} of one user |",
        f"| {ANSWER_SECONDS:g} s; {MOST_LOOKERS}, of which one is root's; {MOST_WAITING} of root,"
        f" {MOST_WAITING} of all others, {MOST_WAITING_OF_A_USER} of one user.",
        f"| {MOST_RUNNING}, {MOST_ENDED}; for `release` and `thaw` {MOST_ENDING} more |",
        f"| {STRANGERS}, {STRANGERS_OF_AN_ADDRESS} of one address; {STAYS_SECONDS:g} s |",
        f"| {HANDSHAKE_SECONDS:g} s |",
        f"| {limits.connections}, {limits.connections_of_a_user} of one token |",
        f"within {LOOK_SECONDS:g} s",
        f"the last {MOST_EVENTS} first",
    ]:
        assert words in TEXT


def test_the_client() -> None:
    for kind in (Client, RemoteJob):
        for name in vars(kind):
            if not name.startswith("_"):
                assert re.search(rf"\b{name}\b", TEXT), name
