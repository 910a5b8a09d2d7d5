"""When the daemon begins to bring a copy on, of what others are at work on."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from holdfast.daemon.following import Follower, _CopyLook, _FollowJob
from holdfast.model.copy import VolumeCopy
from holdfast.model.following import Following
from holdfast.service import FollowRequest, Holdfast

COPY = VolumeCopy(id="c", volume="shop", volume_id="v", url="file:/c.img", size_bytes=1, position=0,
                  made=0.0)  # fmt: skip


@pytest.mark.parametrize(("heard_seconds_ago", "begins"), [(11.0, True), (1.0, False)])
def test_storage_that_hangs_keeps_no_other_copy_back(
    heard_seconds_ago: float, begins: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many: only one that gets on is waited for."""
    begun: list[FollowRequest] = []

    def job(request: FollowRequest, settings: object) -> SimpleNamespace:
        begun.append(request)
        return SimpleNamespace(pid=1)

    monkeypatch.setattr("holdfast.daemon.following.Job", job)
    follower = Follower(cast(Holdfast, SimpleNamespace(settings=None)))
    heard = time.monotonic() - heard_seconds_ago
    nobody: Any = None
    follower._jobs = {f"{n}": _FollowJob(nobody, f"hangs-{n}", heard, 0) for n in range(9)}
    follower._begin(_CopyLook(Following("c", "shop", 10.0, made=0.0), COPY, nobody))
    assert begun == ([FollowRequest("shop", "c")] if begins else [])
