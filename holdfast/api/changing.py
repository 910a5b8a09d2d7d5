"""The routes by which root begins operations, and ends them in order.

Invariant: rights come first, as the kernel says; then the request is judged by the service alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from starlette.responses import Response

from holdfast.api.parts import Api
from holdfast.api.problems import answer
from holdfast.api.schemas import request_body
from holdfast.errors import InvalidOption, MissingRights
from holdfast.model.bounded import read_object
from holdfast.model.event import FORM
from holdfast.model.served import JobShown
from holdfast.service.operations import OPERATIONS, read_request

Identifier = Annotated[str, InPath(description="Of a job.")]


def changing(api: Api) -> APIRouter:
    """What root can begin, and end."""
    routes = APIRouter(prefix="/v1", tags=["change"])

    def begin(operation: str) -> Callable[[Request], Awaitable[Response]]:
        async def _begin(request: Request) -> Response:
            only_root(request)
            try:
                asked = read_object(await request.body())
                values = {"form": FORM, "operation": operation, "request": asked}
                wanted = read_request(values)
            except ValueError as error:
                mend = "GET /openapi.json says what there is."
                raise InvalidOption(f"the request cannot be read: {error}", mend) from error
            begun = await api.jobs.begin(wanted)
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
        only_root(request)
        begun = api.jobs.find(identifier)
        begun.job.interrupt()
        return answer(begun.as_json(), 202)

    return routes


def only_root(request: Request) -> None:
    """Raise MissingRights unless root has connected."""
    if not request.state.peer.is_root:
        raise MissingRights("only root may change something", "Connect as root: sudo.")
