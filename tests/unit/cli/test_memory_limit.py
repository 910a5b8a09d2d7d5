"""`volume show` says when a gate may wait for its own write-back."""

from __future__ import annotations

import pytest

from holdfast.cli.views import _memory_text
from holdfast.model.volume import GateReport

MEBIBYTE = 1 << 20


@pytest.mark.parametrize(
    ("limit_bytes", "io_flusher", "text"),
    [
        (None, False, "38.0 MiB"),
        (None, True, "38.0 MiB"),
        (160 * MEBIBYTE, True, "38.0 MiB, within a limit of 160.0 MiB"),
        (160 * MEBIBYTE, False, "38.0 MiB, within a limit of 160.0 MiB: may wait for its own"),
    ],
)
def test_memory_of_a_gate(limit_bytes: int | None, io_flusher: bool, text: str) -> None:
    gate = GateReport(
        keeper_pid=1,
        worker_pid=2,
        held=False,
        hold_reason="",
        hold_deadline=None,
        in_flight=0,
        takeovers=0,
        errors_returned=0,
        longest_wait_ms=0.0,
        resident_bytes=38 * MEBIBYTE,
        memory_limit_bytes=limit_bytes,
        io_flusher=io_flusher,
    )
    assert _memory_text(gate).split(" write-back")[0] == text
