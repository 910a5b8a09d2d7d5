"""What both clients make of the lines that a job tells. Pure."""

from __future__ import annotations

from typing import Generic, TypeVar

from holdfast.client.hearing import Hearing
from holdfast.jobs.ends import End, Finished, error_of, read_end
from holdfast.model.event import Event, read_event
from holdfast.service.operations import Operation

Result = TypeVar("Result")


class FollowedJob(Generic[Result]):
    """An operation that goes on, whatever becomes of this object."""

    def __init__(self, operation: Operation[Result], identifier: str) -> None:
        self._operation = operation
        self._hearing = Hearing()
        self.id = identifier
        self.end: End | None = None
        """None: nothing was read of an end yet."""

    def _heard(self, line: str) -> Event | None:
        """What happened, as this line says; None: nothing, or its end, which is kept. Raises
        ValueError."""
        heard = self._hearing.hear(line)
        if heard is None:
            return None
        if heard.kind == "end":
            self.end = read_end(heard.values, self._operation.result_of)
        elif heard.kind == "event":
            return read_event(heard.values)
        return None

    def _result_of(self, end: End) -> Result:
        """Raises the error that it ended with."""
        if isinstance(end, Finished):
            found: Result = end.result
            return found
        raise error_of(end, self._operation.name)
