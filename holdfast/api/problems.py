"""Errors as whoever asked by HTTP is told of them: problem documents (RFC 9457).

Invariant: what was asked in a wrong way has a status of 4xx. Code, message and mend are those that
a command prints.
"""

from __future__ import annotations

import inspect
import json
import logging
from dataclasses import asdict, replace
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from holdfast.errors import (
    BadInput,
    DeadlinePassed,
    HoldfastError,
    InvalidOption,
    MissingRights,
    NotFound,
    Refused,
    TooMany,
    WrongState,
)
from holdfast.model.served import Problem

PROBLEM_TYPE = "application/problem+json"

_log = logging.getLogger(__name__)


_STATUSES: tuple[tuple[type[HoldfastError], HTTPStatus], ...] = (
    (BadInput, HTTPStatus.BAD_REQUEST),
    (NotFound, HTTPStatus.NOT_FOUND),
    (MissingRights, HTTPStatus.FORBIDDEN),
    (TooMany, HTTPStatus.TOO_MANY_REQUESTS),
    (Refused, HTTPStatus.CONFLICT),
    (WrongState, HTTPStatus.CONFLICT),
    (DeadlinePassed, HTTPStatus.GATEWAY_TIMEOUT),
)
"""The first that fits; for all others, which are of this host and its storage, 503."""


class TooSlow(Exception):
    """Whoever asked does not read the answer: no mistake of ours, and nothing for the log."""


def answer(value: Any, status: int = HTTPStatus.OK, content_type: str = "") -> Response:
    """JSON in ASCII: names of files may be no UTF-8."""
    text = json.dumps(value, allow_nan=False)
    return Response(text, status, media_type=content_type or "application/json")


def problem_of(error: HoldfastError) -> Problem:
    """The document. Pure."""
    status = next((each for kind, each in _STATUSES if isinstance(error, kind)), None)
    title = " ".join((inspect.getdoc(type(error)) or "").split()).partition(". ")[0]
    return Problem(
        type=f"urn:holdfast:error:{error.code}" if error.code else "about:blank",
        title=title.removesuffix("."),
        status=status or HTTPStatus.SERVICE_UNAVAILABLE,
        detail=error.message,
        code=error.code,
        mend=error.mend,
        exit_status=error.exit_status,
    )


def problem_answer(error: HoldfastError, status: int | None = None) -> Response:
    """The document, on its way. `status`: another one than that of the error."""
    problem = problem_of(error)
    if status is not None:
        problem = replace(problem, status=status)
    return answer(asdict(problem), problem.status, PROBLEM_TYPE)


def answer_problems(application: FastAPI) -> None:
    """Let everything that is raised in an application be told so."""

    @application.exception_handler(HoldfastError)
    async def _known(_: Request, error: HoldfastError) -> Response:
        return problem_answer(error)

    @application.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        said = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
        return problem_answer(InvalidOption(said, "GET /openapi.json says what there is."))

    @application.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        title = HTTPStatus(error.status_code).phrase
        problem = Problem("about:blank", title, error.status_code, str(error.detail))
        made = answer(asdict(problem), error.status_code, PROBLEM_TYPE)
        made.headers.update(error.headers or {})
        return made

    @application.exception_handler(Exception)
    async def _mistake(_: Request, error: Exception) -> Response:
        if not isinstance(error, TooSlow):
            _log.error("a mistake in Holdfast itself", exc_info=error)
        words = f"a mistake in Holdfast itself: {type(error).__name__}"
        problem = Problem("about:blank", "Mistake", 500, words, mend="Report what the log says.")
        return answer(asdict(problem), 500, PROBLEM_TYPE)
