"""A gated volume is frozen by its gate: requests wait, and nobody is stopped."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import (
    AlreadyFrozen,
    CannotFreeze,
    HoldfastError,
    InvalidOption,
    NoSuchVolume,
    NotAttached,
    NotFrozen,
)
from holdfast.service import Holdfast
from holdfast.service.requests import NewVolume
from tests.waiting import wait_until


@pytest.fixture
def holdfast(settings: Settings, ram_directory: Path) -> Iterator[Holdfast]:
    """A Holdfast with one volume `bank`."""
    with Holdfast(settings) as holdfast:
        leg = f"file:{ram_directory}/1.img"
        wanted = NewVolume("bank", 64 << 20, str(ram_directory / "mnt"), leg_urls=(leg,))
        holdfast.create_volume(wanted)
        try:
            yield holdfast
        finally:
            with suppress(HoldfastError):
                holdfast.freezes.thaw("bank")
            holdfast.delete_volume("bank")


def held(holdfast: Holdfast) -> bool:
    gate = holdfast.show_volume("bank").gate
    return gate is not None and gate.held


def test_requests_wait_until_the_thaw(holdfast: Holdfast, ram_directory: Path) -> None:
    """The default for a gated volume; the receipt is in the catalog."""
    assert holdfast.freezes.plan("bank").freezer == "hold"
    assert not held(holdfast)
    done = holdfast.freezes.freeze("bank", 30.0)
    assert done.freezer == "hold"
    assert held(holdfast)
    written = threading.Event()

    def write() -> None:
        descriptor = os.open(ram_directory / "mnt" / "file", os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b"x")
        os.fsync(descriptor)
        os.close(descriptor)
        written.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert not written.wait(0.3)
    receipt = holdfast.freezes.thaw("bank")
    assert written.wait(20)
    writer.join()
    assert not held(holdfast)
    assert receipt is not None
    assert (receipt.id, receipt.strategy, receipt.outcome) == (done.id, "freeze", "thawed")
    assert holdfast.receipt(done.id) == receipt


def test_the_deadline_ends_it(holdfast: Holdfast) -> None:
    """By itself, with a receipt that says so."""
    done = holdfast.freezes.freeze("bank", 0.5)
    wait_until(lambda: not held(holdfast))

    def thawed() -> bool:
        return any(receipt.id == done.id for receipt in holdfast.receipts("bank"))

    wait_until(thawed)
    assert holdfast.receipt(done.id).outcome == "thawed at the deadline"
    with pytest.raises(NotFrozen):
        holdfast.freezes.thaw("bank")
    assert holdfast.recover() == []


def test_an_administrator_s_hold_is_not_ours(holdfast: Holdfast) -> None:
    """It is refused, and the hold stays."""
    holdfast.hold("bank", 60.0, "maintenance")
    with pytest.raises(CannotFreeze, match="maintenance"):
        holdfast.freezes.freeze("bank")
    assert held(holdfast)
    holdfast.release("bank")


def test_what_is_refused(holdfast: Holdfast) -> None:
    """Each with an error of its own, and nothing is changed."""
    with pytest.raises(NoSuchVolume):
        holdfast.freezes.freeze("nobody")
    with pytest.raises(NoSuchVolume):
        holdfast.freezes.thaw("nobody")
    with pytest.raises(NotFrozen):
        holdfast.freezes.thaw("bank")
    with pytest.raises(InvalidOption):
        holdfast.freezes.freeze("bank", by="magic")
    with pytest.raises(InvalidOption):
        holdfast.freezes.freeze("bank", 0.0)
    with pytest.raises(InvalidOption):
        holdfast.freezes.freeze("bank", 9 * 86400.0)
    with pytest.raises(CannotFreeze, match="no process uses"):
        holdfast.freezes.freeze("bank", by="signal")
    assert not held(holdfast)
    holdfast.freezes.freeze("bank")
    with pytest.raises(AlreadyFrozen):
        holdfast.freezes.freeze("bank")
    holdfast.freezes.thaw("bank")
    holdfast.detach_volume("bank")
    with pytest.raises(NotAttached):
        holdfast.freezes.freeze("bank")
