"""How states and figures look to a person. Pure."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence

from holdfast.model.served import ShownVolume
from holdfast.model.volume import LegState, VolumeState

_TONES = {
    VolumeState.HEALTHY: "good",
    VolumeState.DEGRADED: "warn",
    VolumeState.HELD: "bad",
    VolumeState.FAILED: "bad",
    VolumeState.DETACHED: "quiet",
    LegState.IN_SYNC: "good",
    LegState.RESYNCING: "warn",
    LegState.STALE: "warn",
    LegState.FAILED: "bad",
    LegState.DETACHED: "quiet",
    LegState.SPARE: "quiet",
}

_OF_A_SHELL = frozenset(";|&$`<>(){}*!#\\")
"""What has a meaning there; within quotation marks some of it has none, but who looks so close?"""

_SIGNS = {"good": "●", "warn": "▲", "bad": "■", "quiet": "○"}
"""A shape for each, for whom colours say nothing."""


def tone_of(state: str) -> str:
    """good · warn · bad · quiet."""
    return _TONES.get(state, "quiet")  # type: ignore[call-overload, no-any-return]


def sign_of(state: str) -> str:
    """What stands before the word."""
    return _SIGNS[tone_of(state)]


def health(volumes: Sequence[ShownVolume]) -> tuple[str, str]:
    """One line, as `holdfast status` has it, and its tone."""
    if not volumes:
        return "there is no volume yet", "quiet"
    ill = len({trouble.volume for volume in volumes for trouble in volume.troubles})
    if not ill:
        return "all volumes are well", "good"
    grave = any(trouble.grave for volume in volumes for trouble in volume.troubles)
    words = f"{ill} of {len(volumes)} volumes need{'s' if ill == 1 else ''} attention"
    return words, "bad" if grave else "warn"


def is_command(mend: str) -> bool:
    """Whether what mends it can be typed as it is, by root in a shell: not with a name in it, of a
    file or a process, that a shell would take for something else."""
    if not mend.startswith("holdfast ") or mend.endswith("."):
        return False
    if not mend.isprintable() or _OF_A_SHELL & set(mend):
        return False
    try:
        return bool(shlex.split(mend))
    except ValueError:  # a quotation mark alone
        return False


def ago_text(moment: float, now: float | None = None) -> str:
    """How long ago that was, coarsely: 12 s ago, 3 min ago, 5 h ago, 2 days ago."""
    seconds = max(0.0, (time.time() if now is None else now) - moment)
    for most, unit_seconds, unit in ((90, 1, "s"), (5400, 60, "min"), (129600, 3600, "h")):
        if seconds < most:
            return f"{seconds / unit_seconds:.0f} {unit} ago"
    return f"{seconds / 86400:.0f} days ago"


def span_text(seconds: float) -> str:
    """A time that is kept: 30 s, 10 min, 24 h, 7 days."""
    for most, unit_seconds, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < most:
            return f"{seconds / unit_seconds:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"
