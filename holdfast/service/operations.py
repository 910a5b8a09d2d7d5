"""The operations that may take long: each with its request, its result, and who carries it out.

The one table of what the command line does in its own process and a job does in one of its own
(`holdfast.jobs`), and what a job does for others than a command, though it ends soon: hold and
release, freeze and thaw. Owns what requests are called when they travel as JSON. What is not here
ends soon: asking, planning, adopting, taking a leg away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Generic, TypeVar

from holdfast.applications.freezers.freezing import Frozen
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import converted, typed
from holdfast.model.copy import VolumeCopy
from holdfast.model.event import FORM, check_form
from holdfast.model.point import RestorePoint
from holdfast.model.receipt import Receipt
from holdfast.model.recovery import RecoveryReport, recovery_of
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.volume import VolumeReport
from holdfast.service.drilling import AlertDrillRequest, DrillRequest, LiveDrillRequest
from holdfast.service.follow_request import FollowRequest
from holdfast.service.gating import GateRequest, UngateRequest
from holdfast.service.holdfast import Holdfast
from holdfast.service.requests import (
    AddLegRequest,
    AttachRequest,
    DeleteRequest,
    DetachRequest,
    MigrateRequest,
    NewVolume,
    OperationRequest,
    RebindRequest,
    RecoverRequest,
    ReplaceLegRequest,
    ResizeRequest,
)
from holdfast.service.responding import RespondRequest
from holdfast.service.restore_request import RestoreRequest
from holdfast.service.schedule_request import ScheduledPointsRequest
from holdfast.service.standing_still import (
    FreezeRequest,
    HoldRequest,
    ReleaseRequest,
    ThawRequest,
)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Operation(Generic[Result]):
    """One thing that one can ask for."""

    name: str
    """Stable: requests that travel are called so."""
    request: type[OperationRequest[Result]]
    result: Any
    """The type of the result, as `model.bounded` reads it."""
    carry_out: Callable[[Holdfast, Any, Reporter], Result]

    def result_of(self, value: object) -> Result:
        """The result whose JSON this is. Raises ValueError."""
        result: Result = converted(self.result, value, "result")
        return result


def perform(
    holdfast: Holdfast, request: OperationRequest[Result], reporter: Reporter = SILENT
) -> Result:
    """Carry out what is asked for, in this process; blocks until it is done.

    Durable on return. Raises HoldfastError; after KeyboardInterrupt it was undone, or finished.
    """
    return operation_of(request).carry_out(holdfast, request, reporter)


def operation_of(request: OperationRequest[Result]) -> Operation[Result]:
    """The operation that this request is for. Raises TypeError: for none that is here."""
    for each in OPERATIONS:
        if each.request is type(request):
            return each
    raise TypeError(f"{type(request).__name__} is the request of no operation that may take long")


def request_as_json(request: OperationRequest[Any]) -> dict[str, Any]:
    """Plain values, which `read_request` reads."""
    values = asdict(request)  # type: ignore[call-overload]  # each of OPERATIONS is a dataclass
    return {"form": FORM, "operation": operation_of(request).name, "request": values}


def read_request(values: dict[str, Any]) -> OperationRequest[Any]:
    """The request that `request_as_json` described. Raises ValueError, BadInput."""
    rest = dict(values)
    check_form(rest)
    name = rest.get("operation")
    found = next((each for each in OPERATIONS if each.name == name), None)
    if found is None:
        raise ValueError(f"there is no operation {str(name)[:40]!r}")
    return typed(found.request, rest.get("request"))


def _attach(holdfast: Holdfast, request: AttachRequest, reporter: Reporter) -> VolumeReport:
    return holdfast.attach_volume(
        request.volume, request.leg_urls, request.forced, reporter, request.mount
    )


def _detach(holdfast: Holdfast, request: DetachRequest, reporter: Reporter) -> VolumeReport:
    if request.park_seconds is None:
        wanted = request.stays_wanted
        return holdfast.detach_volume(request.volume, reporter, stays_wanted=wanted)
    return holdfast.restorations.park(request.volume, request.park_seconds, reporter)


def _delete(holdfast: Holdfast, request: DeleteRequest, reporter: Reporter) -> tuple[str, ...]:
    left = holdfast.delete_volume(request.volume, request.keep_images, reporter)
    holdfast.histories.schedules.forget(request.volume)
    _forget_drills(holdfast, request.volume)
    return (*left, *holdfast.histories.copies.remaining(request.volume))


def _forget_drills(holdfast: Holdfast, name: str) -> None:
    """Another volume of that name would have them, and their check is run as root."""
    from holdfast.service.last_drills import schedules

    if name in schedules(holdfast.settings):
        from holdfast.policy.drill_schedules import set_schedule

        set_schedule(holdfast.settings.state_directory, name, None)


def _resize(holdfast: Holdfast, request: ResizeRequest, reporter: Reporter) -> VolumeReport:
    return holdfast.resize_volume(request.volume, request.size_bytes, reporter)


def _add_leg(holdfast: Holdfast, request: AddLegRequest, reporter: Reporter) -> VolumeReport:
    return holdfast.legs.add(
        request.volume, request.url, request.spare, request.wait, reporter.percent
    )


def _replace_leg(
    holdfast: Holdfast, request: ReplaceLegRequest, reporter: Reporter
) -> VolumeReport:
    return holdfast.legs.replace(
        request.volume, request.leg, request.url, request.wait, reporter.percent
    )


def _change_kind(
    holdfast: Holdfast, request: GateRequest | UngateRequest, reporter: Reporter
) -> Receipt:
    return holdfast.restorations.change_kind(request, reporter)


def _restore(holdfast: Holdfast, request: RestoreRequest, reporter: Reporter) -> Receipt | None:
    from holdfast.service.rewinding import restored  # loads all that restorations take

    return restored(holdfast, request, reporter)


def _rebind(holdfast: Holdfast, request: RebindRequest, reporter: Reporter) -> tuple[str, ...]:
    return holdfast.restorations.rebind(request.volume, request.deadline_seconds)


def _drill(holdfast: Holdfast, request: DrillRequest, reporter: Reporter) -> Receipt:
    from holdfast.service.drills import drill

    return drill(holdfast, request, reporter)


def _drill_live(holdfast: Holdfast, request: LiveDrillRequest, reporter: Reporter) -> Receipt:
    from holdfast.service.live_drills import drill_live

    return drill_live(holdfast, request, reporter)


def _drill_alert(holdfast: Holdfast, request: AlertDrillRequest, reporter: Reporter) -> Receipt:
    from holdfast.service.alert_drills import drill_alert

    return drill_alert(holdfast, request, reporter)


OPERATIONS: tuple[Operation[Any], ...] = (
    Operation("create", NewVolume, VolumeReport, Holdfast.create_volume),
    Operation("attach", AttachRequest, VolumeReport, _attach),
    Operation("detach", DetachRequest, VolumeReport, _detach),
    Operation("resize", ResizeRequest, VolumeReport, _resize),
    Operation("delete", DeleteRequest, tuple[str, ...], _delete),
    Operation(
        "migrate",
        MigrateRequest,
        Receipt | None,
        lambda holdfast, request, reporter: holdfast.restorations.migrate(request, reporter),
    ),
    Operation("gate", GateRequest, Receipt, _change_kind),
    Operation("ungate", UngateRequest, Receipt, _change_kind),
    Operation(
        "restore",
        RestoreRequest,
        Receipt | None,
        _restore,
    ),
    Operation(
        "respond",
        RespondRequest,
        Receipt | None,
        lambda holdfast, request, reporter: holdfast.policies.respond(request, reporter),
    ),
    Operation(
        "follow",
        FollowRequest,
        VolumeCopy | None,
        lambda holdfast, request, reporter: holdfast.histories.following.bring_on(
            request, reporter
        ),
    ),
    Operation(
        "scheduled-points",
        ScheduledPointsRequest,
        tuple[RestorePoint, ...],
        lambda holdfast, request, reporter: holdfast.histories.schedules.make(request.volume),
    ),
    Operation("drill", DrillRequest, Receipt, _drill),
    Operation("drill-live", LiveDrillRequest, Receipt, _drill_live),
    Operation("drill-alert", AlertDrillRequest, Receipt, _drill_alert),
    Operation(
        "hold",
        HoldRequest,
        VolumeReport,
        lambda holdfast, request, reporter: holdfast.hold(
            request.volume, request.seconds, request.reason
        ),
    ),
    Operation(
        "release",
        ReleaseRequest,
        VolumeReport,
        lambda holdfast, request, reporter: holdfast.release(request.volume),
    ),
    Operation(
        "freeze",
        FreezeRequest,
        Frozen,
        lambda holdfast, request, reporter: holdfast.freezes.freeze(
            request.volume, request.seconds, request.by
        ),
    ),
    Operation(
        "thaw",
        ThawRequest,
        Receipt | None,
        lambda holdfast, request, reporter: holdfast.freezes.thaw(request.volume),
    ),
    Operation("rebind", RebindRequest, tuple[str, ...], _rebind),
    Operation("add-leg", AddLegRequest, VolumeReport, _add_leg),
    Operation("replace-leg", ReplaceLegRequest, VolumeReport, _replace_leg),
    Operation(
        "recover",
        RecoverRequest,
        RecoveryReport,
        lambda holdfast, request, reporter: recovery_of(holdfast.recover()),
    ),
)
