"""A host that is switched on and off: systemd as process 1 of namespaces of its own, on the kernel
of the host that tests."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from holdfast.system.mounts.mount_table import mounts
from tests.package.conftest import ENVIRONMENT
from tests.waiting import wait_until

NAMESPACES = ("--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net")

MASKED = (
    # What would reach for things of the host that tests: its terminals, its device nodes.
    *("getty.target", "console-getty.service", "systemd-tmpfiles-setup-dev.service"),
    "timers.target",  # apt-daily
)

SWITCH_ON = r"""
set -e
echo $$ >"$1/cgroup.procs"
exec unshare --propagation private --fork --kill-child "${@:3}" bash -c '
set -e
cd "$1"
mount --bind . .
cd .
mkdir -p opt/old
mount -t proc proc proc
for place in proc/sys proc/sysrq-trigger; do
    [ ! -e $place ] || { mount --bind $place $place; mount -o remount,bind,ro $place; }
done
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 none sys/fs/cgroup
mount --rbind /dev dev
mount --bind /dev/null dev/console
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
pivot_root . opt/old
cd /
umount --lazy /opt/old
exec setpriv --bounding-set -sys_module,-sys_time env -i container=holdfast-test \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --show-status=no $2
' - "$2" "$MASKED"
"""


class Machine:
    """A root directory that can be booted, again and again; off to begin with."""

    def __init__(self, root: Path) -> None:
        self._root = root
        place = next(each.path for each in mounts() if each.filesystem == "cgroup2")
        self._group = Path(place) / f"holdfast-test-machine-{os.getpid()}"
        self._power: subprocess.Popen[str] | None = None
        self._init = 0

    def boot(self) -> str:
        """Switch it on; what systemd says once it is up: `running`, or `degraded`."""
        self._group.mkdir()
        self._power = power = subprocess.Popen(
            ["bash", "-c", SWITCH_ON, "-", self._group, self._root, *NAMESPACES],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "MASKED": " ".join(f"systemd.mask={each}" for each in MASKED)},
        )
        children = Path(f"/proc/{power.pid}/task/{power.pid}/children")
        state = ""

        def is_up() -> bool:
            nonlocal state
            assert power.poll() is None, power.communicate()[0]
            self._init = int(children.read_text() or 0)
            if self._init:
                state = self.run("systemctl", "is-system-running", status=None).strip()
            return state in ("running", "degraded")

        wait_until(is_up, timeout_seconds=120.0)
        return state

    def run(self, *command: str, status: int | None = 0) -> str:
        """Run a command in there; what it said on both."""
        inside = [f"--{each[2:]}" for each in NAMESPACES]
        done = subprocess.run(
            ["nsenter", f"--target={self._init}", *inside, *command],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert status is None or done.returncode == status, f"{command}\n{done.stdout}"
        return done.stdout

    def power_off(self) -> None:
        """As somebody at its keyboard; returns when it is off."""
        self.run("systemctl", "poweroff", status=None)
        self._is_off()

    def cut(self) -> None:
        """All of its processes die at once. What they wrote to files is in the host's memory."""
        os.kill(self._init, signal.SIGKILL)
        self._is_off()

    def close(self) -> None:
        """Switch it off, if it is on."""
        if self._power is not None:
            self.cut()

    def _is_off(self) -> None:
        assert self._power is not None
        self._power.communicate(timeout=120.0)
        self._power = None
        groups = sorted(self._group.rglob("*/"), reverse=True)
        for each in (*(group for group in groups if group.is_dir()), self._group):
            wait_until(lambda gone=each: _removed(gone))


def _removed(group: Path) -> bool:
    """Whether it is gone; a process at its very end may still be in there."""
    try:
        group.rmdir()
    except OSError:
        return False
    return True
