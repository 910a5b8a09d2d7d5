"""Requests and results survive the way through JSON; what is unknown is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.applications.freezers.freezing import Frozen
from holdfast.errors import InvalidName, InvalidOption
from holdfast.jobs.ends import Finished, end_as_json
from holdfast.model.bounded import read_object
from holdfast.model.finding import Finding, Verdict
from holdfast.model.receipt import Receipt, ReceiptStep
from holdfast.model.recovery import Left, RecoveryReport, recovery_of
from holdfast.model.volume import GateReport, LegReport, LegState, VolumeReport, VolumeState
from holdfast.service import (
    AddLegRequest,
    AlertDrillRequest,
    AssessRequest,
    AttachRequest,
    DeleteRequest,
    DetachRequest,
    DrillRequest,
    FollowRequest,
    FreezeRequest,
    GateRequest,
    HoldRequest,
    LiveDrillRequest,
    MigrateRequest,
    MountRequest,
    NewVolume,
    OperationRequest,
    RebindRequest,
    RecoverRequest,
    ReleaseRequest,
    ReplaceLegRequest,
    ResizeRequest,
    RespondRequest,
    RestoreRequest,
    ScheduledPointsRequest,
    ThawRequest,
    UngateRequest,
)
from holdfast.service.operations import (
    OPERATIONS,
    operation_of,
    read_request,
    request_as_json,
)

REQUESTS: list[OperationRequest[Any]] = [
    NewVolume("bank", 1 << 30, "/srv/b\udce9", leg_urls=("file:/a", "file:/b"), label="x"),
    AttachRequest("bank", ("file:/a",), True, MountRequest("/srv/bank", "noatime")),
    DetachRequest("bank", park_seconds=30.0, stays_wanted=True),
    ResizeRequest("bank", 2 << 30),
    DeleteRequest("bank", keep_images=True),
    MigrateRequest("bank", ("file:/a",), filesystem="xfs", forced=True),
    GateRequest("bank", ("file:/a", "file:/b"), ("file:/c",), journal="none", forced=True),
    UngateRequest("bank", "block:/dev/sdz", in_place=True),
    RestoreRequest("bank", "/srv/old", deadline_seconds=5.5),
    RespondRequest("bank", 31.5, "every call fails"),
    FollowRequest("bank", "a1b2"),
    ScheduledPointsRequest("bank"),
    DrillRequest("bank", "10m ago", check="/usr/bin/true 'a b'", check_seconds=1.5),
    LiveDrillRequest("bank", down_to_one_leg=True),
    AlertDrillRequest("bank"),
    HoldRequest("bank", 5.5, "until the cable is in"),
    ReleaseRequest("bank"),
    FreezeRequest("bank", 2.5, "signal"),
    ThawRequest("bank"),
    RebindRequest("bank"),
    AddLegRequest("bank", "file:/c", spare=True),
    ReplaceLegRequest("bank", "1", "file:/c", wait=False),
    RecoverRequest(),
]
REPORT = VolumeReport(
    "bank", "gated", VolumeState.DEGRADED, "/srv/b\udce9", "ext4", 1 << 30, "/dev/loop1", "id",
    "", "bank", "uuid", "unflushed", 7,
    legs=(LegReport(1, "a", "file:/a", LegState.RESYNCING, 12.5),),
    gate=GateReport(1, 2, True, "why", 1e9, 3, 0, 0, 1.5, {"read": 1}, {"state": "active"}),
)  # fmt: skip
RECEIPT = Receipt(
    "id", "bank", "migrate", "planned", 1.0, 2.0, "done",
    steps=(ReceiptStep("freeze", 1.0, 0.5, "two processes"),),
    processes=({"pid": 7, "handles": {"file": {"moved": 2}}},),
    details={"findings": [Finding("locks", Verdict.LIMITED, "some").as_json()], "none": None},
)  # fmt: skip


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: operation_of(each).name)
def test_a_request_is_the_same_after_its_json(request_: OperationRequest[Any]) -> None:
    assert read_request(read_object(json.dumps(request_as_json(request_)))) == request_


def test_there_is_a_request_of_every_operation_above() -> None:
    assert [type(each) for each in REQUESTS] == [each.request for each in OPERATIONS]
    assert len({each.name for each in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize(
    ("request_", "result"),
    [
        (REQUESTS[0], REPORT),
        (DeleteRequest("bank"), ("left /a",)),
        (MigrateRequest("bank", ("file:/a",)), RECEIPT),
        (MigrateRequest("bank", ("file:/a",)), None),
        (FreezeRequest("bank"), Frozen("bank", "id", "signal", 1.5, ({"pid": 7},), (8,), (9,))),
        (ThawRequest("bank"), RECEIPT),
        (RecoverRequest(), recovery_of(["finished it", Left("left that")])),
    ],
)
def test_a_result_is_the_same_after_its_json(
    request_: OperationRequest[Any], result: object
) -> None:
    values = read_object(json.dumps(end_as_json(Finished(result))))
    read = operation_of(request_).result_of(values["result"])
    assert read == result
    assert type(read) is type(result)


def test_what_ends_soon_is_no_operation() -> None:
    with pytest.raises(TypeError, match="AssessRequest"):
        request_as_json(AssessRequest("bank"))  # type: ignore[arg-type]


def test_a_recovery_tells_what_was_left() -> None:
    found = recovery_of(["finished it", Left("left that")])
    assert found == RecoveryReport(("finished it", "left that"), ("left that",))


@pytest.mark.parametrize(
    "changed",
    [
        {"form": 2},
        {"operation": "destroy"},
        {"operation": None},
        {"request": None},
        {"request": {"volume": "bank"}},
        {"request": {"volume": "bank", "size_bytes": "much"}},
        {"request": {"volume": "bank", "size_bytes": 1, "more": 1}},
    ],
)
def test_what_is_no_request_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        read_request({**request_as_json(ResizeRequest("bank", 1)), **changed})


def test_a_request_that_cannot_be_meant_is_refused_as_ever() -> None:
    values = request_as_json(MigrateRequest("bank", ("file:/a",)))
    values["request"]["urls"] = []
    with pytest.raises(InvalidOption):
        read_request(values)


@pytest.mark.parametrize(
    ("operation", "request_", "kind"),
    [
        ("hold", {"volume": "bank", "seconds": 0}, InvalidOption),
        ("hold", {"volume": "bank", "reason": "two\nlines"}, InvalidOption),
        ("hold", {"volume": "bank", "reason": "x" * 201}, InvalidOption),
        ("freeze", {"volume": "bank", "seconds": -1}, InvalidOption),
        ("thaw", {"volume": "../bank"}, InvalidName),
        ("release", {"volume": ""}, InvalidName),
    ],
)
def test_what_cannot_stand_still_so_is_refused(
    operation: str, request_: dict[str, object], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        read_request({"form": 1, "operation": operation, "request": request_})
