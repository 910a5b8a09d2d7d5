"""The processes of a gate.

    python -m holdfast.gate start STATE_DIRECTORY RUN_DIRECTORY ASKER_FD [--force]
    python -m holdfast.gate resume STATE_DIRECTORY RUN_DIRECTORY CONNECTION LISTENER CHANNEL PAGE
                                   PID FDS

Started by launch and by restoring, not by people.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.gate.outside.launch import LOG_FILE
from holdfast.gate.processes.asker import Asker
from holdfast.gate.processes.channel import make_channel
from holdfast.gate.processes.handover import Handover, clean_up, close_front, prepare_gate
from holdfast.gate.processes.keeper import Keeper, serve
from holdfast.gate.runtime import shared_page
from holdfast.system.messages import logs
from holdfast.system.processes.process import close_quietly, keep_descriptors, watch_leader


def start(state_directory: Path, run_directory: Path, asker: int, *, force: bool) -> None:
    """Life of the first keeper: set everything up, start the worker, watch it."""
    _say_where(state_directory)
    handover = None
    if Asker(asker).has_left():  # whoever comes next may start another gate there
        return
    try:
        handover = prepare_gate(state_directory, run_directory, force=force)
        keeper = Keeper(handover, make_channel()[0])
        keeper.start_worker(asker)
    except (HoldfastError, OSError) as error:
        answer = {"code": "IO", "message": str(error), "mend": ""}
        if isinstance(error, HoldfastError):
            answer = {"code": error.code, "message": error.message, "mend": error.mend}
        if handover is not None:
            close_front(handover)
            clean_up(handover)
        Asker(asker).answer(answer)
        return
    serve(keeper)


def resume(
    state_directory: Path,
    run_directory: Path,
    connection: int,
    listener: int,
    channel: int,
    page: int,
    worker_pid: int,
) -> None:
    """Life of a keeper that a worker started because the one before died."""
    _say_where(state_directory)
    cells = shared_page.map_page(page)
    cells[shared_page.KEEPER_GENERATION] += 1
    listening = socket.socket(fileno=listener)
    listening.setblocking(False)
    handover = Handover(state_directory, run_directory, cells, page, connection, listening)
    end = socket.socket(fileno=channel)
    end.setblocking(False)
    watch = watch_leader(worker_pid) if os.getppid() == worker_pid else None
    serve(Keeper(handover, end, worker_pid, watch))


def _say_where(state_directory: Path) -> None:
    """Set up the log: not by standard error, which leads to a file of any length."""
    logs.set_up("keeper", state_directory.name, logs.into_file(state_directory / LOG_FILE))


if __name__ == "__main__":
    verb, state, run, *rest = sys.argv[1:]
    if verb == "start":
        if os.fork():
            os._exit(0)  # the gate belongs to nobody: the command that asked for it may end
        start(Path(state), Path(run), int(rest[0]), force="--force" in rest)
    else:
        handed = [int(value) for value in rest[:4]]
        # Each on a thread of its own: one that hangs must not keep others, and their locks, open.
        for descriptor in (int(value) for value in rest[5].split(",") if value):
            threading.Thread(target=close_quietly, args=(descriptor,), daemon=True).start()
        # Also that of the mount namespace, which no argument names: it is for this process alone.
        keep_descriptors()
        connection, listener, channel, page = handed
        resume(Path(state), Path(run), connection, listener, channel, page, int(rest[4]))
