"""Whatever is asked, by whomever: no answer says that we failed; nothing is done without rights.

Requests are made from the document that the API gives of itself, right and wrong ones; every answer
is held against that document.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.config import Settings
from holdfast.service.api_tokens import tokens_path
from holdfast.service.operations import OPERATIONS
from tests.kernel.api.serving import api, as_somebody, by_network, client
from tests.soak import rounds

Run = Callable[..., Any]

BAD_BODIES = [
    b"",
    b"null",
    b"[]",
    b'"x"',
    b"{",
    b"\xff",
    b"[" * 10_000,
    b'{"a":' * 1_000,
    b'{"volume": 1}',
    b'{"volume": "x", "unknown": 1}',
    b'{"volume": "x", "size_bytes": 1e999}',
    b'{"volume": "x", "size_bytes": NaN}',
    b'{"name": "x", "size_bytes": ' + b"9" * 5_000 + b', "mount_path": "/"}',
    b'{"volume": "\\ud800", "urls": []}',
]
PATHS_OUTSIDE = ["/v1/../etc/passwd", "/v1/volumes/..%2f..%2fetc", "/v1/volumes/%00"]


def fuzz(
    asking: httpx.Client, *, changing: bool, examples: int, refusals: Collection[int] = (403,)
) -> None:
    """Every route that changes something, or every other."""
    import schemathesis  # only here: what is loaded beside a test is copied by every fork of it

    document = schemathesis.openapi.from_dict(asking.get("/openapi.json").json())
    for found in document.get_all_operations():
        route = found.ok()
        if (route.method.upper() != "GET") == changing and not route.path.endswith("/events"):
            _fuzz_route(asking, route, examples, refusals)


def _fuzz_route(asking: httpx.Client, route: Any, examples: int, refusals: Collection[int]) -> None:
    import schemathesis
    from hypothesis import HealthCheck, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    held = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        database=None,
        derandomize=rounds(1, 0) == 1,
    )
    @given(case=route.as_strategy())
    def ask(case: Any) -> None:
        words = case.as_transport_kwargs(base_url=str(asking.base_url).rstrip("/"))
        words.pop("cookies", None)
        made = asking.build_request(**{**words, "params": words.get("params")})
        answer = asking.send(made)
        case.validate_response(schemathesis.Response.from_httpx(answer, verify=False), checks=held)
        if route.method.upper() != "GET":
            assert answer.status_code in refusals

    ask()


@pytest.mark.timeout(rounds(300, 3600))
def test_fuzzed(holdfast_home: Path) -> None:
    with api(), client() as asking:
        few = rounds(4, 100)
        fuzz(asking, changing=False, examples=few)  # first: another user cannot load what it needs
        told = as_somebody(lambda other: fuzz(other, changing=True, examples=few))
        assert told == ""
        assert asking.get("/v1/jobs").json() == []
        assert asking.get("/v1/volumes").json() == []


@pytest.mark.timeout(rounds(300, 3600))
def test_fuzzed_by_network(holdfast_home: Path, run_holdfast: Run, tmp_path: Path) -> None:
    """With a token that may look, with one of a volume that there is no more, and with none."""

    def made(name: str, *words: str) -> str:
        return str(run_holdfast("token", "create", name, *words).stdout.strip())

    with ExitStack() as stack:
        _, reach = stack.enter_context(by_network(tmp_path))
        reads = stack.enter_context(reach(made("reads")))._http
        changes = stack.enter_context(reach(made("changes", "--scope", "change")))
        limited = stack.enter_context(reach(made("limited", "--scope", "change")))._http
        kept = tokens_path(Settings().state_directory)
        values = json.loads(kept.read_text())
        values["tokens"][-1]["volumes"] = []
        kept.write_text(json.dumps(values))
        few = rounds(2, 60)
        fuzz(reads, changing=False, examples=few)
        fuzz(reads, changing=True, examples=few)
        fuzz(limited, changing=True, examples=few, refusals=(400, 403, 404))
        for path in ("/v1/volumes", "/v1/troubles", "/v1/receipts", "/v1/restorations", "/v1/jobs"):
            assert limited.get(path).json() == []
        wrong = stack.enter_context(reach("hf_00000000_" + 43 * "0"))._http
        for method, route in (
            ("GET", "/v1/volumes"),
            ("POST", "/v1/operations/recover"),
            ("DELETE", "/v1/jobs/x"),
        ):
            assert _answered(wrong, method, route).status_code == 401
        assert changes.jobs() == changes.volumes() == ()


def _answered(asking: httpx.Client, method: str, route: str) -> httpx.Response:
    """Wrong tokens come at a bounded rate: others are not heard."""
    for _ in range(1000):
        try:
            return asking.request(method, route)
        except httpx.TransportError:
            continue
    raise AssertionError(route)


def test_what_root_cannot_mean_begins_nothing(holdfast_home: Path) -> None:
    with api(), client() as asking:
        for operation in OPERATIONS:
            for body in BAD_BODIES:
                answer = asking.post(f"/v1/operations/{operation.name}", content=body)
                assert answer.status_code == 400, (operation.name, body)
                assert answer.json()["code"] == "OPTION"
        assert asking.get("/v1/jobs").json() == []
        for path in PATHS_OUTSIDE:
            assert asking.get(path).status_code in (400, 404)
