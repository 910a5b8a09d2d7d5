"""Every leg of a volume at rest is gone: a copy takes their place, and it is attached."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import holdfast.gate.members.standing_in
import holdfast.service.promotions
from holdfast.catalog.restorations import RestorationEntries
from holdfast.config import Settings
from holdfast.copies.records import CopyRecords
from holdfast.errors import HistoryFailed, NoSource, NotLost, StorageFailed
from holdfast.gate.members.leg import Leg
from holdfast.gate.processes.remains import living_processes
from holdfast.service import Holdfast
from tests.forked import in_fork
from tests.kernel.conftest import settings  # noqa: F401 - a fixture
from tests.kernel.copies.lost import SyncedWriter, lossy
from tests.resume.dying import dying
from tests.soak import rounds
from tests.waiting import wait_until

_PLACES = (
    (holdfast.service.promotions, "carried_out"),
    (CopyRecords, "save"),
    (CopyRecords, "remove"),
    (Leg, "write_superblock"),
    (holdfast.gate.members.standing_in, "save_configuration"),
    (RestorationEntries, "end"),
)
"""Before and after each of them something differs."""


@pytest.fixture(name="holdfast")
def _holdfast(settings: Settings) -> Iterator[Holdfast]:  # noqa: F811
    with Holdfast(settings) as holdfast:
        yield holdfast


def test_detached(holdfast: Holdfast, ram_directory: Path) -> None:
    """All that was written is there, proven, wherever whoever does it dies; the history goes on
    without a gap."""
    at_rest = holdfast.histories.promotions_at_rest
    with lossy(holdfast, ram_directory, legs=2) as lost:
        with SyncedWriter(lost.mount / "blocks") as writer:
            writer.go_on()
            assert not at_rest.applies("shop")
        holdfast.detach_volume("shop")
        with pytest.raises(NotLost):
            at_rest.promote("shop")
        lost.lose()
        with pytest.raises(NoSource) as refused:
            holdfast.attach_volume("shop")
        assert "holdfast copy promote shop" in refused.value.mend
        plan = at_rest.plan("shop")
        assert (plan.lacking, plan.copy.url) == ("", lost.copy_url)
        holdfast.close()
        code, at = 9, rounds(1, 0)
        while code == 9 and at < 60:
            ended = in_fork(partial(_promote, holdfast.settings, at))
            code, at = ended.code, at + rounds(3, 1)
            assert lost.copy_image.exists()
        assert (code, at > 9) == (0, True), f"{at}: {ended}"
        assert not holdfast.histories.copies.show("shop")
        holdfast.attach_volume("shop")
        writer.check()
        (stretch,) = holdfast.histories.show("shop").stretches
        assert stretch.end is None
        states = [str(leg.state) for leg in holdfast.show_volume("shop").legs]
        assert states == ["in-sync", "failed"]


def _promote(settings: Settings, at: int) -> None:  # noqa: F811
    with dying(at, _PLACES), Holdfast(settings) as holdfast:
        try:
            holdfast.histories.promotions_at_rest.promote("shop")
        except NotLost:  # it is a leg already
            assert not holdfast.histories.copies.records.of("shop")
        except StorageFailed as error:
            if "died without an answer" in error.message:
                os._exit(9)
            raise


def test_its_gate_died(holdfast: Holdfast, ram_directory: Path) -> None:
    """What nobody had flushed is in the ring: in this boot nothing is missing. Then nobody can tell
    what is: it is done when that is accepted, and told of as a gap."""
    at_rest, history = holdfast.histories.promotions_at_rest, ram_directory / "history"
    with lossy(holdfast, ram_directory) as lost:
        with SyncedWriter(lost.mount / "blocks") as writer:
            writer.go_on()
        _kill_gate(holdfast, "shop")
        lost.lose()
        with pytest.raises(NoSource):
            holdfast.attach_volume("shop")
        with (history / "lock").open("r+b") as fence:  # as a gate on another host has it
            fcntl.lockf(fence, fcntl.LOCK_EX)
            with pytest.raises(HistoryFailed, match="another gate"):
                at_rest.promote("shop", force=True)
        assert at_rest.plan("shop").lacking == ""
        at_rest.promote("shop")
        holdfast.attach_volume("shop")
        writer.check()
        (stretch,) = holdfast.histories.show("shop").stretches
        assert stretch.end is None

        second = ram_directory / "second.img"
        holdfast.histories.copies.add("shop", f"file:{second}")
        with SyncedWriter(lost.mount / "more") as writer:
            writer.go_on()
        holdfast.detach_volume("shop")
        lost.copy_image.unlink()
        newest = max(history.glob("segment-*"))
        os.truncate(newest, newest.read_bytes().rindex(b"HFHFRAME"))  # the mark at its end
        before = second.read_bytes()
        with pytest.raises(NoSource, match="did not end properly"):
            at_rest.promote("shop")
        (copy,) = holdfast.histories.copies.records.of("shop")
        assert copy.is_complete and second.read_bytes() == before
        at_rest.promote("shop", force=True)
        holdfast.attach_volume("shop")
        writer.check()
        first, _ = holdfast.histories.show("shop").stretches
        receipt, *_ = (each for each in holdfast.receipts("shop") if each.details.get("lacking"))
        assert first.end == receipt.details["position"]


def _kill_gate(holdfast: Holdfast, name: str) -> None:
    """Every process of it, as the out-of-memory killer would."""
    run_directory = holdfast.settings.gate_run_directory(name)

    def is_dead() -> bool:
        for pid in living_processes(run_directory):
            os.kill(pid, signal.SIGKILL)
        return holdfast.histories.promotions_at_rest.applies(name)

    wait_until(is_dead)
