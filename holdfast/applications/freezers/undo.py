"""Thawing everyone a record names, and the receipt that tells how long each was frozen.

Done by the watchdog, or by whoever finds that it is dead; the lock of the record is held. Killed
in between, it is done again in full: every thaw is idempotent.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.applications.freezers import FREEZERS
from holdfast.applications.freezers.protocol import processes_in
from holdfast.applications.freezers.record import FreezeRecord, RecordFile
from holdfast.model.receipt import Receipt, ReceiptStep
from holdfast.system.files.durable import replace_durably

_ATTEMPTS = 3
_PAUSE_SECONDS = 0.05


def thaw_all(record: FreezeRecord) -> list[str]:
    """Thaw every batch, the last one first; what could not be undone, in words. Never raises."""
    if not record.of_this_boot:
        return []
    occasion = record.occasion
    failed: list[str] = []
    for batch in reversed(record.batches):
        for attempt in range(_ATTEMPTS):
            try:
                trouble = FREEZERS[batch.freezer](occasion).thaw(batch.state)
            except Exception as error:
                trouble = [f"{batch.freezer}: {type(error).__name__}: {error}"]
            if not trouble:
                break
            if attempt == _ATTEMPTS - 1:
                failed += trouble
            else:
                time.sleep(_PAUSE_SECONDS)
    return failed


def finish(file: RecordFile, record: FreezeRecord, outcome: str) -> Receipt:
    """Thaw everybody, drop the receipt into the spool, forget the record.

    A spool that takes nothing does not keep anybody frozen, nor the record.
    """
    thawing_ns = time.monotonic_ns()
    failed = thaw_all(record)
    receipt = _receipt(record, outcome, failed, thawing_ns)
    spool = Path(record.spool)
    with suppress(OSError):
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_durably(spool / f"{record.id}.json", _as_text(receipt))
    file.remove()
    return receipt


def processes_of(record: FreezeRecord, until_ns: int) -> list[dict[str, Any]]:
    """Everyone who was frozen, how, and how long, in the order in which it happened.

    Counted from before the first was stopped to after the last was continued: at most that long.
    """
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for batch in record.batches:
        for process in processes_in(batch.state):
            entry = {
                "pid": process.pid,
                "name": process.name,
                "frozen_ms": round((until_ns - batch.at_ns) / 1e6, 3),
                "by": batch.freezer,
            }
            found.setdefault((process.pid, process.start_time), entry)
        for memory in batch.state.get("memory", ()):
            for entry in found.values():
                if entry["pid"] == memory["pid"]:
                    entry["memory"] = {key: memory[key] for key in memory if key != "pid"}
    return list(found.values())


def _receipt(record: FreezeRecord, outcome: str, failed: list[str], thawing_ns: int) -> Receipt:
    now, now_ns = time.time(), time.monotonic_ns()
    until_ns = now_ns if record.of_this_boot else thawing_ns
    processes = processes_of(record, until_ns)
    if record.freezer == "hold":
        # Nobody stood still: their requests did.
        processes = [
            {**entry, "frozen_ms": 0.0, "held_ms": entry["frozen_ms"]} for entry in processes
        ]
    trouble = record.failed + failed
    frozen_ns = min((batch.at_ns for batch in record.batches), default=thawing_ns)
    wall = now - now_ns / 1e9
    steps = (
        ReceiptStep(
            "freeze", wall + frozen_ns / 1e9, (thawing_ns - frozen_ns) / 1e9, record.freezer
        ),
        ReceiptStep("thaw", wall + thawing_ns / 1e9, (now_ns - thawing_ns) / 1e9, outcome),
    )
    return Receipt(
        id=record.id,
        volume=record.volume,
        strategy="freeze",
        cause=record.cause,
        started=record.started,
        finished=now,
        outcome=outcome if not failed else f"{outcome}; {'; '.join(failed)}",
        steps=steps,
        processes=tuple(processes),
        longest_wait_ms=max((each["frozen_ms"] for each in processes), default=0.0),
        details={"freezer": record.freezer, "trouble": trouble}
        if trouble
        else {"freezer": record.freezer},
    )


def _as_text(receipt: Receipt) -> str:
    import json

    return json.dumps(receipt.as_json())
