"""What the kernel says of the devices that volumes lie on: errors, and file systems that give up.

Owns how long a message counts: until the device is used anew, or an hour after the last one. Both
are seen in the log itself, so a daemon that starts again knows what the one before knew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from holdfast.detection.parts import DeviceBelow
from holdfast.late_dataclass import dataclass
from holdfast.model.evidence import Evidence
from holdfast.policy.kernel_words import Heard, Word, is_within, report_of
from holdfast.system.messages.kernel_log import KernelLog

_log = logging.getLogger(__name__)

COUNTS_SECONDS = 3600.0
"""After the last error. A disk that fails says so again sooner; one bad cable is history."""

_MOST_DEVICES = 256
_SYS_BLOCK = Path("/sys/class/block")


@dataclass
class _Errors:
    """Messages of one kind about one device."""

    count: int = 0
    last: float = 0.0
    """Monotonic seconds."""


class KernelReports:
    """Errors that the kernel has reported lately; for one thread."""

    def __init__(self) -> None:
        self._errors: dict[tuple[str, Word], _Errors] = {}
        self._log: KernelLog | None = None
        try:
            self._log = KernelLog()
        except OSError as error:
            _log.warning("the kernel's log cannot be read, and is not watched: %s", error)

    def descriptors(self) -> list[int]:
        """For poll(2): something was said."""
        return [] if self._log is None else [self._log.fileno()]

    def take_in(self, concerned: Collection[str]) -> bool:
        """Read what is new; whether any of it is about one of these devices. Does not wait."""
        news = False
        for said in () if self._log is None else self._log.read():
            report = report_of(said.text)
            if report is not None:
                news |= self._note(report, said.seconds) in concerned
        return news

    def evidence(self, parts: Iterable[DeviceBelow]) -> Iterator[Evidence]:
        """What was said of these devices."""
        now = time.monotonic()
        for key in [key for key, each in self._errors.items() if now - each.last > COUNTS_SECONDS]:
            del self._errors[key]
        for part in parts:
            found = {kind: self._errors[part.device, kind] for kind in Word
                     if (part.device, kind) in self._errors}  # fmt: skip
            if found:
                where = f" ({part.where})" if part.where else ""
                words = f"the kernel reports of {part.device}{where}: {_in_words(found)}"
                yield Evidence(part.volume, part.about, words, part.mend, source="kernel log")

    def _note(self, report: Heard, seconds: float) -> str:
        """Remember it; the device that it is about."""
        if report.kind is Word.ANEW:
            for key in [each for each in self._errors if is_within(each[0], report.device)]:
                del self._errors[key]
            return report.device
        device = _partition(report)
        key = (device, report.kind)
        if key not in self._errors and len(self._errors) >= _MOST_DEVICES:
            del self._errors[min(self._errors, key=lambda each: self._errors[each].last)]
        errors = self._errors.setdefault(key, _Errors())
        errors.count += 1
        errors.last = max(errors.last, seconds)
        return device


def _in_words(found: dict[Word, _Errors]) -> str:
    words = [f"{kind} ({each.count})" for kind, each in found.items() if kind is not Word.READ_ONLY]
    return ", ".join([*words, *(str(kind) for kind in found if kind is Word.READ_ONLY)])


def _partition(report: Heard) -> str:
    """The partition of a disk that a sector is in: the kernel names the disk only."""
    if report.sector is None:
        return report.device
    with suppress(OSError, ValueError):
        for folder in (_SYS_BLOCK / report.device).iterdir():
            if not (folder / "partition").exists():
                continue
            start, size = (int((folder / name).read_text()) for name in ("start", "size"))
            if start <= report.sector < start + size:
                return folder.name
    return report.device
