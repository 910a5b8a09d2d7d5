"""The receipt of a restoration: what was done, to whom, for how long, and how it was checked.

Pure: the restoration's own record in, a receipt out.
"""

from __future__ import annotations

import time
from typing import Any

from holdfast.model.receipt import Receipt, Step
from holdfast.model.restoration import Restoration, StepState
from holdfast.restoration.not_kept import in_words

_DETAILS = (
    "from", "to", "filesystem", "online", "final_pass", "verified", "forced", "notes", "lost",
    "not_kept", "fencing", "predicted_pause_seconds", "pause_ms", "findings", "removed",
)  # fmt: skip


def receipt_of(restoration: Restoration, outcome: str, thawed_at: float | None = None) -> Receipt:
    """The receipt as of now. `thawed_at`: when everybody ran again, Unix seconds."""
    facts = restoration.facts
    now = time.time()
    frozen_at = float(facts.get("frozen_at", 0.0))
    pause_ms = max(0.0, (thawed_at or now) - frozen_at) * 1000 if frozen_at else 0.0
    details: dict[str, Any] = {key: facts[key] for key in _DETAILS if key in facts}
    if facts.get("not_kept"):
        lacking = in_words(facts["not_kept"]).as_json()
        details["findings"] = [*details.get("findings", ()), lacking]
    if frozen_at:
        details["pause_ms"] = round(pause_ms, 3)
    return Receipt(
        id=restoration.id,
        volume=restoration.volume,
        strategy=str(restoration.strategy),
        cause=restoration.cause,
        started=restoration.started,
        finished=now,
        outcome=outcome,
        steps=_steps(restoration),
        processes=tuple(
            {
                "pid": pid,
                "name": name,
                "frozen_ms": round(pause_ms, 3),
                "handles": facts.get("outcomes", {}).get(str(pid), {}),
            }
            for pid, name in facts.get("frozen", ())
        ),
        requests_held=int(facts.get("calls_made_again", 0)),
        errors_returned=len(facts.get("calls_failed", ())),
        longest_wait_ms=round(pause_ms, 3),
        bytes_replayed=int(facts.get("final_pass", {}).get("bytes", 0)),
        verification=str(facts.get("verification", "")),
        details=details,
    )


def _steps(restoration: Restoration) -> tuple[Step, ...]:
    online = restoration.facts.get("prepared")
    before = (
        (Step("prepare", float(online["started"]), float(online["seconds"]), online["outcome"]),)
        if online
        else ()
    )
    return before + tuple(
        Step(
            str(step.name),
            step.started,
            step.seconds,
            step.outcome if step.state is StepState.FINISHED else f"{step.state}: {step.outcome}",
        )
        for step in restoration.steps
    )
