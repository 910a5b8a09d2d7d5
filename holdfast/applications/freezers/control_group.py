"""Freezes processes with the freezer of control groups, version 2.

Nobody can tell: no signal, no stopped job, and debuggers keep working. A group that consists of
the volume's users alone is frozen where it is. Otherwise the users in it are gathered in a group
below it that is frozen from the start, and put back at the thaw: below, so that all limits keep
applying and the group never looks empty to whoever manages it. Groups of threads are refused: the
place of each thread would be lost. Must never freeze a group with a stranger in it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.applications.freezers.protocol import Note, Occasion, Process, State
from holdfast.errors import MissingTool
from holdfast.model.finding import Finding, Verdict
from holdfast.system.processes.process_state import lives, read_state, threads_of
from holdfast.system.resources import cgroup

GROUP_PREFIX = "holdfast-frozen-"

_PASSES = 50
"""A process that forks while it is put back needs another pass; each is a few milliseconds."""


class ControlGroup:
    """The freezer `cgroup`."""

    name = "cgroup"

    def __init__(self, occasion: Occasion) -> None:
        self._group_name = GROUP_PREFIX + occasion.id[:12]
        self._mount = cgroup.unified_mount()

    def can(self, processes: Sequence[Process]) -> list[Finding]:
        """Needs a writable version 2 hierarchy that shows every process, and no threaded group."""
        mount = self._mount
        if mount is None:
            return [_blocks("cgroup", "control groups version 2 are not mounted")]
        if not os.access(mount / "cgroup.procs", os.W_OK):
            return [_blocks("cgroup", f"{mount} is mounted read-only")]
        if not _kernel_can(mount):
            return [_blocks("cgroup", "this kernel cannot freeze groups (Linux 5.2 can)")]
        found = []
        for process in processes:
            place = cgroup.group_of(process.pid)
            if place is None:
                if lives(process.pid, process.start_time):
                    found.append(_blocks(str(process), "is in a control group outside of ours"))
            elif not cgroup.is_domain(self._folder(place)):
                found.append(_blocks(str(process), f"has threads in groups of their own ({place})"))
        return found

    def freeze(self, processes: Sequence[Process], note: Note, wait_seconds: float) -> State:
        """Freeze or gather, then wait for `frozen 1` of every group."""
        if self._mount is None:
            raise _not_mounted()
        state = self._decide(processes)
        note(state)
        deadline = time.monotonic() + wait_seconds
        for entry in state["groups"]:
            group = self._folder(entry["path"])
            if not entry["gathered"]:
                cgroup.request_freeze(group, True)
                continue
            with suppress(FileExistsError):
                group.mkdir()
            cgroup.request_freeze(group, True)
            for pid, start_time, _ in entry["gathered"]:
                self._gather(pid, start_time, group)
        for entry in state["groups"]:
            remaining_seconds = max(0.0, deadline - time.monotonic())
            cgroup.wait_until_frozen(self._folder(entry["path"]), remaining_seconds)
        return state

    def thaw(self, state: State) -> list[str]:
        """Put back who was gathered (with the children they had since), thaw the other groups."""
        failed = []
        for entry in state["groups"]:
            group = self._folder(entry["path"])
            try:
                if entry["gathered"]:
                    self._put_back(group)
                else:
                    cgroup.request_freeze(group, False)
            except OSError as error:
                # Rather in the wrong group than frozen.
                with suppress(OSError):
                    cgroup.request_freeze(group, False)
                failed.append(f"{entry['path']} thawed, but not as it was: {error}")
        return failed

    def frozen(self, state: State) -> bool:
        """Whether every group stands still."""
        return all(cgroup.is_frozen(self._folder(entry["path"])) for entry in state["groups"])

    def awake(self, state: State) -> list[int]:
        """Processes of groups that are not frozen yet which run, or wait inside the kernel."""
        found = []
        for entry in state["groups"]:
            group = self._folder(entry["path"])
            if not cgroup.is_frozen(group):
                everybody = cgroup.members_below(group)
                found += [pid for pid in everybody if _is_at_work(pid)] or everybody
        return found

    def insist(self, state: State) -> list[int]:
        """Freeze groups again that somebody thawed."""
        for entry in state["groups"]:
            group = self._folder(entry["path"])
            if not cgroup.freeze_requested(group):
                with suppress(OSError):
                    cgroup.request_freeze(group, True)
        left = [Process(*each) for each in state["left"]]
        return [
            each.pid
            for each in left
            if lives(each.pid, each.start_time)
            and not self._stands_still(cgroup.group_of(each.pid) or "/")
        ]

    def _decide(self, processes: Sequence[Process]) -> State:
        """Which groups are frozen where they are, and who is gathered."""
        places: dict[str, list[Process]] = {}
        left: list[Process] = []
        for process in processes:
            place = cgroup.group_of(process.pid)
            if place is None or not lives(process.pid, process.start_time):
                continue
            if self._stands_still(place):
                left.append(process)
            else:
                places.setdefault(place, []).append(process)
        pids = {process.pid for process in processes}
        groups: list[dict[str, Any]] = []
        for place, there in sorted(places.items()):
            if place != "/" and pids.issuperset(cgroup.members_below(self._folder(place))):
                groups.append({"path": place, "gathered": []})
            else:
                child = f"{place.rstrip('/')}/{self._group_name}"
                groups.append({"path": child, "gathered": [each.as_json() for each in there]})
        return {
            "processes": [each.as_json() for there in places.values() for each in there],
            "left": [each.as_json() for each in left],
            "groups": groups,
        }

    def _gather(self, pid: int, start_time: int, group: Path) -> None:
        if not lives(pid, start_time) or not cgroup.move(pid, group):
            return
        state = read_state(pid)
        if state is not None and state.start_time != start_time:
            cgroup.move(pid, group.parent)  # the number went to somebody else in between

    def _put_back(self, group: Path) -> None:
        """Move everybody to the group above, where they go on, then remove the empty group."""
        for _ in range(_PASSES):
            there = cgroup.members(group)
            if not there:
                break
            for pid in there:
                cgroup.move(pid, group.parent)
        with suppress(FileNotFoundError):
            group.rmdir()

    def _stands_still(self, place: str) -> bool:
        """Whether this group, or one above it, is frozen already: by us before, or by others."""
        folder, top = self._folder(place), self._folder("/")
        while folder != top:
            if cgroup.freeze_requested(folder):
                return True
            folder = folder.parent
        return False

    def _folder(self, place: str) -> Path:
        if self._mount is None:
            raise _not_mounted()
        return self._mount / place.lstrip("/")


def _not_mounted() -> MissingTool:
    return MissingTool(
        "control groups version 2 are not mounted",
        "Use --by signal. To thaw: mount them, then write 0 to cgroup.freeze of the users' groups.",
    )


def _is_at_work(pid: int) -> bool:
    states = (read_state(pid, thread) for thread in threads_of(pid))
    return any(state is not None and state.state in "RD" for state in states)


def _kernel_can(mount: Path) -> bool:
    """cgroup.freeze exists from Linux 5.2 on, in every group but the root."""
    major, minor = (int(word) for word in os.uname().release.split(".")[:2])
    return (major, minor) >= (5, 2) or any(mount.glob("*/cgroup.freeze"))


def _blocks(subject: str, found: str) -> Finding:
    return Finding(
        subject,
        Verdict.BLOCKS,
        found,
        "The freezer of control groups cannot be used.",
        "Use --by signal.",
    )
