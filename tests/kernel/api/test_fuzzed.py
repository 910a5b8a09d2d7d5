"""Whatever is asked, by whomever: no answer says that we failed; nothing is done without rights.

Requests are made from the document that the API gives of itself, right and wrong ones; every answer
is held against that document.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.service.operations import OPERATIONS
from tests.kernel.api.serving import api, as_somebody, client
from tests.soak import rounds

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


def fuzz(asking: httpx.Client, *, changing: bool) -> None:
    """Every route that changes something, or every other."""
    import schemathesis  # only here: what is loaded beside a test is copied by every fork of it

    document = schemathesis.openapi.from_dict(asking.get("/openapi.json").json())
    for found in document.get_all_operations():
        route = found.ok()
        if (route.method.upper() != "GET") == changing and not route.path.endswith("/events"):
            _fuzz_route(asking, route)


def _fuzz_route(asking: httpx.Client, route: Any) -> None:
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
        max_examples=rounds(4, 300),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        database=None,
        derandomize=rounds(1, 0) == 1,
    )
    @given(case=route.as_strategy())
    def ask(case: Any) -> None:
        words = case.as_transport_kwargs(base_url="http://holdfast")
        words.pop("cookies", None)
        made = asking.build_request(**{**words, "params": words.get("params")})
        answer = asking.send(made)
        case.validate_response(schemathesis.Response.from_httpx(answer, verify=False), checks=held)
        if route.method.upper() != "GET":
            assert answer.status_code == 403

    ask()


@pytest.mark.timeout(rounds(300, 3600))
def test_fuzzed(holdfast_home: Path) -> None:
    with api(), client() as asking:
        fuzz(asking, changing=False)  # first: another user cannot load what this needs
        assert as_somebody(lambda other: fuzz(other, changing=True)) == ""
        assert asking.get("/v1/jobs").json() == []
        assert asking.get("/v1/volumes").json() == []


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
