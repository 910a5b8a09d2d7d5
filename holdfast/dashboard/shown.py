"""Values of pages: what is asked of the API for each, and how it is put together."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any, TypeVar

from holdfast.dashboard.asking import Asking
from holdfast.dashboard.live import PagePart
from holdfast.dashboard.reach import line_of
from holdfast.dashboard.templates import Templates
from holdfast.dashboard.words import health
from holdfast.errors import DeadlinePassed, HoldfastError, NoApi, NoSuchReceipt
from holdfast.late_dataclass import dataclass
from holdfast.model.receipt import Receipt
from holdfast.model.volume import GateReport, VolumeReport

T = TypeVar("T")

STATE_SECONDS = 1.0
"""How old a volume's state may be."""

SLOW_SECONDS = 5.0
"""How old users, copies and history may be: to find them out takes some work."""

STEP_SECONDS = 0.3
"""How old the steps of a restoration may be: most take less than that."""

RECENT = 8
"""Receipts on a page about something else."""

MOST_RECEIPTS = 100
"""On one page."""


@dataclass(frozen=True)
class Filters:
    """What of all receipts is listed."""

    volume: str = ""
    since: str = ""
    until: str = ""
    strategy: str = ""
    only_errors: bool = False


class Shown:
    """Pages and their changing parts, as HTML. Raises what the client raises."""

    def __init__(self, asking: Asking, templates: Templates) -> None:
        self._asking = asking
        self._client = asking.client
        self._history = asyncio.Semaphore(1)
        """Who reads one takes no place of who asks for something else, however long it takes."""
        self._templates = templates

    async def version(self) -> str:
        """Of who answers."""
        return await self._asking.ask("version", 0.0, self._client.version)

    async def overview(self) -> PagePart:
        """Everything at a glance."""
        ask, client = self._asking.ask, self._client
        volumes, watch, restorations, jobs, receipts = await asyncio.gather(
            ask("volumes", STATE_SECONDS, client.volumes),
            ask("watch", SLOW_SECONDS, client.watch),
            ask("restorations", STATE_SECONDS, client.restorations),
            ask("jobs", STATE_SECONDS, lambda: client.jobs(brief=True)),
            self._recent(None),
        )
        words, tone = health(volumes)
        return PagePart(
            self._templates.page(
                "overview_part.html",
                volumes=volumes,
                watch=watch,
                restorations=restorations,
                jobs=[job for job in jobs if job.end is None],
                receipts=receipts,
                health=words,
                health_tone=tone,
            )
        )

    async def volume(self, name: str) -> PagePart:
        """The state of one, and figures for its curves."""
        ask, client = self._asking.ask, self._client
        volume, restorations, receipts = await asyncio.gather(
            ask(("volume", name), STATE_SECONDS, lambda: client.volume(name)),
            ask("restorations", STATE_SECONDS, client.restorations),
            self._recent(name),
        )
        html = self._templates.page(
            "volume_part.html",
            volume=volume,
            restorations=[each for each in restorations if each.volume == name],
            receipts=receipts,
        )
        return PagePart(html, figures_of(volume.gate))

    async def volume_rest(self, name: str) -> dict[str, Any]:
        """What of one changes slowly, or takes long to find out; what cannot be told is left out,
        with the reason."""
        ask, client = self._asking.ask, self._client
        volume = await ask(("volume", name), STATE_SECONDS, lambda: client.volume(name))
        users, history, copies, points = await asyncio.gather(
            tried(ask(("users", name), SLOW_SECONDS, lambda: client.users(name))),
            tried(ask(("history", name), SLOW_SECONDS, lambda: client.history(name))),
            tried(ask(("copies", name), SLOW_SECONDS, lambda: client.copies(name))),
            tried(ask(("points", name), SLOW_SECONDS, lambda: client.points(name))),
        )
        line = None
        if history[0] is not None:
            line = line_of(history[0], copies[0] or (), points[0] or (), time.time())
        return {
            "volume": volume,
            "users": users[0],
            "users_reason": users[1],
            "history": history[0],
            "history_reason": history[1],
            "copies": copies[0] or (),
            "points": points[0] or (),
            "line": line,
            "chosen": None if line is None or line.latest is None else moment_text(line.latest),
        }

    async def moment(self, name: str, at: str) -> PagePart:
        """What could be done with a moment of one. Raises NoHistory, Unreachable."""
        async with self._history:
            try:
                found = await self._client.assessment(name, at)
            except DeadlinePassed as error:
                mend = f"holdfast restore {name} --at {shlex.quote(at)} --dry-run"
                words = f"{error.message}: a long history takes longer to be read"
                raise DeadlinePassed(words, mend) from error
        words = at if found.moment is None else moment_text(found.moment)
        html = self._templates.page(
            "moment_part.html", moment=found, words=words, at=shlex.quote(words), now=time.time()
        )
        return PagePart(html)

    async def restoration(self, identifier: str) -> PagePart:
        """One that goes on, step by step; its receipt when it has ended. Raises NoSuchReceipt."""
        under_way = await self._asking.ask("restorations", STEP_SECONDS, self._client.restorations)
        found = next((each for each in under_way if each.id == identifier), None)
        if found is not None:
            now = time.time()
            return PagePart(
                self._templates.page("restoration_part.html", restoration=found, now=now),
            )
        receipt = await self.receipt(identifier)
        if receipt.id != identifier:
            raise NoSuchReceipt(f"there is no restoration {identifier[:40]!r}", "See receipts.")
        html = self._templates.page("restoration_end.html", receipt=receipt)
        return PagePart(html, is_last=True)

    async def receipts(self, filters: Filters) -> dict[str, Any]:
        """Those that are wanted, newest first."""
        found = await self._asking.once(
            lambda: self._client.receipts(
                filters.volume or None,
                since=filters.since or None,
                until=filters.until or None,
                limit=MOST_RECEIPTS,
            )
        )
        wanted = [each for each in found if _is_wanted(each, filters)]
        older = moment_text(found[-1].started) if len(found) >= MOST_RECEIPTS else ""
        return {"receipts": wanted, "filters": filters, "older": older}

    async def receipt(self, identifier: str) -> Receipt:
        """One of them."""
        return await self._asking.once(lambda: self._client.receipt(identifier))

    def unreachable(self, error: HoldfastError) -> PagePart:
        """In place of a part that cannot be told now."""
        return PagePart(self._templates.page("problem_part.html", error=error))

    async def _recent(self, name: str | None) -> tuple[Receipt, ...]:
        return await self._asking.ask(
            ("receipts", name),
            STATE_SECONDS,
            lambda: self._client.receipts(name, limit=RECENT),
        )


async def tried(answer: Awaitable[T]) -> tuple[T | None, str]:
    """The answer, or why there is none. Raises NoApi."""
    try:
        return await answer, ""
    except NoApi:
        raise
    except HoldfastError as error:
        return None, error.message


def figures_of(gate: GateReport | None) -> dict[str, Any]:
    """Counters, of which a page draws the differences."""
    if gate is None:
        return {}
    return {
        "at": time.time(),
        "worker": gate.worker_pid,
        "requests": sum(gate.requests.values()) + gate.errors_returned,
        "read_bytes": gate.read_bytes,
        "written_bytes": gate.written_bytes,
        "served_ms": gate.served_ms,
        "in_flight": gate.in_flight,
        "held": gate.held,
    }


def legs_in_sync(volume: VolumeReport) -> int:
    """How many are as they should be."""
    return sum(leg.state == "in-sync" for leg in volume.legs)


def moment_text(moment: float) -> str:
    """A point in time as commands take it, without doubt about the zone."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _is_wanted(receipt: Receipt, filters: Filters) -> bool:
    if filters.strategy and receipt.strategy != filters.strategy:
        return False
    return not filters.only_errors or receipt.errors_returned > 0
