"""The document that describes the API (OpenAPI), as far as FastAPI does not know it by itself.

Invariant: what it says of a request is what `service.operations.read_request` reads, which alone
judges it.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from holdfast.api.problems import PROBLEM_TYPE
from holdfast.model.served import Problem
from holdfast.service.operations import OPERATIONS

_REFERENCE = "#/components/schemas/{model}"

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": words,
        "content": {PROBLEM_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}},
    }
    for status, words in (
        ("4XX", "It cannot be done so, by you, or now. Nothing was changed."),
        ("5XX", "This host or its storage does not do what it must."),
    )
}
"""Of every route."""

EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events: `event`, then one `end`; or `dropped`: you read too"
        " slowly, ask again with Last-Event-ID.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}

FIGURES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "For Prometheus, exposition format 0.0.4.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}


def request_body(kind: type) -> dict[str, Any]:
    """What the route of an operation takes, for FastAPI's `openapi_extra`."""
    schema = {"$ref": _REFERENCE.format(model=kind.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def describe(application: FastAPI) -> dict[str, Any]:
    """The document; made once."""
    if application.openapi_schema is None:
        made = get_openapi(
            title=application.title,
            version=application.version,
            description=application.description,
            routes=application.routes,
        )
        schemas = made["components"]["schemas"]
        kinds: list[type[Any]] = [Problem, *(each.request for each in OPERATIONS)]
        for kind in kinds:
            schema = TypeAdapter(kind).json_schema(ref_template=_REFERENCE)
            schemas.update(schema.pop("$defs", {}))
            schemas[kind.__name__] = {**schema, "additionalProperties": False}
        application.openapi_schema = made
    return application.openapi_schema
