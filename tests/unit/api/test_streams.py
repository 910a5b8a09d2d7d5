"""Who listens to a job is told everything, or that it was too slow; the job never waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from holdfast.api.begun_jobs import MOST_EVENTS, BegunJob
from holdfast.api.streams import MOST_UNREAD, _events
from holdfast.jobs import Finished, Job
from holdfast.model.event import Progressed, Said
from holdfast.service import RecoverRequest


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BegunJob:
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path))
    with Job(RecoverRequest()) as job:
        return BegunJob("id", "recover", {}, job, 0.0)


async def _kinds(events: AsyncIterator[str]) -> list[str]:
    blocks = [each async for each in events]
    return [line[7:] for each in blocks for line in each.splitlines() if line[:6] == "event:"]


def test_a_slow_reader_is_told_that_it_was(begun: BegunJob) -> None:
    async def listen() -> list[str]:
        async with aclosing(_events(begun, 0)) as events:  # type: ignore[type-var]
            begun.tell(Said(0.0, "first"))
            assert "first" in await anext(events)
            for number in range(10 * MOST_UNREAD):
                begun.tell(Said(0.0, str(number)))
            return await _kinds(events)

    kinds = asyncio.run(listen())
    assert kinds[-1] == "dropped" and len(kinds) <= MOST_UNREAD + 1
    assert not begun.listeners


def test_who_comes_later_is_told_what_is_kept(begun: BegunJob) -> None:
    for number in range(2 * MOST_EVENTS):
        begun.tell(Said(0.0, str(number)))
    begun.bury(Finished(None))
    assert asyncio.run(_kinds(_events(begun, 0))) == ["event"] * (MOST_EVENTS - 1) + ["end"]
    assert asyncio.run(_kinds(_events(begun, 2 * MOST_EVENTS))) == ["end"]
    assert asyncio.run(_kinds(_events(begun, 2 * MOST_EVENTS + 1))) == []


def test_a_percentage_takes_the_place_of_the_one_before(begun: BegunJob) -> None:
    begun.tell(Said(0.0, "copy"))
    for percent in range(100):
        begun.tell(Progressed(0.0, percent))
    begun.tell(Said(0.0, "thaw"))
    assert [json.loads(each.text)["event"] for each in begun.told] == ["said", "progressed", "said"]
    assert begun.told[1].number == 101
