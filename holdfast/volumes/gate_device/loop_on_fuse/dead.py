"""Whether the device file of a gate is dead, asked of the file itself.

Dead means: it answers that its server is gone. What does not answer at all may still live.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from holdfast.errors import DeadlinePassed, GateGone
from holdfast.system.children.expendable import in_expendable_child

_PROBE_SECONDS = 3.0
_SERVER_GONE = (errno.ENOTCONN, errno.ESHUTDOWN, errno.ECONNABORTED, errno.EIO)


def check_dead(device_file: Path, name: str) -> None:
    """Raise GateGone unless its server is gone. Blocks three seconds at most."""

    def answers() -> bool:
        try:
            os.close(os.open(device_file, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            if error.errno in _SERVER_GONE:
                return False
            raise
        return True

    try:
        alive = in_expendable_child(answers, _PROBE_SECONDS, str(device_file))
    except DeadlinePassed:
        alive = True
    if alive:
        raise GateGone(
            f"nobody answers for the gate of {name}, yet its connection is still open",
            "A process of it is stopped or about to end: look for it (fuser -v /dev/fuse).",
        )
