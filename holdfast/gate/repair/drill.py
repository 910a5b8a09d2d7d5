"""Rehearsed faults: a filter in front of a leg's back end that behaves as broken storage would.

The container itself is not harmed. The fault ends by itself, and then the leg comes back like any
other: looked at, judged, resynchronised.
"""

from __future__ import annotations

import errno
import threading
from time import monotonic
from typing import Any

from holdfast.containers import BackEnd

FAULTS = ("leg-eio", "leg-hang", "leg-gone")


class Drills:
    """The faults that are on, by leg number."""

    def __init__(self) -> None:
        self._until: dict[int, float] = {}

    def start(self, number: int, seconds: float) -> None:
        """A fault begins."""
        self._until[number] = monotonic() + seconds

    def on(self, number: int) -> bool:
        """Whether a leg's fault still lasts: probes of it are answered with no."""
        return monotonic() < self._until.get(number, 0.0)


class DrilledBackEnd:
    """Passes everything on to the back end, except what the fault breaks while it lasts."""

    def __init__(self, back_end: BackEnd, fault: str, seconds: float) -> None:
        self._back_end = back_end
        self._fault = fault
        self._until = monotonic() + seconds
        self._never = threading.Event()

    def _strike(self) -> None:
        remaining = self._until - monotonic()
        if remaining <= 0:
            return
        if self._fault == "leg-hang":
            self._never.wait(remaining)
            return
        code = errno.EIO if self._fault == "leg-eio" else errno.ENXIO
        raise OSError(code, f"drill {self._fault}")

    def read(self, view: memoryview, offset: int) -> None:
        """As BackEnd.read."""
        self._strike()
        self._back_end.read(view, offset)

    def write(self, view: memoryview, offset: int) -> None:
        """As BackEnd.write; a hanging write never reaches it, as it may not land later."""
        hang = self._fault == "leg-hang" and monotonic() < self._until
        self._strike()
        if hang:
            raise OSError(errno.EIO, "drill leg-hang")
        self._back_end.write(view, offset)

    def flush(self) -> None:
        """As BackEnd.flush."""
        self._strike()
        self._back_end.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._back_end, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            setattr(self._back_end, name, value)
