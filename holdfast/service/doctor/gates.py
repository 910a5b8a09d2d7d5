"""Doctor: gates of which no process lives, and for which somebody waits."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.config import Settings
from holdfast.model.finding import Finding, Verdict
from holdfast.volumes.gate_device import gate_device
from holdfast.volumes.recover import volumes_with_traces


def abandoned(settings: Settings) -> Iterator[Finding]:
    """Requests that nobody will answer: whoever syncs the host waits for them as well."""
    for name in volumes_with_traces(settings):
        left = gate_device().unanswered(settings, name)
        if left.requests:
            yield Finding(
                f"gate of {name}",
                Verdict.LIMITED,
                f"its processes have ended, and {left.requests} requests wait for them"
                f" ({left.connection})",
                "Whoever uses the volume waits for ever, and so does every sync of the host.",
                f"holdfast recover, then holdfast volume attach {name}.",
            )
