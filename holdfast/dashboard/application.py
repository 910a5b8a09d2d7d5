"""Pages and streams by their paths, each in a few lines. Nothing here blocks, nothing changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from holdfast.api.problems import problem_of
from holdfast.dashboard.asking import Asking
from holdfast.dashboard.live import LiveStream, PagePart, seats
from holdfast.dashboard.shown import STATE_SECONDS, STEP_SECONDS, Filters, Shown
from holdfast.dashboard.templates import Templates
from holdfast.dashboard.topics import Topics
from holdfast.errors import DeadlinePassed, HoldfastError, NotFound
from holdfast.receipt_page import document, first_line

_log = logging.getLogger(__name__)

Page = Callable[[Request], Awaitable[Response]]

OVERVIEW_SECONDS = 2.0
"""Between looks of one that is looked at."""

PAGE_SECONDS = 20.0
"""In which a page is there, or says that it is not: storage has ten for a probe."""

_ALIVE_SECONDS = 2.0
"""In which the API says its version."""


def make_application(asking: Asking, templates: Templates, base: str) -> Starlette:
    """All of it, without its door and its bounds; of one event loop."""
    return _Pages(asking, templates, base).application()


class _Pages:
    def __init__(self, asking: Asking, templates: Templates, base: str) -> None:
        self._shown = Shown(asking, templates)
        self._topics = Topics(asking, templates)
        self._templates = templates
        self._base = base
        self._seats = seats()

    def application(self) -> Starlette:
        routes = [
            Route("/", _in_time(self._overview)),
            Route("/answers", self._answers),
            Route("/volumes/{name}", _in_time(self._volume)),
            Route("/volumes/{name}/rest", self._volume_rest),
            Route("/volumes/{name}/more", _in_time(self._volume_more)),
            Route("/volumes/{name}/moment", self._moment),
            Route("/volumes/{name}/moment/part", self._moment_part),
            *(Route(f"/{name}", _in_time(self._topic)) for name in self._topics.all),
            Route("/receipts", _in_time(self._receipts)),
            Route("/receipts/{identifier}/file", _in_time(self._receipt_file)),
            Route("/receipts/{identifier}", _in_time(self._receipt)),
            Route("/restorations/{identifier}", _in_time(self._restoration)),
            Route("/live/overview", self._live_overview),
            *(Route(f"/live/{name}", self._live_topic) for name in self._topics.all),
            Route("/live/volumes/{name}", self._live_volume),
            Route("/live/restorations/{identifier}", self._live_restoration),
            Route("/static/{name}", self._static),
        ]
        made = Starlette(routes=routes)
        made.add_exception_handler(HoldfastError, self._problem)  # type: ignore[arg-type]
        made.add_exception_handler(HTTPException, self._no_page)  # type: ignore[arg-type]
        made.add_exception_handler(Exception, self._mistake)
        made.router.redirect_slashes = False
        return made

    async def _overview(self, _: Request) -> Response:
        part = await self._shown.overview()
        return self._page("overview.html", part=part)

    async def _volume(self, request: Request) -> Response:
        name = request.path_params["name"]
        part = await self._shown.volume(name)
        return self._page("volume.html", part=part, name=name)

    async def _answers(self, _: Request) -> Response:
        """Whether the API does; for a page that waits for it."""
        try:
            async with asyncio.timeout(_ALIVE_SECONDS):
                await self._shown.version()
        except (HoldfastError, TimeoutError):
            return JSONResponse({"answers": False})
        return JSONResponse({"answers": True})

    async def _volume_rest(self, request: Request) -> Response:
        """A page puts it in its place whatever it says: htmx shows no error."""
        name = request.path_params["name"]
        try:
            async with asyncio.timeout(PAGE_SECONDS):
                values = await self._shown.volume_rest(name)
        except TimeoutError:
            return self._page("rest_problem.html", name=name, error=_late())
        except NotFound as error:
            return self._page("problem_part.html", error=error)
        except HoldfastError as error:
            return self._page("rest_problem.html", name=name, error=error)
        return self._page("volume_rest.html", **values)

    async def _volume_more(self, request: Request) -> Response:
        """The rest, for whoever has no script."""
        values = await self._shown.volume_rest(request.path_params["name"])
        return self._page("more.html", **values)

    async def _moment(self, request: Request) -> Response:
        """For whoever has no script."""
        name = request.path_params["name"]
        part = await self._shown.moment(name, request.query_params.get("at", ""))
        return self._page("moment.html", part=part, name=name)

    async def _moment_part(self, request: Request) -> Response:
        """A page puts it in its place whatever it says: htmx shows no error."""
        name, at = request.path_params["name"], request.query_params.get("at", "")
        try:
            part = await self._shown.moment(name, at)
        except HoldfastError as error:
            part = self._shown.unreachable(error)
        return HTMLResponse(part.html)

    async def _topic(self, request: Request) -> Response:
        name = request.url.path.rpartition("/")[2]
        topic = self._topics.all[name]
        return self._page("topic.html", topic=topic, here=name, part=await topic.part())

    async def _live_topic(self, request: Request) -> Response:
        topic = self._topics.all[request.url.path.rpartition("/")[2]]
        return self._live(topic.part, topic.every_seconds)

    async def _receipts(self, request: Request) -> Response:
        given = request.query_params
        filters = Filters(
            volume=given.get("volume", "").strip(),
            since=given.get("since", "").strip(),
            until=given.get("until", "").strip(),
            strategy=given.get("strategy", "").strip(),
            only_errors=given.get("errors") == "1",
        )
        try:
            values = await self._shown.receipts(filters)
        except HoldfastError as error:
            if problem_of(error).status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            values = {"receipts": [], "filters": filters, "older": "", "error": error}
        return self._page("receipts.html", **{"error": None, **values})

    async def _receipt(self, request: Request) -> Response:
        receipt = await self._shown.receipt(request.path_params["identifier"])
        return self._page("receipt.html", receipt=receipt)

    async def _receipt_file(self, request: Request) -> Response:
        receipt = await self._shown.receipt(request.path_params["identifier"])
        name = "".join(each if each.isalnum() else "-" for each in receipt.id[:40])
        words = f'attachment; filename="holdfast-receipt-{name}.html"'
        text = document([receipt], first_line(receipt))
        return HTMLResponse(text, headers={"content-disposition": words})

    async def _restoration(self, request: Request) -> Response:
        identifier = request.path_params["identifier"]
        part = await self._shown.restoration(identifier)
        if part.is_last:
            return RedirectResponse(f"{self._base}/receipts/{identifier}", HTTPStatus.SEE_OTHER)
        return self._page("restoration.html", part=part, identifier=identifier)

    async def _live_overview(self, _: Request) -> Response:
        return self._live(self._shown.overview, OVERVIEW_SECONDS)

    async def _live_volume(self, request: Request) -> Response:
        name = request.path_params["name"]
        return self._live(lambda: self._shown.volume(name), STATE_SECONDS)

    async def _live_restoration(self, request: Request) -> Response:
        identifier = request.path_params["identifier"]
        return self._live(lambda: self._shown.restoration(identifier), STEP_SECONDS)

    async def _static(self, request: Request) -> Response:
        found = self._templates.files.get(request.path_params["name"])
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        text, kind = found
        headers = {"cache-control": "private, max-age=86400"}  # its address has its sum
        return Response(text, media_type=kind, headers=headers)

    def _live(self, part: Callable[[], Awaitable[PagePart]], every_seconds: float) -> Response:
        async def told() -> PagePart:
            try:
                return await part()
            except NotFound as error:
                gone = self._shown.unreachable(error)
                return PagePart(gone.html, is_last=True)
            except HoldfastError as error:
                return self._shown.unreachable(error)

        return LiveStream(told, every_seconds, self._seats)

    def _page(self, template: str, /, status: int = HTTPStatus.OK, **values: Any) -> Response:
        return HTMLResponse(self._templates.page(template, **values), status)

    async def _problem(self, _: Request, error: HoldfastError) -> Response:
        status = problem_of(error).status
        again = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return self._page("problem.html", status=status, error=error, again=again)

    async def _no_page(self, _: Request, error: HTTPException) -> Response:
        nothing = NotFound("There is no such page.")
        return self._page("problem.html", status=error.status_code, error=nothing, again=False)

    async def _mistake(self, _: Request, error: Exception) -> Response:
        _log.error("a mistake in Holdfast itself", exc_info=error)
        words = f"a mistake in Holdfast itself: {type(error).__name__}"
        told = HoldfastError(words, "Report what the log says.")
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return self._page("problem.html", status=status, error=told, again=False)


def _in_time(page: Page) -> Page:
    """The same, given up after PAGE_SECONDS."""

    async def bounded(request: Request) -> Response:
        try:
            async with asyncio.timeout(PAGE_SECONDS):
                return await page(request)
        except TimeoutError:
            raise _late() from None

    return bounded


def _late() -> DeadlinePassed:
    return DeadlinePassed(
        f"the API has not answered within {PAGE_SECONDS:g} s",
        "Storage may hang: holdfast status. Or the API does: systemctl restart holdfast-api.",
    )
