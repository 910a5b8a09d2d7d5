"""How long the long loops are: short by default, their full length with HOLDFAST_SOAK=1."""

from __future__ import annotations

import os


def rounds(short: int, long: int) -> int:
    """`long` in a soak run, otherwise `short`."""
    return long if os.environ.get("HOLDFAST_SOAK") == "1" else short
