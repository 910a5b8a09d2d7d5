"""The agent that has a process stopped is killed anywhere: the process goes on, or is finished.

The agent counts what it asks of the kernel about the process, and ends with SIGKILL at a certain
request; so every instant between two of them is met, those between two injected system calls too.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from holdfast.applications.rebind.agent.process_record import ProcessRecord
from holdfast.applications.rebind.agent.tracee import Tracee
from holdfast.model.bounded import typed
from tests.kernel.target.steadfast import Steadfast
from tests.soak import rounds
from tests.waiting import wait_until

AGENT = """
import ctypes, dataclasses, json, os, signal, sys, threading, time
from holdfast.applications.rebind.agent.tracee import Tracee

pid, record, fatal = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
requests = 0

def count(frame, event, argument):
    global requests
    if event == "call" and frame.f_code.co_name in ("_request", "write", "record"):
        requests += 1
        if requests == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

sys.setprofile(count)
target = Tracee.stop(pid, time.monotonic_ns() + 60 * 10**9)
with open(record + ".new", "w") as file:
    json.dump(dataclasses.asdict(target.record()), file)
os.rename(record + ".new", record)
target.set_parked(True)
for number in target.channel().give([os.open(os.devnull, os.O_RDWR) for _ in range(3)]):
    target.call("close", number)
target.release()
print(requests)
"""


def run_agent(pid: int, record: Path, fatal: int) -> subprocess.CompletedProcess[str]:
    """Stop the process, park nothing, let it go; die at that request (0: do not)."""
    record.unlink(missing_ok=True)
    return subprocess.run(
        [sys.executable, "-c", AGENT, str(pid), str(record), str(fatal)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def finish(record: Path) -> bool:
    """What `recover` does with the record; whether the process was waiting for it."""
    if not record.exists():
        return False
    regained = Tracee.regain(typed(ProcessRecord, json.loads(record.read_text())))
    if regained is not None:
        regained.release()
    return regained is not None


def test_killed_at_every_request(
    steadfast_program: Path, ram_directory: Path, record_figure: Callable[[str], None]
) -> None:
    """Nothing crashes, no signal or time-out is lost, nobody waits after the record was used."""
    record = ram_directory / "record"
    with Steadfast((str(steadfast_program),), ram_directory) as program:
        before = program.condition()
        whole = run_agent(program.pid, record, 0)
        assert whole.returncode == 0, whole.stderr
        total = int(whole.stdout)
        points = list(range(1, total - 4))  # a run has a few more or fewer
        kills = rounds(24, max(total, 600))
        if kills < total:
            points = random.sample(points, kills)
        points += random.choices(points, k=max(0, kills - len(points)))
        waited = 0
        for point in points:
            result = run_agent(program.pid, record, point)
            assert result.returncode == -signal.SIGKILL, (point, result.stdout, result.stderr)
            program.is_well()
            waited += finish(record)
            program.goes_on()
        record_figure(f"{len(points)} kills at {total} requests, {waited} found waiting")

        def is_as_before() -> bool:
            """What a signal handler might have come back to is removed by a later stop only."""
            Tracee.stop(program.pid, 0).release()
            program.goes_on()
            return program.condition() == before

        wait_until(is_as_before, f"{before} became {program.condition()}")
