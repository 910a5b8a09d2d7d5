"""What is wrong with a volume, and the command that mends it: from its report alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.late_dataclass import dataclass
from holdfast.model.volume import GateReport, LegReport, LegState, VolumeReport, VolumeState


@dataclass(frozen=True)
class Trouble:
    """One thing that keeps a volume from being as it should be."""

    volume: str
    words: str
    mend: str
    """What to do; empty where it mends itself."""
    about: str = "state"
    """What of the volume it is about: stays while the words change, as a percentage does."""
    grave: bool = True
    """Something fails already; else it soon may: who was told that is told of this, too."""


def troubles_of(report: VolumeReport) -> tuple[Trouble, ...]:
    """Everything that is wrong with a volume, gravest first; empty when nothing is.

    A volume that was detached on purpose is as it should be, one whose processes are frozen not.
    """
    return tuple(_troubles(report))


def _troubles(report: VolumeReport) -> Iterator[Trouble]:
    name = report.name
    if report.frozen_until is not None:
        yield Trouble(name, "its processes are frozen", f"holdfast thaw {name}", "freeze")
    if report.reason:
        yield Trouble(name, report.reason, report.mend)
    elif report.wanted and report.state is VolumeState.DETACHED:
        mend = f"holdfast volume attach {name}"
        yield Trouble(name, "it is detached, and nobody detached it", mend)
    elif report.gate is not None and report.gate.held:
        yield Trouble(name, *_hold(report, report.gate))
    if words := _history(report.gate):
        yield Trouble(name, words, f"See holdfast history {name}; --off ends it.", "history")
    if report.state in (VolumeState.HEALTHY, VolumeState.DETACHED):
        return
    for leg in report.legs:
        if leg.state not in (LegState.IN_SYNC, LegState.SPARE) or leg.reason:
            yield Trouble(name, *_leg(name, leg), f"leg {leg.number}")


def _hold(report: VolumeReport, gate: GateReport) -> tuple[str, str]:
    if gate.held_on_purpose:
        words = f"its requests wait, on purpose: {gate.hold_reason}"
        return words, f"holdfast volume release {report.name}"
    what = "fail" if report.state is VolumeState.FAILED else "wait"
    mend = f"Bring the storage of a leg back; holdfast volume show {report.name} names them."
    if gate.journal.get("mode") == "continuous":
        mend += f" Where none will come back: holdfast copy promote {report.name}."
    return f"its requests {what}: {gate.hold_reason}", mend


def _history(gate: GateReport | None) -> str:
    """Why writes are not kept that should be; empty: they are, or nobody asked for it."""
    if gate is None or gate.journal.get("mode") != "continuous":
        return ""
    if gate.journal.get("history_state") == "written":
        return ""
    what = "its flushes wait" if gate.journal.get("history_holds") else "it goes on without"
    reason = gate.journal.get("history_reason") or "it could not be opened"
    if gate.journal.get("history_state") == "behind":
        return f"flushes do not wait for its history: {reason}"
    return f"its history cannot be written, {what}: {reason}"


def _leg(name: str, leg: LegReport) -> tuple[str, str]:
    which = f"leg {leg.number} ({leg.url})"
    if leg.state is LegState.RESYNCING:
        return f"{which} is brought up to date: {leg.resync_percent or 0:.1f} %", ""
    words = f"{which} is {leg.state}"
    return (
        f"{words}: {leg.reason}" if leg.reason else words,
        f"Bring its storage back, or: holdfast leg replace {name} {leg.number} URL",
    )
