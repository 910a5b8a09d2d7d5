"""What a gate left behind, for whoever comes next: its end is recorded, and who of it still lives.

The shared page outlives its processes. Invariant: an end that nobody could record (all processes
killed at once) is told by exactly one receipt, written by the first command, or the next gate, that
looks. Reads memory and /proc only; never asks the gate or its device.
"""

from __future__ import annotations

import json
import os
import signal
import uuid
from contextlib import suppress
from pathlib import Path
from time import monotonic_ns, time

from holdfast.gate.runtime import shared_page
from holdfast.model.receipt import Receipt, ReceiptStep
from holdfast.system.boot import boot_id
from holdfast.system.files.durable import replace_durably
from holdfast.system.processes.process_state import DEAD, STOPPED, read_state

STRATEGY = "lost"
"""Of the receipt: the gravest of all, applications got errors."""


def living_processes(run_directory: Path) -> list[int]:
    """Which of keeper and worker still live, whatever they answer; none when there is no page."""
    try:
        cells = shared_page.open_page(run_directory)
    except OSError:
        return []
    return _living(cells)


def working_processes(run_directory: Path) -> list[int]:
    """As living_processes, without those that somebody stopped: one of them is enough for the gate
    to go on, some time."""
    states = ((pid, read_state(pid)) for pid in living_processes(run_directory))
    return [pid for pid, state in states if state is not None and state.state != STOPPED]


def lingering_processes(run_directory: Path) -> list[int]:
    """As living_processes, with the standby: it ends when the keeper has, some milliseconds later,
    and not while it is stopped. It has the connection to the kernel until then."""
    try:
        cells = shared_page.open_page(run_directory)
    except OSError:
        return []
    standby, started = shared_page.announced_standby(cells)
    lingers = standby and shared_page.boot_of(cells) == boot_id() and _lives(standby, started)
    return _living(cells) + ([standby] if lingers else [])


def _living(cells: memoryview) -> list[int]:
    if shared_page.boot_of(cells) != boot_id():
        return []
    return _look(cells) or _look(cells)  # one may have started another meanwhile, and died


def _look(cells: memoryview) -> list[int]:
    known = (
        shared_page.announced_keeper(cells),
        (cells[shared_page.KEEPER_PID], cells[shared_page.KEEPER_STARTED]),
        (cells[shared_page.WORKER_PID], cells[shared_page.WORKER_STARTED]),
    )
    return [pid for pid, started in known if pid and _lives(pid, started)]


def _lives(pid: int, started: int) -> bool:
    """0 stands for one that has not said when it began: the number alone must do."""
    state = read_state(pid)
    if state is None or state.state in DEAD or state.exiting:
        return False
    return not started or state.start_time == started


def wake(run_directory: Path) -> list[int]:
    """Let the processes of a gate go on that somebody stopped, and did not continue; their numbers.

    One of the pair alone is mended by the other; nobody mends both. Idempotent.
    """
    woken = []
    for pid in lingering_processes(run_directory):
        state = read_state(pid)
        if state is not None and state.state == STOPPED:
            with suppress(OSError):
                os.kill(pid, signal.SIGCONT)
                woken.append(pid)
    return woken


def record_end(state_directory: Path, run_directory: Path) -> bool:
    """Write the receipt of a gate whose processes all ended without a word; whether there was one.

    Idempotent, and harmless beside another that does it. Raises OSError.
    """
    try:
        cells = shared_page.open_page(run_directory)
    except (OSError, ValueError):
        return False
    began = cells[shared_page.MAGIC_CELL] == shared_page.MAGIC and cells[shared_page.SERVING]
    if not began or cells[shared_page.STOPPED] or cells[shared_page.END_RECORDED] or _living(cells):
        return False
    receipt = _receipt(run_directory.name, cells)
    spool = state_directory / "spool"
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_durably(
        spool / f"{receipt.started:.6f}-{receipt.id}.json", json.dumps(receipt.as_json())
    )
    cells[shared_page.END_RECORDED] = 1
    return True


def abandoned_inode(run_directory: Path) -> int:
    """The inode number of the device file of a gate of which no process lives; 0: it is none.

    It was drawn at random when the gate started, so it tells its device from all others. A gate
    that ended on purpose has left nothing that could wait.
    """
    try:
        cells = shared_page.open_page(run_directory)
    except (OSError, ValueError):
        return 0
    began = cells[shared_page.MAGIC_CELL] == shared_page.MAGIC and cells[shared_page.SERVING]
    if not began or shared_page.boot_of(cells) != boot_id() or _living(cells):
        return 0
    return int(cells[shared_page.GATE_TOKEN])


def _receipt(volume: str, cells: memoryview) -> Receipt:
    here = shared_page.boot_of(cells) == boot_id()
    beat_ns = max(cells[shared_page.KEEPER_BEAT], cells[shared_page.WORKER_BEAT])
    now = time()
    started = now - (monotonic_ns() - beat_ns) / 1e9 if here else now
    counters = shared_page.count(cells)
    pids = (counters.keeper_pid, counters.worker_pid)
    key = f"{shared_page.boot_of(cells)} {volume} {pids} {cells[shared_page.GENERATION]}"
    last = "last sign of life" if here else "the host was started anew since"
    return Receipt(
        id=uuid.uuid5(uuid.NAMESPACE_OID, key).hex[:12],
        volume=volume,
        strategy=STRATEGY,
        cause="keeper and worker were killed at once" if here else "the host went down",
        started=started,
        finished=now,
        outcome="applications got errors (EIO) until the volume is attached again",
        steps=(ReceiptStep(last, started, 0.0, f"processes {pids[0]} and {pids[1]}"),),
        requests_held=counters.in_flight,
        errors_returned=counters.in_flight,
        longest_wait_ms=0.0,
        details={"keeper_pid": pids[0], "worker_pid": pids[1]},
    )
