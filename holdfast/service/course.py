"""How a drill goes: its parts, one after the other, with what each took, and its receipt. For one
thread."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from holdfast.catalog import Catalog
from holdfast.errors import HoldfastError
from holdfast.model.drill import FAILED, WORKED, DrillPhase, as_details, predicted
from holdfast.model.receipt import Receipt, ReceiptStep
from holdfast.model.reporter import SILENT, Reporter

_NOBODY = None, None
"""Waited."""

_MOST_REMARKS = 20

_RECENT = 50
"""Drills among which the last good one is looked for."""


class Course:
    """A watch that starts anew with everything that is said."""

    def __init__(self, reporter: Reporter = SILENT) -> None:
        self.began = time.time()
        self._told = reporter
        self.reporter = Reporter(self._begin, reporter.percent, reporter.find)
        """Who tells this tells the other one, too."""
        self._phases: list[DrillPhase] = []
        self._name = ""
        self._started = self._since = 0.0
        self._sizes: dict[str, int] = {}
        self._waits: dict[str, tuple[float, float | None]] = {}
        self.subject = ""
        """Which contents these are, in words."""
        self.made_from = ""
        """What the contents were made from, in words."""
        self.verified: list[str] = []
        self.remarks: list[str] = []
        self.said: list[str] = []
        """What the administrator's own check said, its last lines."""
        self.failed_in = ""
        """The part that did not come to its end."""

    def weigh(self, name: str, size_bytes: int) -> None:
        """What a part takes longer for, the more that is."""
        self._sizes[name] = size_bytes

    def wait(self, name: str, milliseconds: float, expected_ms: float | None = None) -> None:
        """How long anybody waited at most, in that part; and was expected to, where that was
        predicted just before."""
        self._waits[name] = milliseconds, expected_ms

    def verify(self, words: str) -> None:
        """What was compared or checked, in words."""
        self.verified.append(words)

    def remark(self, words: str) -> None:
        """What has to be known, and keeps nothing from working."""
        self.remarks.append(words)

    def end(self, *, failed: bool = False) -> None:
        """End the part that is at work. Idempotent."""
        name, self._name = self._name, ""
        if name:
            took_ms = (time.monotonic() - self._since) * 1000
            self._phases.append(DrillPhase(name, self._started, took_ms))
        if failed:
            self.failed_in = self.failed_in or name

    @property
    def phases(self) -> tuple[DrillPhase, ...]:
        """Those that have ended."""
        return tuple(
            replace(
                each,
                size_bytes=self._sizes.get(each.name, 0),
                longest_wait_ms=self._waits.get(each.name, _NOBODY)[0],
                predicted_wait_ms=self._waits.get(each.name, _NOBODY)[1],
            )
            for each in self._phases
        )

    def receipt(
        self,
        catalog: Catalog,
        volume: str,
        strategy: str,
        cause: str,
        *,
        worked: str,
        failure: HoldfastError | None,
        more: Mapping[str, Any] | None = None,
    ) -> Receipt:
        """Its receipt as of now, which is kept; durable. `worked`: what that means, in words.

        `more`: details that this kind of drill has.
        """
        phases = predicted(self.phases, _last_good(catalog, volume, strategy))
        outcome, mend = f"{WORKED}: {worked}", ""
        if failure is not None:
            where = f"{self.failed_in}: " if self.failed_in else ""
            outcome, mend = f"{FAILED}{where}{failure.message}", failure.mend
        details = {
            **(more or {}),
            "remarks": self.remarks[:_MOST_REMARKS],
            "said": self.said,
            "mend": mend,
            "phases": as_details(phases),
        }
        waits = [each.longest_wait_ms for each in phases if each.longest_wait_ms is not None]
        receipt = Receipt(
            id=uuid.uuid4().hex,
            volume=volume,
            strategy=strategy,
            cause=cause,
            started=self.began,
            finished=time.time(),
            outcome=outcome,
            steps=tuple(
                ReceiptStep(
                    each.name,
                    each.started,
                    each.measured_ms / 1000,
                    "failed" if each.name == self.failed_in else "finished",
                )
                for each in phases
            ),
            longest_wait_ms=round(max(waits, default=0.0), 3),
            verification="; ".join(self.verified),
            details={key: value for key, value in details.items() if value not in ("", None, [])},
        )
        catalog.restorations.end(receipt.id, receipt)
        return receipt

    def _begin(self, words: str) -> None:
        self.end()
        self._name, self._started, self._since = words, time.time(), time.monotonic()
        self._told.say(words)


def _last_good(catalog: Catalog, volume: str, strategy: str) -> Receipt | None:
    """The last one that came to its end: what was measured then is expected now."""
    found = catalog.receipts(volume, _RECENT, strategy=strategy)
    return next((each for each in found if each.outcome.startswith(WORKED)), None)
