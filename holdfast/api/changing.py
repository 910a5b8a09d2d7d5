"""The routes by which operations are begun, and ended in order.

Invariant: rights come first (`rights`); then the request is judged by the service alone.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from starlette.responses import Response

from holdfast.api.begun_jobs import BegunJob, no_such_job
from holdfast.api.parts import Api
from holdfast.api.problems import answer
from holdfast.api.rights import (
    caller_of,
    only_what_may_be_begun,
    only_who_may_change,
    volume_of,
)
from holdfast.api.schemas import request_body
from holdfast.errors import InvalidOption
from holdfast.model.bounded import read_object
from holdfast.model.event import FORM
from holdfast.model.served import JobShown
from holdfast.service.operations import OPERATIONS, read_request

_log = logging.getLogger(__name__)

Identifier = Annotated[str, InPath(description="Of a job.")]


def changing(api: Api) -> APIRouter:
    """What can be begun, and ended."""
    routes = APIRouter(prefix="/v1", tags=["change"])

    def begin(operation: str) -> Callable[[Request], Awaitable[Response]]:
        async def _begin(request: Request) -> Response:
            caller = only_who_may_change(request)
            try:
                asked = read_object(await request.body())
                values = {"form": FORM, "operation": operation, "request": asked}
                wanted = read_request(values)
            except ValueError as error:
                mend = "GET /openapi.json says what there is."
                raise InvalidOption(f"the request cannot be read: {error}", mend) from error
            only_what_may_be_begun(request, wanted)
            begun = await api.jobs.begin(wanted)
            _log.info("job %s: %s, begun by %s", begun.id, operation, caller.words)
            made = answer(begun.as_json(), 202)
            made.headers["location"] = f"/v1/jobs/{begun.id}"
            return made

        return _begin

    for operation in OPERATIONS:
        routes.add_api_route(
            f"/operations/{operation.name}",
            begin(operation.name),
            methods=["POST"],
            status_code=202,
            response_model=JobShown,
            name=operation.name,
            description=operation.request.__doc__ or "",
            openapi_extra=request_body(operation.request),
        )

    @routes.delete("/jobs/{identifier}", status_code=202, response_model=JobShown)
    async def interrupt(request: Request, identifier: Identifier) -> Response:
        """End it in order: what is half done is undone, or finished. Its events tell the end."""
        caller = only_who_may_change(request)
        begun = job_of(api, request, identifier)
        begun.job.interrupt()
        _log.info("job %s: to be ended, by %s", begun.id, caller.words)
        return answer(begun.as_json(), 202)

    return routes


def jobs_of(api: Api, request: Request) -> list[BegunJob]:
    """Those that whoever asks may know of, oldest first."""
    caller = caller_of(request)
    return [each for each in api.jobs if caller.sees(volume_of(each.request))]


def job_of(api: Api, request: Request, identifier: str) -> BegunJob:
    """One of those. Raises NoSuchJob."""
    found = api.jobs.find(identifier)
    if not caller_of(request).sees(volume_of(found.request)):
        raise no_such_job(identifier)
    return found
