"""What the API answers, where no other value says it."""

from __future__ import annotations

from typing import Any

from holdfast.late_dataclass import dataclass
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


@dataclass(frozen=True)
class Problem:
    """Why it was not done."""

    type: str
    """urn:holdfast:error:CODE; about:blank where only HTTP was used in a wrong way."""
    title: str
    """What `holdfast explain CODE` says first."""
    status: int
    detail: str
    """What is wrong this time."""
    code: str = ""
    """Stable: docs/exit-status.md."""
    mend: str = ""
    """What to do now."""
    exit_status: int = 1
    """Of a command that ends so."""
