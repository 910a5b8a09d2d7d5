"""What goes wrong while the gate serves, measured as it happens, and its receipt.

An incident is open from its cause until every request that it touched was answered. The serving
threads only note how long an answer took; the main thread closes incidents and writes the receipts
into the spool directory, from where the catalog takes them, on a thread that may hang there.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic_ns, time
from typing import Any

from holdfast.gate.runtime.claims import Hand
from holdfast.gate.runtime.shared_page import BUSY_SINCE
from holdfast.model.receipt import Receipt, ReceiptStep
from holdfast.system.files.durable import replace_durably

GRAVITY = (
    *("history", "resync", "replacement", "standstill", "takeover", "keeper-takeover"),
    *("state", "journal", "failover", "name", "hold"),
)
"""Strategies, the gravest last."""

HOLD_NOBODY = frozenset(("history", "resync", "replacement", "keeper-takeover"))
"""Strategies during which requests are served as always. None is noted: they may take hours, which
compiled code serves through."""

RECEIPTS_KEPT = 100
"""How many receipts wait in memory while the spool takes none."""

_log = logging.getLogger(__name__)


class Incident:
    """One thing that happened. Times: wall clock for people, monotonic for durations."""

    def __init__(self, strategy: str, cause: str, started_ns: int | None = None) -> None:
        now_ns = monotonic_ns()
        self.started_ns = started_ns or now_ns
        self.started = time() - (now_ns - self.started_ns) / 1e9
        self.strategy = strategy
        self.cause = cause
        self.steps: list[ReceiptStep] = []
        self.requests_held = 0
        self.errors_returned = 0
        self.longest_wait_ns = 0
        self.bytes_replayed = 0
        self.outcome = ""
        self.details: dict[str, Any] = {}
        self.resolved_ns = 0
        self.last_answer_ns = 0
        self.backlog_until_ns = 0
        """Requests that are read until then have waited since this incident began."""
        self.manual = False
        """Resolved only by whoever began it: an administrator, or the guard of the keeper."""

    def step(self, name: str, outcome: str = "done", since_ns: int | None = None) -> None:
        """Add a step that ended now and began at `since_ns` (default: an instant)."""
        now = monotonic_ns()
        seconds = (now - since_ns) / 1e9 if since_ns else 0.0
        self.steps.append(ReceiptStep(name, time() - seconds, seconds, outcome))
        _log.info("%s: %s: %s", self.strategy, name, outcome)

    def resolve(self, outcome: str) -> None:
        """The cause is dealt with; the incident closes when its last request is answered."""
        self.outcome = outcome
        self.resolved_ns = monotonic_ns()
        seconds = (self.resolved_ns - self.started_ns) / 1e9
        _log.info("%s is over after %.3f s: %s", self.strategy, seconds, outcome)

    def receipt(self, volume: str) -> Receipt:
        """The finished record."""
        return Receipt(
            id=uuid.uuid4().hex[:12],
            volume=volume,
            strategy=self.strategy,
            cause=self.cause,
            started=self.started,
            finished=self.started
            + ((self.last_answer_ns or self.resolved_ns) - self.started_ns) / 1e9,
            outcome=self.outcome,
            steps=tuple(self.steps),
            requests_held=self.requests_held,
            errors_returned=self.errors_returned,
            longest_wait_ms=round(self.longest_wait_ns / 1e6, 3),
            bytes_replayed=self.bytes_replayed,
            verification=self.details.pop("verification", ""),
            details=self.details,
        )


class Incidents:
    """The open incidents. `open` is replaced, never changed, so that readers need no lock."""

    def __init__(
        self, volume: str, spool_directory: Path, began: Callable[[], None] = lambda: None
    ) -> None:
        """`began`: told that answers have to be noted from now on."""
        self._volume = volume
        self._began = began
        self._spool = spool_directory
        self._lock = threading.Lock()
        self.open: tuple[Incident, ...] = ()
        self._unwritten: list[Receipt] = []

    @property
    def noting(self) -> bool:
        """Whether answers have to be noted of requests that the kernel has not sent again."""
        return any(
            each.strategy not in HOLD_NOBODY
            and (each.strategy != "takeover" or each.backlog_until_ns)
            for each in self.open
        )

    @property
    def unwritten(self) -> bool:
        """Whether receipts wait for room in the spool."""
        return bool(self._unwritten)

    def reflex(self, strategy: str, cause: str, started_ns: int | None = None) -> Incident:
        """Open an incident of the data path, or add to the one that is open.

        Either has answers noted from then on. Reflexes that follow from each other (a failover,
        then a hold) are one story and make one receipt, named after the gravest.
        """
        with self._lock:
            for incident in self.open:
                if incident.strategy in HOLD_NOBODY or incident.manual:
                    continue
                if not incident.resolved_ns:
                    if GRAVITY.index(strategy) > GRAVITY.index(incident.strategy):
                        incident.strategy = strategy
                        incident.cause += f"; {cause}"
                        self._began()
                    return incident
        return self.begin(strategy, cause, started_ns)

    def begin(self, strategy: str, cause: str, started_ns: int | None = None) -> Incident:
        """Open an incident of its own."""
        _log.warning("%s begins: %s", strategy, cause)
        incident = Incident(strategy, cause, started_ns)
        with self._lock:
            self.open = (*self.open, incident)
        self._began()
        return incident

    def answered(self, since_ns: int, waited_ns: int, *, failed: bool, resent: bool) -> None:
        """Note an answer while incidents are open.

        A request that the kernel sent again has waited since the worker before had it, which is
        when a takeover begins.
        """
        for incident in self.open:
            if incident.strategy == "bad-place":
                continue  # it is about one request, and knows which
            end = incident.resolved_ns
            if (end and since_ns > end) or incident.strategy in HOLD_NOBODY:
                continue
            if incident.strategy == "takeover":
                if not resent and since_ns > incident.backlog_until_ns:
                    continue
                incident.last_answer_ns = since_ns + waited_ns
                waited_ns = max(waited_ns, incident.last_answer_ns - incident.started_ns)
            incident.requests_held += 1
            incident.errors_returned += failed
            incident.longest_wait_ns = max(incident.longest_wait_ns, waited_ns)

    def close_finished(self, hands: Iterable[Hand]) -> list[Receipt]:
        """As `collect`, then `write`. Blocks as the state directory does."""
        receipts = self.collect(hands)
        self.write()
        return receipts

    def collect(self, hands: Iterable[Hand]) -> list[Receipt]:
        """Close what is resolved and no longer waited for; its receipts wait to be written."""
        oldest = min(
            (since for hand in hands if (since := hand.cells[BUSY_SINCE])), default=monotonic_ns()
        )
        with self._lock:
            over = [
                entry for entry in self.open if entry.resolved_ns and entry.resolved_ns < oldest
            ]
            self.open = tuple(entry for entry in self.open if entry not in over)
            receipts = [incident.receipt(self._volume) for incident in over]
            self._unwritten = [*self._unwritten, *receipts][-RECEIPTS_KEPT:]
        return receipts

    def write(self) -> None:
        """Write the receipts that wait, oldest first. Blocks as the state directory does."""
        with self._lock:
            waiting = list(self._unwritten)
        for receipt in waiting:
            if not self._write(receipt):
                return
            with self._lock:
                self._unwritten = [each for each in self._unwritten if each is not receipt]

    def _write(self, receipt: Receipt) -> bool:
        """Put a receipt into the spool, durably; False when there is no room."""
        path = self._spool / f"{receipt.started:.6f}-{receipt.id}.json"
        try:
            self._spool.mkdir(parents=True, exist_ok=True)
            replace_durably(path, json.dumps(receipt.as_json()))
        except OSError:
            return False  # the state directory may be as broken as the legs
        return True
