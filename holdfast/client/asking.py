"""What can be asked of the API: requests as values, and how their answers are read. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from holdfast.error_codes import by_code
from holdfast.errors import HoldfastError, NewerVersion
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import converted, read_json, typed
from holdfast.model.copy import CopyReport
from holdfast.model.history import HistoryReport
from holdfast.model.point import PointReport
from holdfast.model.receipt import Receipt
from holdfast.model.served import (
    AlertsShown,
    ApiVersion,
    AssessmentShown,
    DoctorReport,
    DrillsShown,
    JobShown,
    MomentShown,
    PolicyShown,
    Problem,
    RestorationShown,
    ShownVolume,
    UsersShown,
    WatchShown,
)
from holdfast.model.trouble import Trouble
from holdfast.model.volume import check_name

T = TypeVar("T")


@dataclass(frozen=True)
class Asked(Generic[T]):
    """One request, and the type of what it gives."""

    path: str
    kind: Any
    """As `model.bounded` reads it."""
    method: str = "GET"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    body: bytes | None = None

    def read(self, status: int, text: bytes) -> T:
        """What was answered. Raises what the API says; NewerVersion when it cannot be read."""
        try:
            values = read_json(text)
            if status >= 400:
                raise error_of_problem(typed(Problem, values))
            found: T = converted(self.kind, values, "answer")
        except ValueError as error:
            raise NewerVersion(
                f"the API's answer ({status}) cannot be read: {error}",
                "Use the version of Holdfast that serves: GET /v1/version.",
            ) from error
        return found


def error_of_problem(problem: Problem) -> HoldfastError:
    """The error that was raised where it was asked."""
    kind = by_code(problem.code) if problem.code else None
    return (kind or HoldfastError)(problem.detail, problem.mend)


def version() -> Asked[ApiVersion]:
    """Who answers."""
    return Asked("/v1/version", ApiVersion)


def volumes(unhealthy: bool) -> Asked[tuple[ShownVolume, ...]]:
    """Every volume, or those with which something is wrong."""
    return Asked(
        "/v1/volumes",
        tuple[ShownVolume, ...],
        parameters={"unhealthy": "true" if unhealthy else "false"},
    )


def volume(name: str) -> Asked[ShownVolume]:
    """One of them. Raises InvalidName."""
    return Asked(f"/v1/volumes/{check_name(name)}", ShownVolume)


def history(name: str) -> Asked[HistoryReport]:
    """What is kept of one. Raises InvalidName."""
    return Asked(f"/v1/volumes/{check_name(name)}/history", HistoryReport)


def users(name: str) -> Asked[UsersShown]:
    """Who keeps one busy. Raises InvalidName."""
    return Asked(f"/v1/volumes/{check_name(name)}/users", UsersShown)


def copies(name: str) -> Asked[tuple[CopyReport, ...]]:
    """Copies of one. Raises InvalidName."""
    return Asked(f"/v1/volumes/{check_name(name)}/copies", tuple[CopyReport, ...])


def points(name: str) -> Asked[tuple[PointReport, ...]]:
    """Restore points of one. Raises InvalidName."""
    return Asked(f"/v1/volumes/{check_name(name)}/points", tuple[PointReport, ...])


def assessment(name: str, at: str) -> Asked[MomentShown]:
    """A moment of one, and what a restoration to it would do. Raises InvalidName."""
    path = f"/v1/volumes/{check_name(name)}/assessment"
    return Asked(path, MomentShown, parameters={"at": at})


def policy(name: str) -> Asked[PolicyShown]:
    """What may happen to one by itself. Raises InvalidName."""
    return Asked(f"/v1/volumes/{check_name(name)}/policy", PolicyShown)


def drills() -> Asked[tuple[DrillsShown, ...]]:
    """Of every volume."""
    return Asked("/v1/drills", tuple[DrillsShown, ...])


def alerts() -> Asked[AlertsShown]:
    """Who is told of what."""
    return Asked("/v1/alerts", AlertsShown)


def assess(name: str, **request: Any) -> Asked[AssessmentShown]:
    """What a restoration would do. Raises InvalidName."""
    parameters = {key: value for key, value in request.items() if value}
    return Asked(f"/v1/volumes/{check_name(name)}/assess", AssessmentShown, parameters=parameters)


def restorations() -> Asked[tuple[RestorationShown, ...]]:
    """Those that have begun and not ended."""
    return Asked("/v1/restorations", tuple[RestorationShown, ...])


def watch() -> Asked[WatchShown]:
    """Whether anybody would be told."""
    return Asked("/v1/watch", WatchShown)


def troubles() -> Asked[tuple[Trouble, ...]]:
    """Everything that is wrong."""
    return Asked("/v1/troubles", tuple[Trouble, ...])


def receipts(
    volume: str | None, since: str | None, until: str | None, limit: int
) -> Asked[tuple[Receipt, ...]]:
    """What happened, newest first."""
    given = {"volume": volume, "since": since, "until": until, "limit": str(limit)}
    parameters = {name: value for name, value in given.items() if value is not None}
    return Asked("/v1/receipts", tuple[Receipt, ...], parameters=parameters)


def receipt(identifier: str) -> Asked[Receipt]:
    """One of them, by its id or how that begins."""
    return Asked(f"/v1/receipts/{_segment(identifier)}", Receipt)


def doctor() -> Asked[DoctorReport]:
    """What the host can and cannot do."""
    return Asked("/v1/doctor", DoctorReport)


def jobs(*, brief: bool) -> Asked[tuple[JobShown, ...]]:
    """What was begun."""
    parameters = {"brief": "true"} if brief else {}
    return Asked("/v1/jobs", tuple[JobShown, ...], parameters=parameters)


def job(identifier: str) -> Asked[JobShown]:
    """One of them."""
    return Asked(f"/v1/jobs/{_segment(identifier)}", JobShown)


def interrupt(identifier: str) -> Asked[JobShown]:
    """End it in order."""
    return Asked(f"/v1/jobs/{_segment(identifier)}", JobShown, "DELETE")


def begin(operation: str, request: Mapping[str, Any]) -> Asked[JobShown]:
    """Begin an operation."""
    body = json.dumps(request).encode()
    return Asked(f"/v1/operations/{operation}", JobShown, "POST", body=body)


def events_path(identifier: str) -> str:
    """Where a job tells what happens."""
    return f"/v1/jobs/{_segment(identifier)}/events"


def _segment(text: str) -> str:
    """A part of a path, whatever is in it: two dots would lead elsewhere."""
    escaped = quote(text, safe="", errors="replace")
    return escaped.replace(".", "%2E") if not escaped.strip(".") else escaped
