"""What the process that serves will take at the same time, or at once. docs/api.md has a table."""

from __future__ import annotations

from holdfast.late_dataclass import dataclass

MOST_HEADER_BYTES = 16 << 10
"""Of a request's first line and headers; ours have some hundred."""


@dataclass(frozen=True)
class ApiLimits:
    """Of one server; tests have others."""

    body_bytes: int = 64 << 10
    """The longest request, a mirror with many legs, has a hundredth of it."""
    request_seconds: float = 10.0
    """Until a request is there as a whole."""
    write_seconds: float = 30.0
    """Until some of an answer is read."""
    connections: int = 192
    connections_of_a_user: int = 64
    """Of one who is not root."""
    streams: int = 64
    streams_of_a_user: int = 16
