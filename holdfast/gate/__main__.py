"""The processes of a gate.

    python -m holdfast.gate start STATE_DIRECTORY RUN_DIRECTORY READY_FD [--force]
    python -m holdfast.gate resume STATE_DIRECTORY RUN_DIRECTORY CONNECTION LISTENER CHANNEL PID FDS

Started by launch and by restoring, not by people.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from holdfast.gate.keeper import main, resume


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


if __name__ == "__main__":
    verb, state, run, *rest = sys.argv[1:]
    if verb == "start":
        if os.fork():
            os._exit(0)  # the gate belongs to nobody: the command that asked for it may end
        main(Path(state), Path(run), int(rest[0]), force="--force" in rest)
    else:
        connection, listener, channel, worker_pid = (int(value) for value in rest[:4])
        closing = [int(value) for value in rest[4].split(",") if value]
        threading.Thread(target=_close, args=(closing,), daemon=True).start()
        for descriptor in (connection, listener, channel):
            os.set_inheritable(descriptor, False)
        resume(Path(state), Path(run), connection, listener, channel, worker_pid)
