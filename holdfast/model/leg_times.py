"""Histograms of how long a leg takes: what a count means, and what they say together. Pure."""

from __future__ import annotations

from collections.abc import Sequence

STEPS = 24
"""Each twice as long as the one before, from 1.024 us to 8.6 s: a leg that takes longer than the
hang time-out has failed."""

_FIRST_SECONDS = 1.024e-6


def share_within(counts: Sequence[int], share: float) -> float:
    """The time in seconds within which that share of the requests was done; 0.0: there were none.

    Within a step its requests are taken for evenly spread. `share`: above 0, at most 1.
    """
    wanted = share * sum(counts)
    before = 0
    for step, count in enumerate(counts):
        if count and before + count >= wanted:
            end = _FIRST_SECONDS * 2.0**step
            begin = end / 2 if step else 0.0
            return begin + (end - begin) * (wanted - before) / count
        before += count
    return 0.0


def grown(before: Sequence[int], now: Sequence[int]) -> tuple[int, ...]:
    """What was counted since; all of it, where another worker has begun anew."""
    if len(before) != len(now) or any(b > n for b, n in zip(before, now, strict=True)):
        return tuple(now)
    return tuple(n - b for b, n in zip(before, now, strict=True))
