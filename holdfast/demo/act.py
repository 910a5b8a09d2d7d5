"""What an act is, and how it tells what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from holdfast.demo.stage import Stage
from holdfast.late_dataclass import dataclass
from holdfast.model.receipt import Receipt


@dataclass(frozen=True)
class Act:
    """One act: what the audience reads above it and in the table, and what happens."""

    title: str
    summary: str
    play: Callable[[Stage], None]
    needs_takeover: bool = False


def milliseconds(value: float) -> str:
    """A wait as people compare it."""
    return f"{value:.1f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def waits_in_words(waits_ms: dict[str, float]) -> str:
    """The wait of each application."""
    return ", ".join(f"{name} {milliseconds(wait)}" for name, wait in waits_ms.items())


def say_waits(stage: Stage) -> None:
    """Say how long each application has waited at most, and that none saw an error."""
    errors = stage.errors()
    text = f"longest wait: {waits_in_words(stage.waits_ms())}; {errors or 'no'} errors"
    stage.timeline.result(text, good=not errors)


def tell(stage: Stage, text: str, receipt: Receipt | None = None) -> None:
    """Say something; when it happened, the receipt's last step knows best."""
    ago = 0.0
    if receipt is not None:
        moments = [step.started for step in receipt.steps] or [receipt.finished]
        ago = max(0.0, time.time() - moments[-1])
    stage.timeline.event(text, ago)
