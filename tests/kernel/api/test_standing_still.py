"""Hold, release, freeze, thaw and assess by the API, by the socket and by network with a token that
is limited to a volume: as commands do it; what nobody ends ends by itself."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast import Client, FreezeRequest, HoldRequest, ReleaseRequest, ResizeRequest, ThawRequest
from holdfast.errors import AlreadyFrozen, MissingRights, NoSuchContainer, NoSuchJob, NotFrozen
from holdfast.model.plan import Strategy
from holdfast.service import DeleteRequest, MigrateRequest, NewVolume, RecoverRequest
from tests.kernel.api.serving import as_somebody, by_network
from tests.waiting import wait_until

Run = Callable[..., Any]


def state_of(pid: int) -> str:
    """T: stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_applications_stand_still_and_go_on(run_holdfast: Run, ram_directory: Path) -> None:
    mount = ram_directory / "mnt"
    with ExitStack() as stack:
        serving, reach = stack.enter_context(by_network(ram_directory))
        client = stack.enter_context(Client())
        stack.callback(run_holdfast, "volume", "delete", "shop", "--yes", check=False)
        client.begin(NewVolume("shop", 64 << 20, str(mount))).result()
        user = stack.enter_context(
            subprocess.Popen([sys.executable, "-c", "input()"], cwd=mount, stdin=subprocess.PIPE)
        )
        stack.callback(user.kill)
        token = run_holdfast(
            "token", "create", "shop", "--scope", "change", "--volume", "shop"
        ).stdout.strip()
        theirs = stack.enter_context(reach(token))

        held = theirs.begin(HoldRequest("shop", 600.0, "a cable")).result()
        assert held.gate is not None and held.gate.hold_reason == "a cable"
        released = theirs.begin(ReleaseRequest("shop")).result()
        assert released.gate is not None and not released.gate.held

        frozen = theirs.begin(FreezeRequest("shop", 600.0, "signal")).result()
        assert ([each["pid"] for each in frozen.processes], state_of(user.pid)) == ([user.pid], "T")
        with pytest.raises(AlreadyFrozen):
            client.begin(FreezeRequest("shop")).result()
        receipt = client.begin(ThawRequest("shop")).result()
        assert receipt is not None and receipt.id == frozen.id and state_of(user.pid) != "T"
        with pytest.raises(NotFrozen):
            theirs.begin(ThawRequest("shop")).result()
        assert theirs.receipt(receipt.id) == receipt and receipt in theirs.receipts()

        found = theirs.assess("shop", strategy=Strategy.REMOUNT)
        assert found.plan.strategy == client.assess("shop", strategy=Strategy.REMOUNT).plan.strategy
        assert (found.volume, [each.pid for each in found.processes]) == ("shop", [user.pid])
        with pytest.raises(MissingRights):
            theirs.assess("shop", contents="/root")
        with pytest.raises(NoSuchContainer):
            client.assess("shop", contents="/nowhere")
        told = as_somebody(_look_and_touch)
        assert told == ""

        _limited(client, theirs)

        # A freeze that nobody thaws, and that nobody knows of any more.
        client.begin(FreezeRequest("shop", 3.0, "signal"))
        wait_until(lambda: state_of(user.pid) == "T")
        serving.send_signal(signal.SIGKILL)
        wait_until(lambda: state_of(user.pid) != "T")

        user.kill()
        user.wait()
        run_holdfast("volume", "delete", "shop", "--yes")
        (left,) = run_holdfast("token", "list", json=True)
        assert (left["name"], left["volumes"]) == ("shop", []), "another shop is none of theirs"


def _look_and_touch(asking: httpx.Client) -> None:
    """As a member of the group."""
    assert asking.get("/v1/volumes/shop/assess?strategy=remount").status_code == 200
    path = "/v1/volumes/shop/assess?contents=/root"
    assert asking.get(path).json()["code"] == "RIGHTS"
    for operation in ("hold", "release", "freeze", "thaw"):
        answer = asking.post(f"/v1/operations/{operation}", json={"volume": "shop"})
        assert answer.status_code == 403


def _limited(client: Client, theirs: Client) -> None:
    """A token of one volume shows that one, and reaches no other thing of the host."""
    assert [each.name for each in theirs.volumes()] == ["shop"]
    assert {each.operation for each in theirs.jobs()} == {
        "create", "hold", "release", "freeze", "thaw",
    }  # fmt: skip
    recovery = client.begin(RecoverRequest())
    recovery.wait()
    begun = len(client.jobs())
    for ask in (
        theirs.doctor,
        theirs.watch,
        lambda: theirs.volume("bank"),
        lambda: theirs.receipts("bank"),
        lambda: theirs.begin(RecoverRequest()),
        lambda: theirs.begin(DeleteRequest("bank")),
        lambda: theirs.begin(ResizeRequest("bank", 1 << 30)),
        lambda: theirs.begin(MigrateRequest("shop", ("file:/etc/x",))),
        lambda: theirs.begin(NewVolume("bank", 64 << 20, "/mnt")),
    ):
        with pytest.raises(MissingRights):
            ask()
    with pytest.raises(NoSuchJob):
        theirs._ask(asking_job(recovery.id))
    assert len(client.jobs()) == begun


def asking_job(identifier: str) -> Any:
    """One of somebody else."""
    from holdfast.client import asking

    return asking.job(identifier)
