"""What an operation that takes long says while it is at work: values that know their JSON.

Invariant: what `read_event` makes of the JSON of an event is that event; everything else is
refused. Must never carry the result: an operation returns it, or raises.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from holdfast.model.bounded import typed
from holdfast.model.finding import Finding

FORM = 1
"""The version of what jobs and whoever begins them say to each other: requests, events, ends."""


@dataclass(frozen=True)
class Said:
    """A part of the work begins: `prepare the container`, `freeze`."""

    at: float
    """Unix time, seconds."""
    words: str


@dataclass(frozen=True)
class Progressed:
    """How far the part is that was said last."""

    at: float
    percent: float


@dataclass(frozen=True)
class Found:
    """Something that the receipt will tell as well."""

    at: float
    finding: Finding


Event = Said | Progressed | Found

_KINDS: dict[str, type[Event]] = {"said": Said, "progressed": Progressed, "found": Found}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def event_as_json(event: Event) -> dict[str, Any]:
    """Plain values, which `read_event` reads."""
    return {"form": FORM, "event": _NAMES[type(event)], **asdict(event)}


def read_event(values: dict[str, Any]) -> Event:
    """The event that `event_as_json` described. Raises ValueError."""
    rest = dict(values)
    check_form(rest)
    name = rest.pop("event", None)
    if not isinstance(name, str) or name not in _KINDS:
        raise ValueError(f"there is no event {str(name)[:40]!r}")
    return typed(_KINDS[name], rest)


def check_form(values: dict[str, Any]) -> None:
    """Take the version out of these values. Raises ValueError when it is not the present one."""
    form = values.pop("form", None)
    if form != FORM or isinstance(form, bool):
        raise ValueError(f"it has the form {str(form)[:40]}, this version knows {FORM}")
