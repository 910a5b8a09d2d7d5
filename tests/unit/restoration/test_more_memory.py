"""What processes use more after a move is in the receipt, of each and of all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.cli.views import print_receipt
from holdfast.model.handle import Handle, HandleKind, HandleOutcome
from holdfast.restoration.performing.receipts import receipt_of
from holdfast.restoration.records.record import FreezeResult, read_record
from holdfast.restoration.steps.parked import outcomes_of
from tests.unit.restoration.test_record import NAMES, written


def test_in_the_receipt(capsys: pytest.CaptureFixture[str]) -> None:
    maps = [
        ReboundHandle(Handle(HandleKind.MAP, pid, "/srv/x/file"), HandleOutcome.IDENTICAL, "", more)
        for pid, more in ((7, 4096), (7, 8192), (8, 0), (9, 1 << 20))
    ]
    old = written(NAMES[0])
    record = replace(
        read_record(old),
        frozen=FreezeResult(((7, "seven"), (8, "eight"), (9, "nine"))),
        replayed=outcomes_of(maps),
    )
    receipt = receipt_of(old, record, "done")
    assert [each["more_bytes"] for each in receipt.processes] == [12288, 0, 1 << 20]
    assert receipt.details["more_bytes"] == 12288 + (1 << 20)
    print_receipt(receipt)
    shown = capsys.readouterr().out
    assert "1.0 MiB (pages that a fork had left shared" in " ".join(shown.split())
    assert "12.0 KiB" in shown


def test_nothing_where_nothing_was_shared(capsys: pytest.CaptureFixture[str]) -> None:
    old = written(NAMES[0])
    handle = Handle(HandleKind.MAP, 7, "/srv/x/file")
    same = outcomes_of([ReboundHandle(handle, HandleOutcome.IDENTICAL)])
    record = replace(read_record(old), frozen=FreezeResult(((7, "seven"),)), replayed=same)
    receipt = receipt_of(old, record, "done")
    assert "more_bytes" not in receipt.details
    print_receipt(receipt)
    assert "more memory" not in capsys.readouterr().out
