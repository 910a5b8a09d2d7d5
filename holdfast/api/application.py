"""The routes: what can be asked, begun and listened to, each in a few lines.

Invariant: everybody who is admitted may ask, of those volumes that they are not kept from; what
they may begin or end is judged by `rights`. Nothing here blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi import Path as InPath
from starlette.responses import Response

from holdfast.api.changing import Identifier, changing, job_of, jobs_of
from holdfast.api.connections import Seats
from holdfast.api.limits import ApiLimits
from holdfast.api.metrics import CONTENT_TYPE, OwnFigures, exposition
from holdfast.api.parts import Api
from holdfast.api.problems import answer, answer_problems
from holdfast.api.questions import MOST_RECEIPTS
from holdfast.api.rights import (
    caller_of,
    only_of_the_host,
    only_who_may_change,
    only_who_sees,
    seen,
)
from holdfast.api.schemas import EVENTS, FIGURES, PROBLEMS, describe
from holdfast.api.streams import EventStream
from holdfast.model.copy import CopyReport
from holdfast.model.history import HistoryReport
from holdfast.model.plan import Strategy
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
    RestorationShown,
    ShownVolume,
    UsersShown,
    WatchShown,
)
from holdfast.model.trouble import Trouble
from holdfast.model.version import VERSION
from holdfast.service.requests import DEADLINE_SECONDS

_ABOUT = """Storage under running applications: looked at by whoever may connect, changed by root.

Requests of operations are those of docs/jobs.md; errors are those of docs/exit-status.md."""

MOST_MOMENT = 200
"""Characters: names of points have 64."""

Name = Annotated[str, InPath(description="Of a volume.")]
When = Annotated[str | None, Query(description='As in commands: "10m ago", "yesterday 14:02".')]
Moment = Annotated[str, Query(min_length=1, max_length=MOST_MOMENT, description="As `--at`.")]
LONGEST_SECONDS = 24 * 3600.0
"""Nobody means to keep applications waiting for longer than a day."""

Deadline = Annotated[float, Query(gt=0, le=LONGEST_SECONDS)]
Urls = Annotated[
    Sequence[str], Query(description="Containers that take the place of the present storage.")
]
Limit = Annotated[int, Query(ge=1, le=MOST_RECEIPTS)]

LAST_EVENT = "last-event-id"


def make_application(limits: ApiLimits, connections: Seats) -> FastAPI:
    """All of it, without its bounds; of one event loop."""
    api = Api(limits, connections)
    made = FastAPI(
        title="Holdfast",
        version=VERSION,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    answer_problems(made)
    for routes in (_looking(api), changing(api), _listening(api), _measuring(api)):
        made.include_router(routes, responses=PROBLEMS)
    made.openapi = lambda: describe(made)  # type: ignore[method-assign]
    return made


def _looking(api: Api) -> APIRouter:
    """What can be asked."""
    routes = APIRouter(prefix="/v1", tags=["look"])
    ask = api.ask

    @routes.get("/version", response_model=ApiVersion)
    async def version() -> Response:
        return answer({"version": VERSION})

    @routes.get("/volumes", response_model=list[ShownVolume])
    async def volumes(request: Request, unhealthy: bool = False) -> Response:
        found = await ask(request, "volumes", {"unhealthy": unhealthy})
        return answer(seen(request, found, "name"))

    @routes.get("/volumes/{name}", response_model=ShownVolume)
    async def volume(request: Request, name: Name) -> Response:
        only_who_sees(request, name)
        return answer(await ask(request, "volume", {"name": name}))

    @routes.get("/volumes/{name}/history", response_model=HistoryReport)
    async def history(request: Request, name: Name) -> Response:
        only_who_sees(request, name)
        return answer(await ask(request, "history", {"name": name}))

    @routes.get("/volumes/{name}/users", response_model=UsersShown)
    async def users(request: Request, name: Name) -> Response:
        only_who_sees(request, name)
        return answer(await ask(request, "users", {"name": name}))

    @routes.get("/volumes/{name}/copies", response_model=list[CopyReport])
    async def copies(request: Request, name: Name) -> Response:
        only_who_sees(request, name)
        return answer(await ask(request, "copies", {"name": name}))

    @routes.get("/volumes/{name}/points", response_model=list[PointReport])
    async def points(request: Request, name: Name) -> Response:
        only_who_sees(request, name)
        return answer(await ask(request, "points", {"name": name}))

    @routes.get("/volumes/{name}/policy", response_model=PolicyShown)
    async def policy(request: Request, name: Name) -> Response:
        only_who_sees(request, name)
        return answer(await ask(request, "policy", {"name": name}))

    @routes.get("/volumes/{name}/assessment", response_model=MomentShown)
    async def assessment(request: Request, name: Name, at: Moment) -> Response:
        only_who_sees(request, name)
        return answer(await ask(request, "assessment", {"name": name, "at": at}))

    @routes.get("/volumes/{name}/assess", response_model=AssessmentShown)
    async def assess(
        request: Request,
        name: Name,
        strategy: Strategy | None = None,
        urls: Urls = (),
        filesystem: str = "",
        contents: str = "",
        deadline_seconds: Deadline = DEADLINE_SECONDS,
        forced: bool = False,
    ) -> Response:
        """What a restoration would do, and what is in its way; touches nothing. Where other
        storage or contents are named they are looked at as root: only who may change names them."""
        only_who_sees(request, name)
        if urls or contents:
            only_who_may_change(request)
            only_of_the_host(request)
        about = {
            "volume": name,
            "strategy": strategy,
            "urls": urls,
            "filesystem": filesystem,
            "contents": contents,
            "deadline_seconds": deadline_seconds,
            "forced": forced,
        }
        return answer(await ask(request, "assess", about))

    @routes.get("/restorations", response_model=list[RestorationShown])
    async def restorations(request: Request) -> Response:
        return answer(seen(request, await ask(request, "restorations"), "volume"))

    @routes.get("/watch", response_model=WatchShown)
    async def watch(request: Request) -> Response:
        only_of_the_host(request)
        return answer(await ask(request, "watch"))

    @routes.get("/alerts", response_model=AlertsShown)
    async def alerts(request: Request) -> Response:
        only_of_the_host(request)
        return answer(await ask(request, "alerts"))

    @routes.get("/drills", response_model=list[DrillsShown])
    async def drills(request: Request) -> Response:
        return answer(seen(request, await ask(request, "drills"), "volume"))

    @routes.get("/troubles", response_model=list[Trouble])
    async def troubles(request: Request) -> Response:
        return answer(seen(request, await ask(request, "troubles"), "volume"))

    @routes.get("/receipts", response_model=list[Receipt])
    async def receipts(
        request: Request,
        volume: str | None = None,
        since: When = None,
        until: When = None,
        limit: Limit = 100,
    ) -> Response:
        caller = caller_of(request)
        if volume is not None:
            only_who_sees(request, volume)
        volumes = None if caller.volumes is None else sorted(caller.volumes)
        volumes = volumes if volume is None else [volume]
        about = {"volumes": volumes, "since": since, "until": until, "limit": limit}
        return answer(await ask(request, "receipts", about))

    @routes.get("/receipts/{identifier}", response_model=Receipt)
    async def receipt(
        request: Request,
        identifier: Annotated[str, InPath(description="Or its beginning.")],
    ) -> Response:
        found = await ask(request, "receipt", {"identifier": identifier})
        only_who_sees(request, found["volume"])
        return answer(found)

    @routes.get("/doctor", response_model=DoctorReport)
    async def doctor(request: Request) -> Response:
        only_of_the_host(request)
        return answer(await ask(request, "doctor"))

    return routes


def _listening(api: Api) -> APIRouter:
    """Jobs, and what they tell."""
    routes = APIRouter(prefix="/v1", tags=["jobs"])

    @routes.get("/jobs", response_model=list[JobShown])
    async def jobs(request: Request, brief: bool = False) -> Response:
        return answer([each.as_json(brief=brief) for each in jobs_of(api, request)])

    @routes.get("/jobs/{identifier}", response_model=JobShown)
    async def job(request: Request, identifier: Identifier) -> Response:
        return answer(job_of(api, request, identifier).as_json())

    @routes.get("/jobs/{identifier}/events", responses=EVENTS, response_class=Response)
    async def events(request: Request, identifier: Identifier) -> Response:
        begun = job_of(api, request, identifier)
        last = request.headers.get(LAST_EVENT, "")
        return EventStream(begun, _number(last), api.streams)

    return routes


def _measuring(api: Api) -> APIRouter:
    """What Prometheus asks."""
    routes = APIRouter(tags=["look"])

    @routes.get("/metrics", responses=FIGURES, response_class=Response)
    async def metrics(request: Request) -> Response:
        own = OwnFigures(
            VERSION, len(api.connections), len(api.streams), api.jobs.running, api.jobs.ends
        )
        found = await api.ask(request, "figures")
        found = {**found, "volumes": seen(request, found["volumes"], "name")}
        text = exposition(found, own)
        return Response(text, media_type=CONTENT_TYPE)

    return routes


def _number(text: str) -> int:
    """Of the last event that was read; what is none counts as none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
