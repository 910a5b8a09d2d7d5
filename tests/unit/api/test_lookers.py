"""A question that is not answered in time is given up; the next one is answered."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from holdfast.api import lookers as module
from holdfast.api.lookers import Lookers
from holdfast.errors import DeadlinePassed, JobDied, NoSuchVolume, TooMany
from holdfast.jobs.ends import Finished, end_as_json


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path))


def _pid(lookers: Lookers) -> int:
    """Of the one that is idle."""
    (looker,) = lookers._idle
    return looker._process.pid


async def _ended(lookers: Lookers) -> None:
    for looker in lookers._idle:
        await looker.end()
    await asyncio.gather(*lookers._ending)


def test_whoever_hangs_or_dies_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> None:
        lookers = Lookers()
        assert await lookers.ask("volumes") == []
        first = _pid(lookers)
        with pytest.raises(NoSuchVolume):
            await lookers.ask("volume", {"name": "shop"})
        assert _pid(lookers) == first
        os.kill(first, signal.SIGSTOP)
        with monkeypatch.context() as patch:
            patch.setattr(module, "ANSWER_SECONDS", 0.1)
            patch.setattr(module, "_END_SECONDS", 0.1)
            with pytest.raises(DeadlinePassed):
                await lookers.ask("volumes")
            await asyncio.gather(*lookers._ending)
        assert await lookers.ask("volumes") == []
        second = _pid(lookers)
        assert second != first
        os.kill(second, signal.SIGKILL)
        with pytest.raises(JobDied):
            await lookers.ask("volumes")
        assert await lookers.ask("volumes") == []
        await _ended(lookers)

    asyncio.run(ask())


def test_who_asks_the_same_meanwhile_gets_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 1)

    async def ask() -> None:
        lookers = Lookers()
        same = [asyncio.create_task(lookers.ask("volumes")) for _ in range(9)]
        await asyncio.sleep(0)
        with pytest.raises(TooMany):
            await lookers.ask("troubles")
        same[0].cancel()
        assert [await each for each in same[1:]] == [[]] * 8
        assert len(lookers._idle) == 1
        await _ended(lookers)

    asyncio.run(ask())


def test_one_that_hangs_stops_no_other() -> None:
    async def ask() -> None:
        lookers = Lookers()
        assert await lookers.ask("volumes") == []
        hanging = _pid(lookers)
        os.kill(hanging, signal.SIGSTOP)
        waiting = asyncio.create_task(lookers.ask("troubles"))
        while lookers._idle:
            await asyncio.sleep(0)
        assert await lookers.ask("volumes") == []
        assert not waiting.done()
        os.kill(hanging, signal.SIGCONT)
        assert await waiting == []
        await _ended(lookers)

    asyncio.run(ask())


def test_one_place_is_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LOOKERS", 2)
    monkeypatch.setattr(module, "MOST_WAITING_OF_A_USER", 2)

    async def ask() -> None:
        lookers = Lookers()
        assert await lookers.ask("volumes", seat=7) == []
        hanging = _pid(lookers)
        os.kill(hanging, signal.SIGSTOP)
        first = asyncio.create_task(lookers.ask("volumes", seat=7))
        while lookers._idle:
            await asyncio.sleep(0)
        second = asyncio.create_task(lookers.ask("troubles", seat=7))
        await asyncio.sleep(0)
        with pytest.raises(TooMany):
            await lookers.ask("doctor", seat=7)
        assert await lookers.ask("volumes") == []
        assert not first.done() and not second.done()
        os.kill(hanging, signal.SIGCONT)
        assert [await first, await second] == [[], []]
        await _ended(lookers)

    asyncio.run(ask())


def test_questions_that_read_much_leave_places_to_others() -> None:
    async def ask() -> None:
        lookers = Lookers()
        begun: list[str] = []
        may_end = asyncio.Event()

        async def said(question: str, text: bytes) -> bytes:
            begun.append(question)
            if question == "assessment":
                await may_end.wait()
            return json.dumps(end_as_json(Finished(1))).encode()

        lookers._said = said  # type: ignore[method-assign]
        long = [
            asyncio.create_task(lookers.ask("assessment", {"n": number}, seat=number % 2))
            for number in range(10)
        ]
        await asyncio.sleep(0)
        for uid in (0, 1):
            assert await lookers.ask("volumes", {"of": uid}, seat=uid) == 1
        assert begun.count("assessment") == 2  # one of root's, one of somebody's
        may_end.set()
        assert await asyncio.gather(*long) == [1] * 10

    asyncio.run(ask())
