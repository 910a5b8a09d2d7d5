"""Who is frozen, and by what: decided before anybody is touched.

Pure but for what it is given to ask (a freezer's `can`, a protection's `reason`). Must never choose
a way that cannot be undone exactly, nor anybody whose standstill would stop the volume itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.applications.freezers.protocol import Freezer, Process
from holdfast.applications.freezers.servers import Protection
from holdfast.errors import CannotFreeze, InvalidOption
from holdfast.late_dataclass import dataclass
from holdfast.model.finding import Finding, Verdict
from holdfast.model.handle import User

PREFERRED = {"gated": ("hold",), "adopted": ("cgroup", "signal")}
"""By kind of volume, the best first. A gate withholds requests without touching anybody; where
there is none, the control group is the way that nobody notices."""


@dataclass(frozen=True)
class FreezePlan:
    """What a freeze would do."""

    volume: str
    freezer: str
    processes: tuple[Process, ...]
    findings: tuple[Finding, ...] = ()
    """Who is left out, and why; and the limits of the chosen way."""


def plan_freeze(
    volume: str,
    kind: str,
    users: Sequence[User],
    protection: Protection,
    freezers: Mapping[str, Freezer],
    wanted: str | None = None,
) -> FreezePlan:
    """Whom to freeze and how. Changes nothing.

    Raises InvalidOption (no such way), CannotFreeze (nobody is left, or no way is possible).
    """
    if wanted is not None and wanted not in freezers:
        raise InvalidOption(f"{wanted!r} is no way to freeze", f"Use {', '.join(freezers)}.")
    processes: list[Process] = []
    findings: list[Finding] = []
    for user in users:
        process = Process(user.pid, user.start_time, user.name)
        reason = protection.reason(user.pid)
        if reason:
            findings.append(Finding(str(process), Verdict.LIMITED, reason, "It is left running."))
        else:
            processes.append(process)
    names = (wanted,) if wanted is not None else PREFERRED[kind]
    against: list[Finding] = []
    for name in names:
        found = freezers[name].can(processes)
        against = [finding for finding in found if finding.verdict is Verdict.BLOCKS]
        if against:
            continue
        if not processes and name != "hold":
            raise _nobody(volume, findings)
        return FreezePlan(volume, name, tuple(processes), tuple(findings + found))
    raise CannotFreeze(
        f"{volume} cannot be frozen by {names[-1]}: "
        + "; ".join(f"{each.subject} {each.found}" for each in against),
        against[0].mend or "Choose another way with --by.",
    )


def _nobody(volume: str, findings: Sequence[Finding]) -> CannotFreeze:
    if findings:
        return CannotFreeze(
            f"nobody who uses {volume} may be frozen: "
            + "; ".join(f"{each.subject} {each.found}" for each in findings),
            "Run the command from another shell, outside of the volume.",
        )
    return CannotFreeze(
        f"no process uses {volume}: there is nobody to freeze",
        "Processes that have files open there are listed by holdfast users.",
    )
