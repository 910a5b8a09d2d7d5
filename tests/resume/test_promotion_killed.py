"""Whoever makes a leg of a copy is killed at any place, and so is the gate's worker: the same again
finishes, whoever waits sees no error, and there is one source."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import holdfast.service.promotions
from holdfast.catalog.restorations import RestorationEntries
from holdfast.config import Settings
from holdfast.copies.records import CopyRecords
from holdfast.errors import HoldfastError, NotLost
from holdfast.gate.outside.client import GateClient
from holdfast.gate.runtime.shared_page import read_counters
from holdfast.model.plan import Cause
from holdfast.model.policy import AttemptState, OnLoss
from holdfast.policy.unattended import Action
from holdfast.service import Holdfast, RespondRequest
from tests.forked import in_fork
from tests.kernel.conftest import settings  # noqa: F401 - a fixture
from tests.kernel.copies.lost import SyncedWriter, lossy
from tests.kernel.gate.kept_volume import kill
from tests.resume.dying import dying
from tests.soak import rounds

_PLACES = (
    (holdfast.service.promotions, "carried_out"),
    (CopyRecords, "save"),
    (CopyRecords, "remove"),
    (GateClient, "promote"),
    (RestorationEntries, "end"),
)
"""Before and after each of them something differs."""


def test_the_command(settings: Settings, ram_directory: Path) -> None:  # noqa: F811
    """All of its places in one hold: each attempt finds what the one before has left."""
    with (
        Holdfast(settings) as holdfast,
        lossy(holdfast, ram_directory) as lost,
        SyncedWriter(lost.mount / "blocks") as writer,
    ):
        writer.go_on()
        lost.lose()
        lost.wait_until_held()
        holdfast.close()
        passed, code = 0, 9
        while code == 9 and passed < 100:
            ended = in_fork(partial(_promote, settings, passed))
            code = ended.code
            copies = CopyRecords(settings).of("shop")
            assert lost.copy_image.exists()
            assert all(each.becomes_leg or each.is_complete for each in copies)
            passed += 1
            if passed % 2 == 0:
                said = [each for each in holdfast.recover() if "copy" in each]
                assert len(said) <= 1, said
                holdfast.close()
        assert code == 0, str(ended)
        assert passed > 9
        writer.go_on()
        assert not holdfast.histories.copies.show("shop")
        assert [leg.url for leg in holdfast.show_volume("shop").legs] == [lost.copy_url]
        assert [each.strategy for each in holdfast.receipts("shop")].count("hold") == 1
    assert writer.error is None


def _promote(settings: Settings, at: int) -> None:  # noqa: F811
    with dying(at, _PLACES), Holdfast(settings) as holdfast:
        try:
            holdfast.histories.promotions.promote("shop")
        except NotLost:  # it is a leg already
            assert not holdfast.histories.copies.records.of("shop")


def test_the_worker(settings: Settings, ram_directory: Path) -> None:  # noqa: F811
    """It dies while it takes the copy in, again and again."""
    with (
        Holdfast(settings) as holdfast,
        lossy(holdfast, ram_directory) as lost,
        SyncedWriter(lost.mount / "blocks") as writer,
    ):
        writer.go_on()
        lost.lose()
        lost.wait_until_held()
        ending = threading.Event()

        def murder() -> None:
            for number in range(rounds(4, 60)):
                counters = read_counters(settings.gate_run_directory("shop"))
                if ending.wait(0.02 + 0.013 * (number % 9)):
                    return
                if counters is not None:
                    kill(counters.worker_pid)

        murderer = threading.Thread(target=murder)
        murderer.start()
        try:
            for _ in range(200):
                try:
                    holdfast.histories.promotions.promote("shop")
                    break
                except NotLost:
                    break
                except HoldfastError:
                    continue
        finally:
            ending.set()
            murderer.join()
        writer.go_on()
        assert not holdfast.histories.copies.show("shop")
    assert writer.error is None


def test_by_itself(settings: Settings, ram_directory: Path) -> None:  # noqa: F811
    """Jobs of the daemon: the next one finishes, and what they did is one attempt's receipt."""
    request = RespondRequest("shop", 5.0, "its legs are gone")
    with (
        Holdfast(settings) as holdfast,
        lossy(holdfast, ram_directory) as lost,
        SyncedWriter(lost.mount / "blocks") as writer,
    ):
        holdfast.policies.set("shop", on_loss=OnLoss.RESTORE, after_seconds=1.0)
        assert holdfast.policies.respond(request) is None, "a leg serves"
        writer.go_on()
        lost.lose()
        lost.wait_until_held()
        assert holdfast.show_volume("shop").lost_by is Cause.LOST
        assert holdfast.policies.show("shop").would is Action.RESTORE
        holdfast.close()
        for at in (_BROUGHT_ON, _IS_A_LEG):
            assert in_fork(partial(_respond, settings, at, request)).code == 9
        receipt = holdfast.policies.respond(request)
        assert receipt is not None and receipt.outcome.startswith(f"done: {lost.copy_url} is a leg")
        attempt = holdfast.policies.show("shop").attempt
        assert attempt is not None
        assert (attempt.state, attempt.id, attempt.number) == (AttemptState.DONE, receipt.id, 2)
        writer.go_on()
        assert holdfast.policies.respond(request) is None
        assert [each.id for each in holdfast.receipts("shop") if each.strategy == "promote"] == [
            receipt.id
        ]
    assert writer.error is None


_BROUGHT_ON, _IS_A_LEG = 5, 13
"""Places of `_dying`: the history is applied; then, after what that left was undone, the gate has
taken it in."""


def _respond(settings: Settings, at: int, request: RespondRequest) -> None:  # noqa: F811
    with dying(at, _PLACES), Holdfast(settings) as holdfast:
        holdfast.policies.respond(request)
