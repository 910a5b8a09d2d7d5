"""Which code this is. Gates say it, so that one can see which of them run older code."""

from __future__ import annotations

VERSION = "0.2.0"

UNTOLD = "0.1.0"
"""That of a gate that does not say its own."""
