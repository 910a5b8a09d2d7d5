"""Who is limited to volumes begins nothing that reaches beyond them, field by field."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.api.rights import (
    Caller,
    caller_by_socket,
    caller_by_token,
    only_what_may_be_begun,
    only_who_may_change,
)
from holdfast.errors import MissingRights
from holdfast.model.bounded import typed
from holdfast.service.api_tokens import ApiToken, TokenScope
from holdfast.service.operations import OPERATIONS, Operation

LIMITED = Caller("token", "", may_change=True, volumes=frozenset({"shop"}))

THEIRS = {
    "attach": [],
    "detach": ["park_seconds", "stays_wanted"],
    "resize": ["size_bytes"],
    "delete": ["keep_images"],
    "restore": ["at", "undo", "deadline_seconds", "forced", "saves_writes", "volume_id"],
    "rebind": ["deadline_seconds"],
    "hold": ["seconds", "reason"],
    "release": [],
    "freeze": ["seconds", "by"],
    "thaw": [],
}
SAID = {
    "size_bytes": 1, "mount_path": "/x", "url": "file:/x", "urls": ["file:/x"], "leg": "1",
    "copy": "x", "seconds": 9.5, "reason": "x", "mount": {"path": "/x"}, "stays_wanted": True,
    "keep_images": True, "park_seconds": 9.5, "undo": True, "saves_writes": False, "by": "signal",
    "leg_urls": ["file:/x"], "forced": True, "deadline_seconds": 9.5, "more_urls": ["file:/x"],
    "to": "file:/x",
}  # fmt: skip


def asking(caller: Caller) -> Any:
    return SimpleNamespace(state=SimpleNamespace(caller=caller))


def may_begin(operation: Operation[Any], caller: Caller = LIMITED, **values: object) -> bool:
    known = {each.name for each in fields(operation.request)}
    usual = {"name": "shop", "size_bytes": 1 << 30, "mount_path": "/x", "url": "file:/x"}
    usual |= {"urls": ["file:/x"], "leg": "1", "copy": "x", "volume": "shop", "seconds": 9.5}
    usual |= {"leg_urls": ["file:/x"]} if operation.name == "gate" else {}
    named = {name: value for name, value in {**usual, **values}.items() if name in known}
    needed = {each.name for each in fields(operation.request) if each.name in named}
    if operation.name in ("hold", "freeze"):
        needed -= {"seconds"} - values.keys()
    if operation.name == "restore":
        needed -= {"at"} - values.keys()
    wanted = typed(operation.request, {name: named[name] for name in needed})
    try:
        only_what_may_be_begun(asking(caller), wanted)
    except MissingRights:
        return False
    return True


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_each_operation(operation: Operation[Any]) -> None:
    if operation.name not in THEIRS:
        assert not may_begin(operation)
        return
    assert may_begin(operation)
    assert not may_begin(operation, volume="bank")
    assert may_begin(operation, Caller("token", "", may_change=True), volume="bank")
    for each in fields(operation.request):
        if each.name == "volume":
            continue
        value = SAID.get(each.name, "x")
        more = {"contents": "/x"} if each.name in ("to", "history") else {}
        more |= {"to": "file:/x", "contents": "/x"} if each.name == "more_urls" else {}
        allowed = may_begin(operation, **{each.name: value}, **more)
        assert allowed == (each.name in THEIRS[operation.name]), each.name


def test_who_may_change() -> None:
    token = ApiToken("12345678", "x", TokenScope.READ, "", 0.0, None, ("shop",))
    assert caller_by_token(token).volumes == {"shop"}
    for caller in (caller_by_socket(1), caller_by_socket(65534), caller_by_token(token)):
        assert caller.seat != 0
        with pytest.raises(MissingRights):
            only_who_may_change(asking(caller))
    only_who_may_change(asking(caller_by_socket(0)))
    only_who_may_change(asking(LIMITED))
