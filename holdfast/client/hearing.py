"""What a job tells, line by line, as it comes from the API: server-sent events. Pure."""

from __future__ import annotations

import json

from holdfast.late_dataclass import dataclass

LAST_EVENT = "last-event-id"


@dataclass(frozen=True)
class HeardEvent:
    """One of them."""

    number: int
    kind: str
    """event · end · dropped."""
    values: dict[str, object]


class Hearing:
    """Puts lines together; remembers how far it was, so that it can be gone on from there."""

    def __init__(self) -> None:
        self.last = 0
        """The number of the last event."""
        self._fields: dict[str, str] = {}

    def headers(self) -> dict[str, str]:
        """What leaves out everything that was heard."""
        return {LAST_EVENT: str(self.last), "accept": "text/event-stream"}

    def begin(self) -> None:
        """A new stream: what was begun in the one before is told again."""
        self._fields.clear()

    def hear(self, line: str) -> HeardEvent | None:
        """The event that ends with this line; None: none does. Raises ValueError."""
        if line:
            name, _, value = line.partition(":")
            if name:
                self._fields[name] = value.removeprefix(" ")
            return None
        fields, self._fields = self._fields, {}
        if "data" not in fields:
            return None
        values = json.loads(fields["data"])
        if not isinstance(values, dict):
            raise ValueError("an event is an object")
        number = int(fields.get("id", self.last))
        self.last = max(self.last, number)
        return HeardEvent(number, fields.get("event", "event"), values)
