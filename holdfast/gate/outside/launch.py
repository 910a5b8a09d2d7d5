"""Starting a gate, and knowing whether one runs."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from holdfast.error_codes import by_code
from holdfast.errors import DeadlinePassed, GateGone, HoldfastError, StorageFailed
from holdfast.gate.outside.client import GateClient
from holdfast.gate.processes.remains import abandoned_inode, lingering_processes
from holdfast.gate.runtime.shared_page import SERVING, open_page
from holdfast.system.processes.process import has_ended, watch_process
from holdfast.system.resources.own_group import remove_group

__all__ = ["gate_is_running", "start_gate", "stop_gate"]

START_SECONDS = 120.0
"""Opening legs takes at most the hang time-out; replaying a journal can take longer."""

LOG_FILE = "gate.log"

_UNWANTED_SECONDS = 5.0
"""A gate that nobody waits for sees it within 50 ms (a round of its main thread). On a busy host
its interpreter may still be starting."""

_POLL_SECONDS = 0.01


def start_gate(
    state_directory: Path,
    run_directory: Path,
    *,
    force: bool = False,
    seconds: float = START_SECONDS,
) -> None:
    """Start the gate's processes, detached; its device serves requests when this returns.

    Idempotent: does nothing when the gate runs already. Raises the coded error for which the gate
    will not start (NoSource, MissingFuse …), StorageFailed when it dies without a word,
    DeadlinePassed when it does not serve within `seconds`; whatever is raised, nothing of it is
    left then but a thread that hangs in the kernel. The caller has the turn on the volume.
    """
    if gate_is_running(run_directory):
        return
    _let_unwanted_end(run_directory)
    run_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    ours, theirs = socket.socketpair()
    with ours:
        try:
            with theirs:
                _begin(state_directory, run_directory, theirs.fileno(), force=force)
            answer = _read_answer(ours, seconds)
        except BaseException:
            _call_off(ours, run_directory)
            raise
    if "ok" not in answer:
        error = by_code(answer["code"]) or StorageFailed
        raise error(answer["message"], answer["mend"])


def _begin(state_directory: Path, run_directory: Path, asker: int, *, force: bool) -> None:
    with open(state_directory / LOG_FILE, "ab") as log:
        arguments = [sys.executable, "-m", "holdfast.gate", "start"]
        arguments += [str(state_directory), str(run_directory), str(asker)]
        process = subprocess.Popen(
            arguments + (["--force"] if force else []),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            pass_fds=(asker,),
        )
    process.wait()  # it forks at once and leaves


def _call_off(ours: socket.socket, run_directory: Path) -> None:
    """Let a gate end that was to start; stop it if it serves by now. Blocks some seconds at most,
    or as long as stopping takes."""
    data = b""
    with suppress(OSError):  # TimeoutError: a thread of it hangs, and has this open
        ours.shutdown(socket.SHUT_WR)
        ours.settimeout(_UNWANTED_SECONDS)
        while more := ours.recv(1 << 16):
            data += more
    if b'"ok"' in data:
        with suppress(HoldfastError):
            stop_gate(run_directory)
    _let_unwanted_end(run_directory)


def _let_unwanted_end(run_directory: Path) -> None:
    """Wait until a gate has ended that does not serve, and that nobody waits for: it ends by
    itself. Blocks some seconds at most."""
    deadline = monotonic() + _UNWANTED_SECONDS
    with suppress(OSError):
        cells = open_page(run_directory)
        while not cells[SERVING] and lingering_processes(run_directory):
            if monotonic() > deadline:
                return
            sleep(_POLL_SECONDS)


def _read_answer(ours: socket.socket, seconds: float) -> dict[str, str]:
    deadline = monotonic() + seconds
    data = b""
    poller = select.poll()
    poller.register(ours, select.POLLIN)
    while monotonic() < deadline:
        if not poller.poll(int((deadline - monotonic()) * 1000) + 1):
            break
        more = ours.recv(1 << 16)
        if not more:
            if data:
                return dict(json.loads(data))
            raise StorageFailed("the gate ended while it started", f"See {LOG_FILE}.")
        data += more
    raise DeadlinePassed("the gate did not start in time", f"See {LOG_FILE} in its state folder.")


def gate_is_running(run_directory: Path) -> bool:
    """Whether a gate answers at this run directory, or one lives that is busy."""
    if abandoned_inode(run_directory):
        return False  # what answers nobody may still have the socket open
    try:
        GateClient(run_directory, timeout_seconds=10.0).show()
    except GateGone:
        return False
    except HoldfastError:
        return True
    return True


def stop_gate(run_directory: Path, timeout_seconds: float = 30.0) -> bool:
    """Stop a gate whose device is unused, and wait until its processes have ended.

    False when none runs. Raises InUse, DeadlinePassed.
    """
    try:
        answer = GateClient(run_directory).stop()
    except GateGone:
        return False
    deadline = monotonic() + timeout_seconds
    for pid in (answer["worker_pid"], answer["keeper_pid"]):
        watch = watch_process(pid)
        if watch is None:
            continue
        try:
            if not has_ended(watch, max(0.0, deadline - monotonic())):
                raise DeadlinePassed(
                    "the gate does not end: a thread of it hangs inside storage",
                    "It ends by itself when the storage answers.",
                )
        finally:
            os.close(watch)
    remove_group(run_directory.name)
    return True
