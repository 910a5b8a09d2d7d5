"""What keeper and worker of one gate hand to each other when one of them dies."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

DEVICE_FILE = "device"
"""In the run directory: the regular file on which the gate's file system is mounted."""

SOCKET_FILE = "control"
"""In the run directory: the control socket."""


@dataclass(frozen=True)
class Post:
    """Directories, the shared page, the kernel connection and the listening socket."""

    state_directory: Path
    run_directory: Path
    cells: memoryview
    connection: int
    listener: socket.socket
    keeper_pid: int = 0
    predecessor_pid: int = 0
    """The worker before, 0 for the first one."""
    force: bool = False
    """Start from what is there although a newer leg may be away."""
