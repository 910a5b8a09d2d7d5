"""How much everybody on this host waits for storage: pressure stall information (proc(5))."""

from __future__ import annotations

from pathlib import Path

_IO = Path("/proc/pressure/io")


def io_pressure() -> float:
    """Percent of the last minute in which somebody waited for storage; 0 where the kernel does not
    say."""
    try:
        some = _IO.read_text().partition("\n")[0]
        words = dict(word.partition("=")[::2] for word in some.split())
        return float(words["avg60"])
    except (OSError, ValueError, KeyError, IndexError):
        return 0.0
