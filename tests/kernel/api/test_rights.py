"""Members of the group read and change nothing, all others do not even connect; the kernel says."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from holdfast.config import Settings
from holdfast.service.operations import OPERATIONS
from tests.kernel.api.serving import NOBODY, api, as_somebody, client

Run = Callable[..., Any]

LIES = {"x-forwarded-user": "root", "x-forwarded-for": "0", "authorization": "Bearer root"}


def test_a_member_of_the_group_reads_and_changes_nothing(holdfast_home: Path) -> None:
    def ask(asking: httpx.Client) -> None:
        for path in ("version", "volumes", "troubles", "receipts", "doctor", "jobs"):
            assert asking.get(f"/v1/{path}").status_code == 200
        paths = [f"/v1/operations/{each.name}" for each in OPERATIONS]
        answers = [asking.post(path, json={}, headers=LIES) for path in paths]
        answers.append(asking.delete("/v1/jobs/x", headers=LIES))
        assert {each.status_code for each in answers} == {403}
        assert {each.json()["code"] for each in answers} == {"RIGHTS"}

    with api(), client() as asking:
        assert as_somebody(ask) == ""
        assert asking.get("/v1/jobs").json() == []
        path = Settings().api_socket
        assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (0o660, NOBODY)
        told = as_somebody(lambda other: other.get("/v1/version"), is_member=False)
        assert "Permission denied" in told


def test_only_root_connects_where_there_is_no_group(holdfast_home: Path, run_holdfast: Run) -> None:
    with api(group=None):
        told = as_somebody(lambda asking: asking.get("/v1/version"))
        assert "Permission denied" in told
        refused = run_holdfast("api", check=False)
        assert (refused.returncode, "ATWORK" in refused.stderr) == (3, True)
    assert not Settings().api_socket.exists()
    unknown = run_holdfast("api", "--group", "no such group", check=False)
    assert (unknown.returncode, "OPTION" in unknown.stderr) == (2, True)
