"""Freezing the processes that use a volume: one file per way, one Protocol, one registry.

`begin` and `end` (freezing.py) are what others call; a watchdog process does the work, so that
whoever asked for it may die. A freeze never outlives its deadline.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.applications.freezers.control_group import ControlGroup
from holdfast.applications.freezers.hold import GateHold
from holdfast.applications.freezers.page_out import PageOut
from holdfast.applications.freezers.priority import Priority
from holdfast.applications.freezers.protocol import Freezer, Occasion, Process, State
from holdfast.applications.freezers.signals import Signal

__all__ = ["FREEZERS", "Freezer", "Occasion", "Process", "State"]


def _page_out(occasion: Occasion) -> Freezer:
    return PageOut((ControlGroup(occasion), Signal(occasion)))


FREEZERS: dict[str, Callable[[Occasion], Freezer]] = {
    "hold": GateHold,
    "cgroup": ControlGroup,
    "signal": Signal,
    "priority": Priority,
    "page-out": _page_out,
}
"""Every way to freeze, by the name that is typed."""
