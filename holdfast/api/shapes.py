"""What answers look like, where no value of the model says it. For the document; never made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.model.finding import Finding
from holdfast.model.trouble import Trouble
from holdfast.model.volume import VolumeReport


@dataclass(frozen=True)
class ShownVolume(VolumeReport):
    """A volume as it is now, with what is wrong with it; as `holdfast status --json`."""

    troubles: tuple[Trouble, ...] = ()
    """Gravest first; also what the daemon sees."""


@dataclass(frozen=True)
class DoctorReport:
    """What this host can and cannot do; as `holdfast doctor --json`."""

    sufficient: bool
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class JobShown:
    """An operation that somebody began."""

    id: str
    operation: str
    request: dict[str, Any]
    pid: int
    """SIGTERM ends it in order, as DELETE does."""
    begun: float
    """Unix time, seconds."""
    ended: float | None = None
    end: dict[str, Any] | None = None
    """finished with its result · failed · interrupted · died: docs/jobs.md. None: it goes on."""


@dataclass(frozen=True)
class ApiVersion:
    """Who answers."""

    version: str
    """Of Holdfast."""
