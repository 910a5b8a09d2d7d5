"""The page of what just happened: every receipt of the demo as pictures, in one file that stays.

Must never fail the demo: a page that cannot be written is told of, and nothing else changes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from holdfast.demo.timeline import BOLD, Timeline
from holdfast.model.receipt import Receipt
from holdfast.receipt_page import document
from holdfast.system.files.durable import replace_durably

_LEAD = (
    "Three applications kept writing while their storage was destroyed, hung, lost and replaced,"
    " and went on when all of it was gone. These are the receipts of it, in order."
)


def leave_page(path: Path, receipts: Sequence[Receipt], timeline: Timeline) -> bool:
    """Write it, in the place of an earlier one, and say where it is; whether it is there."""
    if not receipts:
        return False
    in_order = sorted(receipts, key=lambda receipt: receipt.started)
    text = document(in_order, "What happened in the demo", _LEAD)
    try:
        replace_durably(path, text, 0o644)
    except OSError as error:
        timeline.line(f"  the page of it could not be written: {path}: {error.strerror}")
        return False
    timeline.line(f"  what just happened, as pictures: {timeline.paint(str(path), BOLD)}")
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        timeline.line(f"  to open it: xdg-open {path}")
    return True
