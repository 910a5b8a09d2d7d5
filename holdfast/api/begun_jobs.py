"""Operations that somebody began by the API: what they told, and how they ended.

Invariant: so many at once, so many remembered, so much of each. A job belongs to nobody: it goes on
when this process ends, and its receipt says how it ended.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, field
from typing import Any

from holdfast.errors import HostCannot, NoSuchJob, TooMany
from holdfast.jobs import Job
from holdfast.jobs.ends import End, end_as_json
from holdfast.late_dataclass import dataclass
from holdfast.model.event import Event, Progressed, Said, event_as_json
from holdfast.service.operations import operation_of
from holdfast.service.requests import OperationRequest

MOST_RUNNING = 8
"""Each is a process of some 50 MiB, and one changes a volume at a time."""

MOST_ENDING = 4
"""Of those that let applications go on: there is room for them when there is none for others."""

_LET_GO_ON = ("release", "thaw")

MOST_ENDED = 100
MOST_EVENTS = 200
"""Of one job: a restoration says some 30 things, and each percentage takes the last one's place."""

_BRIEF = ("id", "volume", "strategy", "outcome")
"""Of a result, mostly a receipt."""

MOST_ENDED_BYTES = 32 << 20
"""Of all ends together: a receipt with thousands of processes has a tenth of it."""


@dataclass(frozen=True)
class ToldEvent:
    """What a job said: the how manieth it is, and its JSON."""

    number: int
    kind: str
    """event · end."""
    text: str


@dataclass
class BegunJob:
    """One of them."""

    id: str
    operation: str
    request: dict[str, Any]
    job: Job[Any]
    begun: float
    told: deque[ToldEvent] = field(default_factory=lambda: deque(maxlen=MOST_EVENTS))
    count: int = 0
    end: str = ""
    """Its JSON; empty: it goes on."""
    brief_end: str = ""
    ended: float | None = None
    listeners: set[Callable[[ToldEvent], None]] = field(default_factory=set)
    said: str = ""
    percent: float | None = None
    _progresses: bool = False

    def as_json(self, *, brief: bool = False) -> dict[str, Any]:
        """Plain values, as `JobShown`. `brief`: of a result only what it is called and comes to:
        a receipt may name thousands of processes."""
        end = json.loads(self.brief_end if brief else self.end) if self.end else None
        return {
            "id": self.id,
            "operation": self.operation,
            "request": self.request,
            "pid": self.job.pid,
            "begun": self.begun,
            "ended": self.ended,
            "end": end,
            "said": self.said,
            "percent": self.percent,
        }

    def tell(self, event: Event) -> None:
        """Keep this; a percentage takes the place of the one before."""
        progresses = isinstance(event, Progressed)
        if progresses and self._progresses:
            self.told.pop()
        self._progresses = progresses
        if isinstance(event, Said):
            self.said, self.percent = event.words, None
        elif isinstance(event, Progressed):
            self.percent = event.percent
        self._tell("event", json.dumps(event_as_json(event)))

    def bury(self, end: End) -> None:
        """This is how it ended."""
        values = end_as_json(end)
        self.end, self.brief_end = json.dumps(values), json.dumps(_brief(values))
        self.ended = time.time()
        self._tell("end", self.end)

    def _tell(self, kind: str, text: str) -> None:
        self.count += 1
        told = ToldEvent(self.count, kind, text)
        self.told.append(told)
        for listener in tuple(self.listeners):
            listener(told)


def no_such_job(identifier: str) -> NoSuchJob:
    """What is raised where there is none, or none of whoever asks."""
    return NoSuchJob(
        f"there is no job {identifier[:40]!r}",
        "GET /v1/jobs lists them; receipts tell of those from before this process.",
    )


class BegunJobs:
    """All of them, oldest first; for one event loop."""

    def __init__(self) -> None:
        self._jobs: dict[str, BegunJob] = {}
        self._beginning = 0
        self.ends: Counter[str] = Counter()
        """How many ended how, since this process began."""

    def __iter__(self) -> Any:
        return iter(tuple(self._jobs.values()))

    @property
    def running(self) -> int:
        """How many have not ended."""
        return self._beginning + sum(not each.end for each in self._jobs.values())

    def find(self, identifier: str) -> BegunJob:
        """One of them. Raises NoSuchJob."""
        found = self._jobs.get(identifier)
        if found is None:
            raise no_such_job(identifier)
        return found

    async def begin(self, request: OperationRequest[Any]) -> BegunJob:
        """Begin what is asked for. Raises TooMany, HostCannot."""
        name = operation_of(request).name
        most = MOST_RUNNING + (MOST_ENDING if name in _LET_GO_ON else 0)
        if self.running >= most:
            raise TooMany(f"{most} jobs run already", "Begin it when one has ended.")
        self._beginning += 1
        try:
            job = await asyncio.to_thread(Job, request)
        except OSError as error:
            raise HostCannot(f"no process can be begun: {error}", "holdfast doctor") from error
        finally:
            self._beginning -= 1
        values: dict[str, Any] = asdict(request)  # type: ignore[call-overload]
        begun = BegunJob(str(uuid.uuid4()), name, values, job, time.time())
        self._jobs[begun.id] = begun
        listening = threading.Thread(
            target=self._listen,
            args=(begun, asyncio.get_running_loop()),
            daemon=True,  # the job goes on without us
            name=f"job {begun.operation}",
        )
        listening.start()
        return begun

    def _listen(self, begun: BegunJob, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread of its own, until the end."""
        try:
            for event in begun.job:
                loop.call_soon_threadsafe(begun.tell, event)
            loop.call_soon_threadsafe(self._bury, begun, begun.job.wait())
        except RuntimeError:  # the loop has ended, and so does this process
            return

    def _bury(self, begun: BegunJob, end: End) -> None:
        begun.bury(end)
        self.ends[type(end).__name__.lower()] += 1
        ended = [each for each in self._jobs.values() if each.end]
        size = sum(len(each.end) for each in ended)
        while len(ended) > MOST_ENDED or (size > MOST_ENDED_BYTES and len(ended) > 1):
            oldest = ended.pop(0)
            size -= len(oldest.end)
            del self._jobs[oldest.id]


def _brief(end: dict[str, Any]) -> dict[str, Any]:
    if "result" not in end:
        return end
    result = end["result"] if isinstance(end["result"], dict) else {}
    return {**end, "result": {name: result[name] for name in _BRIEF if name in result}}
