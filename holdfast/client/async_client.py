"""AsyncClient: the API of a host, for a program with an event loop; else as `client`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from holdfast.client import asking
from holdfast.client.asking import Asked
from holdfast.client.followed_job import FollowedJob
from holdfast.client.hearing import Hearing
from holdfast.client.reaching import library, reaching, way_to
from holdfast.jobs.ends import End
from holdfast.model.copy import CopyReport
from holdfast.model.event import Event
from holdfast.model.history import HistoryReport
from holdfast.model.plan import Strategy
from holdfast.model.point import PointReport
from holdfast.model.receipt import Receipt
from holdfast.model.served import (
    AlertsShown,
    AssessmentShown,
    DoctorReport,
    DrillsShown,
    JobShown,
    MomentShown,
    PolicyShown,
    RestorationShown,
    ShownVolume,
    UsersShown,
    WatchShown,
)
from holdfast.model.trouble import Trouble
from holdfast.service.operations import Operation, operation_of

if TYPE_CHECKING:
    from holdfast.service.requests import OperationRequest

T = TypeVar("T")
Result = TypeVar("Result")


class AsyncClient:
    """Ask, and as root change; every call is awaited. Use it by `async with`, or
    await `close`.

    Every call raises what the service raises; NoApi, MissingRights, DeadlinePassed, TooMany,
    NewerVersion.
    """

    def __init__(
        self,
        socket: Path | None = None,
        *,
        url: str = "",
        token: str = "",
        authority: Path | None = None,
        verify: bool = True,
    ) -> None:
        """By the socket: None: the one of this host, or of HOLDFAST_HOME. By network: `url`,
        https://HOST:PORT, and a `token` of that host.

        `authority`: the certificate of who has signed that of the host, or the host's own; None:
        who this host trusts. `verify`: False: whoever answers is believed, and gets the token.
        Raises MissingTool, InvalidOption.
        """
        httpx = library()
        self._way = way_to(socket, url, token, authority, verify=verify)
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(**self._way.transport()), **self._way.options()
        )

    async def close(self) -> None:
        """Close connections; jobs go on. Idempotent."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.close()

    async def version(self) -> str:
        """Of Holdfast, where it serves."""
        return (await self._ask(asking.version())).version

    async def volumes(self, *, unhealthy: bool = False) -> tuple[ShownVolume, ...]:
        """Every volume as it is; or those with which something is wrong."""
        return await self._ask(asking.volumes(unhealthy))

    async def volume(self, name: str) -> ShownVolume:
        """One volume as it is. Raises NoSuchVolume."""
        return await self._ask(asking.volume(name))

    async def history(self, name: str) -> HistoryReport:
        """What is kept of its writes. Raises NoSuchVolume, HasNoGate."""
        return await self._ask(asking.history(name))

    async def users(self, name: str) -> UsersShown:
        """Who keeps it busy, and by how much of what. Raises NoSuchVolume, NotAttached."""
        return await self._ask(asking.users(name))

    async def copies(self, name: str) -> tuple[CopyReport, ...]:
        """Its copies. Raises NoSuchVolume."""
        return await self._ask(asking.copies(name))

    async def points(self, name: str) -> tuple[PointReport, ...]:
        """Its restore points. Raises NoSuchVolume."""
        return await self._ask(asking.points(name))

    async def assessment(self, name: str, at: str) -> MomentShown:
        """A moment of its history, `at` as in commands: how it is reached, and what a restoration
        to it would do. Changes nothing. Raises NoHistory, Unreachable where it is not reached."""
        return await self._ask(asking.assessment(name, at))

    async def policy(self, name: str) -> PolicyShown:
        """What may happen to it by itself, and what would now. Raises NoSuchVolume."""
        return await self._ask(asking.policy(name))

    async def drills(self) -> tuple[DrillsShown, ...]:
        """Of every volume: the last ones, and when the next one is."""
        return await self._ask(asking.drills())

    async def alerts(self) -> AlertsShown:
        """Who is told when something is wrong, and what stands now."""
        return await self._ask(asking.alerts())

    async def assess(
        self,
        name: str,
        *,
        strategy: Strategy | None = None,
        urls: Sequence[str] = (),
        filesystem: str = "",
        contents: str = "",
        deadline_seconds: float | None = None,
        forced: bool = False,
    ) -> AssessmentShown:
        """What a restoration would do, and what is in its way; touches nothing. As AssessRequest.
        Raises NoSuchVolume, NotAttached, BadInput; MissingRights: only who may change names other
        storage."""
        return await self._ask(
            asking.assess(
                name,
                strategy=strategy,
                urls=list(urls),
                filesystem=filesystem,
                contents=contents,
                deadline_seconds=deadline_seconds,
                forced=forced,
            )
        )

    async def restorations(self) -> tuple[RestorationShown, ...]:
        """Those that have begun and not ended, whoever began them."""
        return await self._ask(asking.restorations())

    async def watch(self) -> WatchShown:
        """Whether anybody would be told when something is wrong."""
        return await self._ask(asking.watch())

    async def troubles(self) -> tuple[Trouble, ...]:
        """Everything that is wrong now."""
        return await self._ask(asking.troubles())

    async def receipts(
        self,
        volume: str | None = None,
        *,
        since: str | None = None,
        until: str | None = None,
        limit: int = 100,
    ) -> tuple[Receipt, ...]:
        """What happened, newest first. `since`, `until`: as in commands, "10m ago"."""
        return await self._ask(asking.receipts(volume, since, until, limit))

    async def receipt(self, identifier: str) -> Receipt:
        """One receipt, by its id or how that begins. Raises NoSuchReceipt."""
        return await self._ask(asking.receipt(identifier))

    async def doctor(self) -> DoctorReport:
        """What the host can and cannot do."""
        return await self._ask(asking.doctor())

    async def jobs(self, *, brief: bool = False) -> tuple[JobShown, ...]:
        """What was begun by the API, oldest first. `brief`: of results only `id, volume, strategy,
        outcome`."""
        return await self._ask(asking.jobs(brief=brief))

    async def begin(self, request: OperationRequest[Result]) -> AsyncRemoteJob[Result]:
        """Begin an operation; durable only at its end. Raises MissingRights: only root may."""
        operation = operation_of(request)
        values = asdict(request)  # type: ignore[call-overload]  # each of them is a dataclass
        shown = await self._ask(asking.begin(operation.name, values))
        return AsyncRemoteJob(self, operation, shown.id)

    async def _ask(self, asked: Asked[T]) -> T:
        with reaching(self._way):
            answer = await self._http.request(
                asked.method, asked.path, params=dict(asked.parameters), content=asked.body
            )
        return asked.read(answer.status_code, answer.content)

    async def _lines(self, identifier: str, hearing: Hearing) -> AsyncIterator[str]:
        """Of one stream."""
        path = asking.events_path(identifier)
        with reaching(self._way):
            async with self._http.stream("GET", path, headers=hearing.headers()) as answer:
                if answer.status_code != 200:
                    asking.job(identifier).read(answer.status_code, await answer.aread())
                async for line in answer.aiter_lines():
                    yield line


class AsyncRemoteJob(FollowedJob[Result]):
    """An operation that goes on, whatever becomes of this object."""

    def __init__(self, client: AsyncClient, operation: Operation[Result], identifier: str) -> None:
        super().__init__(operation, identifier)
        self._client = client

    async def __aiter__(self) -> AsyncIterator[Event]:
        """What happens, until the end. What was told before is not told again."""
        while self.end is None:
            self._hearing.begin()
            async for line in self._client._lines(self.id, self._hearing):
                event = self._heard(line)
                if event is not None:
                    yield event

    async def wait(self) -> End:
        """How it ends."""
        async for _ in self:
            pass
        assert self.end is not None
        return self.end

    async def result(self) -> Result:
        """What it gives. Raises as the same call in one's own process."""
        return self._result_of(await self.wait())

    async def interrupt(self) -> None:
        """End it in order; does not wait. Nothing happens after its end."""
        await self._client._ask(asking.interrupt(self.id))
