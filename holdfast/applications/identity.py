"""What a process belongs to: systemd unit, control group, container. Names for people.

Reads /proc/PID/cgroup only, in its own line format and not through any manager's interface, so it
works without systemd and for containers of any runtime. Must never decide anything: whoever is
named wrongly is still treated rightly.
"""

from __future__ import annotations

import os
import re

from holdfast.model.handle import Application
from holdfast.system.proc import read_record
from holdfast.system.proc_text import parse_control_groups

_UNIT = re.compile(r".+\.(service|scope|socket|mount|swap)")

_CONTAINERS = (
    (re.compile(r"docker[-/]([0-9a-f]{64})"), "docker"),
    (re.compile(r"libpod-(?:conmon-)?([0-9a-f]{64})"), "podman"),
    (re.compile(r"cri-containerd-([0-9a-f]{64})"), "containerd"),
    (re.compile(r"crio-(?:conmon-)?([0-9a-f]{64})"), "cri-o"),
    (re.compile(r"kubepods.*/([0-9a-f]{64})"), "containerd"),
    (re.compile(r"nerdctl[-/]([0-9a-f]{64})"), "containerd"),
    (re.compile(r"lxc\.payload[./]([^/]+)"), "lxc"),
    (re.compile(r"/lxc/([^/]+)"), "lxc"),
    (re.compile(r"machine-([^/]+)\.scope"), "machine"),
    (re.compile(r"systemd-nspawn@([^/]+)\.service"), "nspawn"),
)
"""How the runtimes name their control groups (cgroupfs and systemd drivers)."""

_SHORT_ID = 12
"""As docker and podman print ids."""


def application_of(pid: int, command: str) -> Application:
    """The application that a process is part of. Raises OSError when it has ended."""
    return application_in(control_groups_of(pid), command)


def control_groups_of(pid: int) -> str:
    """The text of /proc/PID/cgroup. Raises OSError when the process has ended."""
    return os.fsdecode(read_record(f"/proc/{pid}/cgroup"))


def application_in(text: str, command: str) -> Application:
    """The application that a text of /proc/PID/cgroup (cgroups(7)) tells of. Pure."""
    group = _group(text)
    container, wrapper = _container(text)
    unit = next((part for part in reversed(group.split("/")) if _UNIT.fullmatch(part)), "")
    if wrapper and wrapper in unit:
        unit = ""  # the scope that the runtime made around the container
    last = group.rstrip("/").rpartition("/")[2]
    name = unit or container or last or command.split(" ", 1)[0].rpartition("/")[2]
    return Application(name=name, unit=unit, cgroup=group, container=container)


def _group(text: str) -> str:
    """The control group: of the unified hierarchy, else of systemd's own, else of any."""
    groups = {}
    for number, controllers, path in parse_control_groups(os.fsencode(text)):
        groups["" if number == "0" else controllers] = path
    for path in (groups.get("", "/"), groups.get("name=systemd", "/"), *groups.values()):
        if path != "/":
            return path
    return "/"


def _container(text: str) -> tuple[str, str]:
    """Runtime and short id, and the id as it stands in the control group's name."""
    for pattern, runtime in _CONTAINERS:
        match = pattern.search(text)
        if match is not None:
            name = match[1]
            whole = re.fullmatch("[0-9a-f]{64}", name)
            return f"{runtime}:{name[:_SHORT_ID] if whole else name}", name
    return "", ""
