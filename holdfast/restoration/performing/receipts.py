"""The receipt of a restoration: what was done, to whom, for how long, and how it was checked.

Pure: the restoration's entry and record in, a receipt out.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from typing import Any

from holdfast.model.receipt import Receipt, ReceiptStep
from holdfast.model.restoration import Mode, Restoration, StepRecord, StepState
from holdfast.model.volume import Volume
from holdfast.restoration.assessing.not_kept import in_words
from holdfast.restoration.records.record import Intent, RestorationRecord
from holdfast.restoration.storage.old_and_new import containers_of

ABANDONED = "abandoned: "
"""How the outcome of one that was given up begins."""


def receipt_of(
    restoration: Restoration,
    record: RestorationRecord,
    outcome: str,
    thawed_at: float | None = None,
    *,
    verification: str = "",
    removed: str = "",
    left: dict[str, Any] | None = None,
) -> Receipt:
    """The receipt as of now. `thawed_at`: when everybody ran again, Unix seconds. `removed`: what
    became of containers that were made, in words. `left`: by what the storage that it leaves is
    known later."""
    now = time.time()
    frozen_at = record.stopping.frozen_at if record.stopping is not None else 0.0
    pause_ms = max(0.0, (thawed_at or now) - frozen_at) * 1000 if frozen_at else 0.0
    details = _details(record)
    if removed:
        details["removed"] = removed
    if left is not None:
        details["left"] = left
    if frozen_at:
        details["pause_ms"] = round(pause_ms, 3)
    frozen, flushed = record.frozen, record.flushed
    outcomes = record.replayed.outcomes if record.replayed is not None else {}
    more = record.replayed.more_bytes if record.replayed is not None else {}
    return Receipt(
        id=restoration.id,
        volume=restoration.volume,
        strategy=str(restoration.strategy),
        cause=restoration.cause,
        started=restoration.started,
        finished=now,
        outcome=outcome,
        steps=_steps(restoration, record),
        processes=tuple(
            {
                "pid": pid,
                "name": name,
                "frozen_ms": round(pause_ms, 3),
                "handles": outcomes.get(str(pid), {}),
                "more_bytes": more.get(str(pid), 0),
            }
            for pid, name in (frozen.processes if frozen is not None else ())
        ),
        requests_held=frozen.calls_made_again if frozen is not None else 0,
        errors_returned=len(frozen.calls_failed) if frozen is not None else 0,
        longest_wait_ms=round(pause_ms, 3),
        bytes_replayed=flushed.bytes if flushed is not None else 0,
        verification=verification,
        details=details,
    )


def verification_of(record: RestorationRecord) -> str:
    """What was really compared, in words."""
    words = []
    if record.verified is not None:
        words.append(
            f"{record.verified.entries} names compared with the dismounted source: kinds, owners,"
            " modes, sizes, times, links"
        )
    elif record.prepared is not None and record.intent.mode is Mode.MOVE:
        words.append("names compared with the source while everybody was stopped")
    elif record.prepared is not None:
        words.append(f"{record.prepared.entries} names compared with what was copied")
    outcomes: Counter[str] = Counter()
    for kinds in record.replayed.outcomes.values() if record.replayed is not None else ():
        for results in kinds.values():
            outcomes.update(results)
    words += [f"{count} handles {outcome}" for outcome, count in sorted(outcomes.items())]
    return "; ".join(words)


def _details(record: RestorationRecord) -> dict[str, Any]:
    """What a restoration tells beside what every receipt has; nothing of what did not happen."""
    prepared, replayed = record.prepared, record.replayed
    found = {
        **_sides(record.intent),
        "online": _online(record),
        "final_pass": None if record.flushed is None else asdict(record.flushed),
        "saved_writes": _saved_writes(record),
        "verified": None if record.verified is None else asdict(record.verified),
        "forced": None if record.forced is None else [each.as_json() for each in record.forced],
        "notes": None if replayed is None else list(replayed.notes),
        "more_bytes": sum(replayed.more_bytes.values()) or None if replayed is not None else None,
        "lost": None if prepared is None else list(prepared.lost),
        "not_kept": record.not_kept,
        "fencing": record.tokens,
        "predicted_pause_seconds": record.predicted_pause_seconds,
        "findings": _findings(record),
    }
    return {name: value for name, value in found.items() if value is not None}


def _saved_writes(record: RestorationRecord) -> list[dict[str, Any]] | None:
    """Of each file what was in memory, and what became of that."""
    if record.saved is None:
        return None
    return [
        {
            "path": each.path,
            "size_bytes": each.size_bytes,
            "saved_bytes": each.saved_bytes,
            "outcome": each.outcome or "saved, and not put back",
        }
        for each in record.saved.files
    ]


def _sides(intent: Intent) -> dict[str, Any]:
    if intent.mode is Mode.STALE:
        return {}
    filesystem = intent.old.mount.filesystem
    if intent.new is None:
        return {"from": _where(intent.old), "filesystem": filesystem}
    sides = {
        "from": _where(intent.old),
        "to": _where(intent.new),
        "filesystem": f"{filesystem} to {intent.new.mount.filesystem}",
    }
    if intent.new.kind == intent.old.kind:
        return sides
    return {**sides, "kind": f"{intent.old.kind} to {intent.new.kind}"}


def _where(volume: Volume) -> str:
    return ", ".join(containers_of(volume))


def _online(record: RestorationRecord) -> dict[str, Any] | None:
    if record.prepared is None:
        return None
    prepared = asdict(record.prepared)
    return {name: prepared[name] for name in ("passes", "bytes", "entries")}


def _findings(record: RestorationRecord) -> list[dict[str, Any]] | None:
    found = [*record.intent.findings, *record.findings]
    if record.not_kept:
        found.append(in_words(record.not_kept))
    if record.intent.mode is Mode.STALE and not found:
        return None
    return [each.as_json() for each in found]


def _steps(restoration: Restoration, record: RestorationRecord) -> tuple[ReceiptStep, ...]:
    steps = tuple(_step(each) for each in restoration.steps)
    prepared = record.prepared
    if prepared is None:
        return steps
    words = f"{len(prepared.passes)} passes, {prepared.bytes} bytes"
    return (ReceiptStep("prepare", prepared.started, prepared.seconds, words), *steps)


def _step(step: StepRecord) -> ReceiptStep:
    is_finished = step.state is StepState.FINISHED
    outcome = step.outcome if is_finished else f"{step.state}: {step.outcome}"
    return ReceiptStep(str(step.name), step.started, step.seconds, outcome)
