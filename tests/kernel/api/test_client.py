"""Both clients ask and change as the library does, and raise what it raises."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast import AsyncClient, Client, DeleteRequest, Holdfast, NewVolume, Said
from holdfast.errors import (
    InvalidName,
    InvalidOption,
    InvalidUrl,
    MissingRights,
    NoApi,
    NoSuchReceipt,
    NoSuchVolume,
)
from holdfast.jobs import Finished, Interrupted
from holdfast.model.version import VERSION
from holdfast.service import RecoverRequest
from tests.kernel.api.serving import api, as_somebody
from tests.waiting import wait_until

Run = Callable[..., Any]


def test_a_volume(run_holdfast: Run, ram_directory: Path) -> None:
    wanted = NewVolume("shop", 64 << 20, str(ram_directory / "mnt"))
    try:
        with api(), Client() as client:
            assert client.version() == VERSION
            job = client.begin(wanted)
            events = list(job)
            assert any(isinstance(each, Said) for each in events)
            made = job.result()
            assert (made.name, job.end) == ("shop", Finished(made))
            assert client.history("shop").state == "off"
            asyncio.run(_look(made.id))
            with Holdfast() as holdfast:
                kernel = [each for each in holdfast.doctor() if each.subject == "kernel"]
                assert [each for each in client.doctor().findings if each in kernel] == kernel
                assert client.receipts(limit=5) == tuple(holdfast.receipts(limit=5))
            assert client.volumes(unhealthy=True) == client.troubles() == ()
            with pytest.raises(InvalidUrl):
                client.begin(NewVolume("tiny", 32 << 20, "/nowhere", leg_urls=("x",))).result()
    finally:
        run_holdfast("volume", "delete", "shop", "--yes", check=False)


async def _look(identifier: str) -> None:
    async with AsyncClient() as client:
        shown, everything = await asyncio.gather(client.volume("shop"), client.volumes())
        assert (shown.id, shown.name) == (identifier, "shop")
        assert [each.id for each in everything] == [identifier]
        job = await client.begin(DeleteRequest("shop"))
        assert await job.result() == ()
        assert [each.operation for each in await client.jobs()] == ["create", "delete"]
        assert await client.volumes() == ()


def test_errors_are_those_of_the_library(holdfast_home: Path) -> None:
    with Client() as client, pytest.raises(NoApi):
        client.volumes()
    with api() as serving, Client() as client:
        for ask, expected in [
            (lambda: client.volume("shop"), NoSuchVolume),
            (lambda: client.volume("../x"), InvalidName),
            (lambda: client.volume(".."), InvalidName),
            (lambda: client.volume("a/b?c#d%\udce9"), InvalidName),
            (lambda: client.receipt("x"), NoSuchReceipt),
            (lambda: client.receipts(since="when?"), InvalidOption),
            (lambda: client.receipts(limit=0), InvalidOption),
        ]:
            with pytest.raises(expected):
                ask()
        told = as_somebody(_may_not_begin)
        assert told == ""
        job = client.begin(RecoverRequest())
        os.kill(client.jobs()[0].pid, signal.SIGSTOP)
        job.interrupt()
        os.kill(client.jobs()[0].pid, signal.SIGCONT)
        assert isinstance(job.wait(), Interrupted | Finished)
        again = client.begin(RecoverRequest())
        pid = client.jobs()[1].pid
        os.kill(pid, signal.SIGSTOP)
        serving.kill()
        serving.wait()
        os.kill(pid, signal.SIGCONT)
        with pytest.raises(NoApi):
            again.wait()
        wait_until(lambda: not Path(f"/proc/{pid}").exists())


def _may_not_begin(_: httpx.Client) -> None:
    with Client(Path("api.sock")) as client:
        assert client.volumes() == ()
        with pytest.raises(MissingRights):
            client.begin(RecoverRequest())
