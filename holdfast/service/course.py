"""How a drill goes: its parts, one after the other, with what each took. For one thread."""

from __future__ import annotations

import time
from dataclasses import replace

from holdfast.model.drill import DrillPhase
from holdfast.model.reporter import SILENT, Reporter


class Course:
    """A watch that starts anew with everything that is said."""

    def __init__(self, reporter: Reporter = SILENT) -> None:
        self._told = reporter
        self.reporter = Reporter(self._begin, reporter.percent, reporter.find)
        """Who tells this tells the other one, too."""
        self._phases: list[DrillPhase] = []
        self._name = ""
        self._started = self._since = 0.0
        self._sizes: dict[str, int] = {}
        self._waits: dict[str, float] = {}
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

    def wait(self, name: str, milliseconds: float) -> None:
        """How long anybody waited at most, in that part."""
        self._waits[name] = milliseconds

    def ended(self, name: str) -> str:
        """How a part ended, as steps of receipts have it."""
        return "failed" if name == self.failed_in else "finished"

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
                longest_wait_ms=self._waits.get(each.name),
            )
            for each in self._phases
        )

    def _begin(self, words: str) -> None:
        self.end()
        self._name, self._started, self._since = words, time.time(), time.monotonic()
        self._told.say(words)
