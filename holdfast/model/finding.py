"""A reason for or against something: what was found, what it means, what to do about it."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Any

from holdfast.late_dataclass import dataclass


class Verdict(StrEnum):
    """`missing` stops Holdfast from working here; `limited` takes something away from it.

    Of a restoration: `blocks` keeps it from being begun, `needs-force` unless --force is given.
    """

    OK = "ok"
    LIMITED = "limited"
    MISSING = "missing"
    NEEDS_FORCE = "needs-force"
    BLOCKS = "blocks"


@dataclass(frozen=True)
class Finding:
    """One line of `doctor` or `assess`. `mend` is empty when there is nothing to do."""

    subject: str
    verdict: Verdict
    found: str
    """What is there, as measured now."""
    meaning: str = ""
    """What follows from it for the user."""
    mend: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values, as `doctor --json` prints them."""
        return asdict(self)
