"""What this host can and cannot do for Holdfast, measured, with the mend.

Owns the list of examinations. Each one looks at the real thing (opens the device, tries the loop
device, writes with O_DIRECT) and gives findings. Must never change the host: what an examination
makes it removes again, and it never touches a managed volume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from holdfast.config import Settings
from holdfast.model.finding import Finding, Verdict
from holdfast.model.volume import Volume
from holdfast.service.doctor import (
    clock,
    disks,
    gates,
    kernel,
    loop,
    moving,
    parked,
    place,
    processes,
    telling,
    tools,
)

Examination = Callable[[], Iterable[Finding]]


def examine(settings: Settings, volumes: Iterable[Volume] = ()) -> list[Finding]:
    """Every finding about this host, the needed ones first; takes well under a second.

    An examination that fails itself is a finding too, never an exception.
    """
    known = tuple(volumes)
    examinations: dict[str, Examination] = {
        "rights": processes.rights,
        "FUSE device": kernel.fuse_device,
        "takeover": kernel.takeover,
        "newcomers": kernel.newcomers,
        "loop devices": lambda: loop.loop_devices(settings.state_directory),
        "programs": tools.programs,
        "file systems": tools.file_systems,
        "state directory": lambda: place.state_directory(settings),
        "memory lock": processes.memory_lock,
        "memory limit": processes.memory_limit,
        "fast path": processes.fast_path,
        "control groups": processes.control_groups,
        "moving handles": moving.machine,
        "tracing": moving.tracing,
        "kcmp": moving.comparison,
        "user namespaces": moving.user_namespaces,
        "freezer": moving.freezer,
        "hung-task watchdog": lambda: kernel.hung_task_watchdog(known),
        "clock": clock.clock,
        "gates": lambda: gates.abandoned(settings),
        "parked handles": parked.parked,
        "alerts": lambda: telling.telling(settings),
        "SMART": disks.smart,
        "later storage kinds": kernel.later_storage_kinds,
    }
    findings: list[Finding] = []
    for subject, examination in examinations.items():
        try:
            findings.extend(examination())
        except Exception as error:
            findings.append(
                Finding(
                    subject,
                    Verdict.LIMITED,
                    f"could not be examined: {type(error).__name__}: {error}",
                    "Nothing is known about it.",
                )
            )
    return findings


def is_sufficient(findings: Iterable[Finding]) -> bool:
    """Whether Holdfast works here at all: nothing that it needs is missing."""
    return all(finding.verdict is not Verdict.MISSING for finding in findings)
