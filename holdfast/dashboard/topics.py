"""Pages about one thing of all volumes: jobs, drills, policies, alerts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from holdfast.dashboard.asking import Asking
from holdfast.dashboard.live import PagePart
from holdfast.dashboard.shown import SLOW_SECONDS, STATE_SECONDS, tried
from holdfast.dashboard.templates import Templates
from holdfast.model.drill import phases_of
from holdfast.model.receipt import Receipt
from holdfast.model.served import PolicyShown

POLICY_SECONDS = 30.0
"""How old may be what would happen by itself: where something would be restored, it is assessed."""


class Topic(NamedTuple):
    """One page."""

    heading: str
    about: str
    """In a sentence."""
    part: Callable[[], Awaitable[PagePart]]
    every_seconds: float
    """Between two looks at what one sees."""


class DrillTimes(NamedTuple):
    """All of a drill, in milliseconds; None: it is not known."""

    predicted_ms: float | None
    measured_ms: float


class Topics:
    """All of them, by the names that their paths have. Raises what the client raises."""

    def __init__(self, asking: Asking, templates: Templates) -> None:
        self._asking = asking
        self._client = asking.client
        self._templates = templates
        self.all: dict[str, Topic] = {
            "jobs": Topic("Jobs", "What is at work, and how it ended.", self.jobs, STATE_SECONDS),
            "drills": Topic(
                "Drills", "Whether volumes could be restored, as rehearsed.", self.drills,
                SLOW_SECONDS,
            ),
            "policies": Topic(
                "Policies", "What may happen by itself, and what would if storage were lost now.",
                self.policies, POLICY_SECONDS,
            ),
            "alerts": Topic(
                "Alerts", "Who is told when something is wrong, and what is wrong now.",
                self.alerts, STATE_SECONDS,
            ),
        }  # fmt: skip

    async def jobs(self) -> PagePart:
        """Those that the API has begun, newest first, and every restoration under way."""
        ask, client = self._asking.ask, self._client
        jobs, restorations = await asyncio.gather(
            ask("jobs", STATE_SECONDS, lambda: client.jobs(brief=True)),
            ask("restorations", STATE_SECONDS, client.restorations),
        )
        return self._part(
            "jobs_part.html",
            running=[each for each in reversed(jobs) if each.end is None],
            ended=[each for each in reversed(jobs) if each.end is not None],
            restorations=restorations,
        )

    async def drills(self) -> PagePart:
        """The last ones of each volume, and the next one."""
        found = await self._asking.ask("drills", SLOW_SECONDS, self._client.drills)
        return self._part("drills_part.html", drills=found, times=times_of, phases=phases_of)

    async def policies(self) -> PagePart:
        """Of each volume; of one that cannot say it, why."""
        ask, client = self._asking.ask, self._client
        volumes, watch = await asyncio.gather(
            ask("volumes", STATE_SECONDS, client.volumes),
            ask("watch", SLOW_SECONDS, client.watch),
        )
        names = [each.name for each in volumes]
        found = await asyncio.gather(*(tried(self._policy(name)) for name in names))
        policies = [(name, *each) for name, each in zip(names, found, strict=True)]
        return self._part("policies_part.html", policies=policies, watches=watch.watches)

    async def _policy(self, name: str) -> PolicyShown:
        client = self._client
        return await self._asking.ask(("policy", name), POLICY_SECONDS, lambda: client.policy(name))

    async def alerts(self) -> PagePart:
        """Destinations, and what stands: as the daemon knows it, else as the volumes are."""
        ask, client = self._asking.ask, self._client
        alerts, volumes = await asyncio.gather(
            ask("alerts", STATE_SECONDS, client.alerts),
            ask("volumes", STATE_SECONDS, client.volumes),
        )
        troubles = [trouble for volume in volumes for trouble in volume.troubles]
        known = {(each.volume, each.about) for each in alerts.standing}
        unknown = [each for each in troubles if (each.volume, each.about) not in known]
        return self._part("alerts_part.html", alerts=alerts, unknown=unknown)

    def _part(self, template: str, /, **values: object) -> PagePart:
        return PagePart(self._templates.page(template, now=time.time(), **values))


def times_of(receipt: Receipt) -> DrillTimes:
    """Predicted only where every part was."""
    phases = phases_of(receipt)
    expected = [each.predicted_ms for each in phases if each.predicted_ms is not None]
    whole = sum(expected) if phases and len(expected) == len(phases) else None
    return DrillTimes(whole, sum(each.measured_ms for each in phases))
