"""Talking to a gate: from any process of its owner."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from time import monotonic
from typing import Any

from holdfast.error_codes import by_code
from holdfast.errors import CommandFailed, GateGone, StorageFailed
from holdfast.gate.members.configuration import GateConfiguration, configuration_from
from holdfast.gate.runtime.shared_page import SOCKET_FILE, Counters, read_counters
from holdfast.model.bounded import read_object
from holdfast.model.history import HistoryPlace

__all__ = ["Counters", "GateClient", "read_counters"]

ATTEMPTS = 3
"""A worker that is killed while it answers is succeeded by one that can be asked again."""

UNKNOWN_VERB = "the gate does not know this verb"
"""What a gate of any version says to a verb that came after it (processes.control.request)."""

REPLY_BYTES = 1 << 20
"""The longest reply tells of some 60 legs with their URLs and reasons."""


class GateClient:
    """One gate, by its run directory. Every call blocks until the gate has done it.

    Raises GateGone when nobody answers, and the coded error that the gate gives.
    """

    def __init__(self, run_directory: Path, timeout_seconds: float = 120.0) -> None:
        self._path = run_directory / SOCKET_FILE
        self._timeout_seconds = timeout_seconds

    def show(self) -> dict[str, Any]:
        """State of the gate, its legs and its counters."""
        return self._call("show")

    def describe(self) -> GateConfiguration:
        """What the gate has in place of gate.json. Raises NewerVersion, and StorageFailed where it
        cannot be understood."""
        try:
            return configuration_from(self._call("describe"), f"the gate at {self._path.parent}")
        except ValueError as error:
            raise StorageFailed(
                f"the gate at {self._path.parent} is of another version of Holdfast: {error}",
                "Use that version, or detach the volume first.",
            ) from error

    def hold(self, seconds: float | None, reason: str) -> dict[str, Any]:
        """Withhold requests, for at most that long; none is under way when it returns."""
        return self._call("hold", seconds=seconds, reason=reason)

    def release(self) -> dict[str, Any]:
        """End the administrator's hold."""
        return self._call("release")

    def add_leg(self, url: str, *, spare: bool = False) -> dict[str, Any]:
        """Add a leg (it is filled in the background) or a spare."""
        return self._call("add_leg", url=url, spare=spare)

    def remove_leg(self, leg: str) -> dict[str, Any]:
        """Take a leg (number, id or URL) out of the volume."""
        return self._call("remove_leg", leg=leg)

    def replace_leg(self, leg: str, url: str) -> dict[str, Any]:
        """Add a container that takes a leg's place once it is in sync."""
        return self._call("replace_leg", leg=leg, url=url)

    def promote(self, url: str, position: int) -> dict[str, Any]:
        """Go on with an image that has the volume up to that position: no leg is left."""
        return self._call("promote", url=url, position=position)

    def join_copy(self, url: str, position: int) -> dict[str, Any]:
        """Take an image that has the volume up to that position in as a further leg; it is filled
        in the background with what was written since."""
        return self._call("join_copy", url=url, position=position)

    def look(self) -> dict[str, Any]:
        """As `show`, after another look at whether the legs still have their names."""
        return self._call("look")

    def resize(self, size_bytes: int) -> dict[str, Any]:
        """Grow legs and device."""
        return self._call("resize", size_bytes=size_bytes)

    def configure(self, **values: Any) -> dict[str, Any]:
        """Change descriptor or hold_timeout_seconds."""
        return self._call("configure", **values)

    def history(self, place: HistoryPlace | None) -> dict[str, Any]:
        """Keep every write there, or nowhere; the worker is succeeded by another for that."""
        return self._call("history", **(place.as_json() if place else {}))

    def fault(self, kind: str, leg: str | None, seconds: float) -> dict[str, Any]:
        """Rehearse a fault: leg-eio, leg-hang or leg-gone."""
        return self._call("fault", kind=kind, leg=leg, seconds=seconds)

    def stop(self) -> dict[str, Any]:
        """End the gate; its device must be unused. It is gone shortly after (see launch)."""
        return self._call("stop")

    def _call(self, verb: str, **arguments: Any) -> dict[str, Any]:
        request = json.dumps({"verb": verb, **arguments}).encode() + b"\n"
        deadline = monotonic() + self._timeout_seconds
        for attempt in range(ATTEMPTS):
            try:
                return self._once(request, deadline)
            except (ConnectionError, EOFError, FileNotFoundError) as error:
                if attempt == ATTEMPTS - 1 or not self._path.exists():
                    raise self._gone(str(error)) from error
            except TimeoutError as error:
                raise self._gone("it does not answer") from error
        raise AssertionError("unreachable")

    def _once(self, request: bytes, deadline: float) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(max(0.1, deadline - monotonic()))
            connection.connect(str(self._path))
            connection.sendall(request)
            data = b""
            while not data.endswith(b"\n"):
                more = connection.recv(1 << 16)
                if not more:
                    raise EOFError("the worker ended before it answered")
                data += more
                if len(data) > REPLY_BYTES:
                    raise self._gone("it answers without end")
        try:
            reply = read_object(data, REPLY_BYTES)
            if reply.get("ok") is True:
                return dict(reply.get("result") or {})
            error = by_code(str(reply.get("code"))) or CommandFailed
        except (ValueError, TypeError) as wrong:
            raise self._gone(f"it answers nonsense ({wrong})") from wrong
        words, mend = str(reply.get("message")), str(reply.get("mend") or "")
        if words == UNKNOWN_VERB:
            name = self._path.parent.name
            mend = f"It is of an older version: holdfast volume restart-gate {name} moves it."
        raise error(words, mend)

    def _gone(self, why: str) -> GateGone:
        return GateGone(
            f"the gate at {self._path.parent} is gone: {why}",
            "holdfast recover cleans up; holdfast volume attach starts it again.",
        )
