"""What an operation that takes long says while it is at work: values that know their JSON.

Invariant: what `read_event` makes of the JSON of an event is that event; everything else is
refused. Must never carry the result: an operation returns it, or raises.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Generic, TypeVar

from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import typed
from holdfast.model.finding import Finding

T = TypeVar("T")

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


class OneOf(Generic[T]):
    """The JSON of a value that is of one of several dataclasses, which its field `key` names."""

    def __init__(self, key: str, kinds: dict[str, type[T]]) -> None:
        self._key = key
        self._kinds = kinds
        self._names = {kind: name for name, kind in kinds.items()}

    def as_json(self, value: T) -> dict[str, Any]:
        """Plain values, which `read` reads."""
        fields = asdict(value)  # type: ignore[call-overload]  # each of the kinds is a dataclass
        return {"form": FORM, self._key: self._names[type(value)], **fields}

    def read(self, values: dict[str, Any]) -> T:
        """The value that `as_json` described. Raises ValueError."""
        rest = dict(values)
        check_form(rest)
        name = rest.pop(self._key, None)
        if not isinstance(name, str) or name not in self._kinds:
            raise ValueError(f"there is no {self._key} {str(name)[:40]!r}")
        return typed(self._kinds[name], rest)


_EVENTS = OneOf[Event]("event", {"said": Said, "progressed": Progressed, "found": Found})


def event_as_json(event: Event) -> dict[str, Any]:
    """Plain values, which `read_event` reads."""
    return _EVENTS.as_json(event)


def read_event(values: dict[str, Any]) -> Event:
    """The event that `event_as_json` described. Raises ValueError."""
    return _EVENTS.read(values)


def check_form(values: dict[str, Any]) -> None:
    """Take the version out of these values. Raises ValueError when it is not the present one."""
    form = values.pop("form", None)
    if form != FORM or isinstance(form, bool):
        raise ValueError(f"it has the form {str(form)[:40]}, this version knows {FORM}")
