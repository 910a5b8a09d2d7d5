"""What the API answers, where no other value says it."""

from __future__ import annotations

from typing import Any

from holdfast.late_dataclass import dataclass
from holdfast.model.drill import LastDrill
from holdfast.model.finding import Finding
from holdfast.model.following import FollowingReport
from holdfast.model.plan import Plan
from holdfast.model.policy import Attempt, Policy
from holdfast.model.receipt import Receipt
from holdfast.model.trouble import Trouble
from holdfast.model.volume import VolumeReport


@dataclass(frozen=True)
class ShownVolume(VolumeReport):
    """A volume as it is now, with what is wrong with it; as `holdfast status --json`."""

    troubles: tuple[Trouble, ...] = ()
    """Gravest first; also what the daemon sees."""
    copies: tuple[FollowingReport, ...] = ()
    """How well those copies of it that follow do so."""


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
    said: str = ""
    """Which part of the work it has begun last."""
    percent: float | None = None
    """How far that is; None: it does not say."""


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


@dataclass(frozen=True)
class UserShown:
    """A process that keeps a volume busy."""

    pid: int
    name: str
    application: str
    """What it belongs to: a unit, a container."""
    handles: dict[str, int]
    """How many of each kind; docs/users.md."""
    threads: int


@dataclass(frozen=True)
class UsersShown:
    """Who keeps a volume busy; as `holdfast users`, counted."""

    volume: str
    mount: str
    users: tuple[UserShown, ...]
    """Those with most handles first."""
    more: int
    """How many others there are."""
    kernel: dict[str, int]
    """Without a process: loop devices, swap files, mounts on top; how many of each kind."""


@dataclass(frozen=True)
class StepShown:
    """A step of a restoration; those that are still to come have no time."""

    name: str
    state: str
    """waiting · started · finished · undone · failed."""
    started: float | None = None
    """Unix time, seconds."""
    seconds: float = 0.0
    """How long it took; of one that goes on 0."""
    outcome: str = ""


@dataclass(frozen=True)
class ProcessShown:
    """A process that stands still."""

    pid: int
    name: str


@dataclass(frozen=True)
class RestorationShown:
    """A restoration that has begun and not ended, whoever began it."""

    id: str
    """Its receipt will have the same."""
    volume: str
    strategy: str
    cause: str
    started: float
    """Unix time, seconds."""
    stage: str
    """preparing · running · waiting (its users are parked until the deadline) · undoing ·
    unreadable (its entry is damaged)."""
    steps: tuple[StepShown, ...] = ()
    """All of them, in order."""
    frozen_at: float | None = None
    """Since when processes stand still; None: they do not."""
    deadline: float | None = None
    """When everybody runs again at the latest."""
    predicted_pause_seconds: float | None = None
    processes: tuple[ProcessShown, ...] = ()
    """Who stands still; known once all of them do."""


@dataclass(frozen=True)
class WatchShown:
    """Whether anybody would be told."""

    watches: bool
    """`holdfast daemon` is at work."""
    destinations: tuple[str, ...]
    """Kinds of those that are told: mail, webhook, command."""
    undelivered: int
    """Messages that could not be delivered yet."""


@dataclass(frozen=True)
class StoppedShown:
    """A process that would stand still."""

    pid: int
    name: str
    handles: dict[str, int]
    """How many of each verdict; docs/restoration.md."""


@dataclass(frozen=True)
class MomentShown:
    """A moment of a volume's history: how it is reached, and what a restoration to it would do."""

    volume: str
    at: str
    """As it was asked for."""
    moment: float | None
    """Unix time in seconds, of `10m ago`, too; None: a point, or a position, was named."""
    position: int
    """The same, in the history."""
    copy: str
    """URL of the copy that it is reached from."""
    copy_made: float
    """Unix time, seconds."""
    history_bytes: int
    """How much of the history is applied to a duplicate of that."""
    written: float | None
    """When the last write before it was; None: nothing since the copy."""
    plan: Plan | None
    """Of a restoration to it, as `restore --at WHEN --dry-run` has it; None: `refused` says why."""
    refused: str
    """Why a restoration would not be begun; empty: it would. A clone is in nobody's way."""
    mend: str
    processes: tuple[StoppedShown, ...]
    """Who would stand still, those with most handles first."""
    more: int
    """How many others."""


@dataclass(frozen=True)
class PolicyShown:
    """What may happen to a volume by itself, and what would now; as `holdfast policy show`."""

    volume: str
    policy: Policy
    attempt: Attempt | None
    """The last one since the policy was set."""
    would: str
    """nothing · restore · refuse, if its storage had been lost for long enough."""
    why: str
    mend: str
    last_drill: LastDrill | None
    has_gate: bool


@dataclass(frozen=True)
class DrillsShown:
    """The drills of a volume: the last ones, and when the next one is."""

    volume: str
    can_be_drilled: bool
    """There is something that it would be restored from."""
    every_seconds: float | None
    """Between those that the daemon makes; None: it makes none."""
    next_at: float | None
    """When that is due, Unix seconds; then it waits for a quiet time."""
    check: str
    """The program that looks at the contents then; empty: none."""
    last: Receipt | None
    """Of the last one on a clone; docs/drills.md."""
    live: Receipt | None
    """Of the last one in use, of that name."""
    alert: Receipt | None
    """Of the way to whoever is told."""


@dataclass(frozen=True)
class DestinationShown:
    """Somebody who is told, without what may be a secret."""

    kind: str
    """mail · webhook · command."""
    place: str
    """An address, a host, a program."""
    waiting: int
    """Messages that could not be delivered yet; `holdfast alert list` says why."""
    tries: int
    """How often that was tried with the one that waits longest."""


@dataclass(frozen=True)
class StandingShown:
    """A trouble that the daemon knows of, and whether it was told. Unix seconds."""

    volume: str
    """Empty: the host."""
    about: str
    """As of a trouble: stays while the words change."""
    words: str
    mend: str
    since: float
    told: float | None
    """When it was told, or reminded of, the last time; None: not yet."""
    grave: bool


@dataclass(frozen=True)
class AlertsShown:
    """Who is told when something is wrong, and what stands now."""

    watches: bool
    """`holdfast daemon` is at work: without it nobody is told, and what stands is old."""
    destinations: tuple[DestinationShown, ...]
    standing: tuple[StandingShown, ...]
    """Gravest first, then oldest."""


@dataclass(frozen=True)
class AssessmentShown:
    """What would happen now, and what is in the way; as `holdfast assess --json`."""

    volume: str
    plan: Plan
    possible: bool
    """False: it would be refused, and nothing touched."""
    processes: tuple[StoppedShown, ...]
    mounts: int
    """At how many places it is mounted."""
