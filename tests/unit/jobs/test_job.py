"""A job is a process of its own with exactly one end, whatever becomes of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import HoldfastError, JobDied, JobInterrupted
from holdfast.jobs import Died, Failed, Interrupted, Job
from holdfast.service import MigrateRequest
from tests.waiting import wait_until

REQUEST = MigrateRequest("nobody", ("file:/nowhere.img",))
END_SECONDS = 60.0
EXPECTED = "NOVOLUME" if os.geteuid() == 0 else "RIGHTS"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def test_a_refusal_is_the_same_as_in_ones_own_process(settings: Settings) -> None:
    with Job(REQUEST, settings) as job:
        assert list(job) == []
        with pytest.raises(HoldfastError) as refused:
            job.result()
    assert refused.value.code == EXPECTED
    assert isinstance(job.end, Failed)
    assert job.end.message == str(refused.value)
    wait_until(lambda: not Path(f"/proc/{job.pid}/exe").exists())


def test_interrupted_before_it_has_begun(settings: Settings) -> None:
    job = Job(REQUEST, settings)
    job.interrupt()
    assert job.wait() == Interrupted(signal.SIGTERM)
    with pytest.raises(JobInterrupted, match="SIGTERM"):
        job.result()
    job.interrupt()  # nobody is there any more
    job.close()


def test_leaving_it_ends_it(settings: Settings) -> None:
    with Job(REQUEST, settings) as job:
        pass
    assert job.end == Interrupted(signal.SIGTERM)


def test_killed_before_it_has_begun(settings: Settings) -> None:
    job = Job(REQUEST, settings)
    os.kill(job.pid, signal.SIGKILL)
    assert list(job) == []
    assert job.end == Died(signal.SIGKILL)
    with pytest.raises(JobDied, match="SIGKILL") as lost:
        job.result()
    assert "holdfast recover" in lost.value.mend


def test_one_may_wait_for_so_long_only(settings: Settings) -> None:
    job = Job(REQUEST, settings)
    os.kill(job.pid, signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        job.next_event(timeout_seconds=0.01)
    assert job.end is None
    os.kill(job.pid, signal.SIGCONT)
    assert isinstance(job.wait(), Failed)


def test_another_thread_may_interrupt(settings: Settings) -> None:
    job = Job(REQUEST, settings)
    os.kill(job.pid, signal.SIGSTOP)
    threading.Timer(0.05, lambda: (job.interrupt(), os.kill(job.pid, signal.SIGCONT))).start()
    assert job.wait() == Interrupted(signal.SIGTERM)


def test_what_a_strangers_folder_holds_is_not_run(settings: Settings, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    (trap / "holdfast").mkdir(parents=True)
    for name in ("json.py", "holdfast/__init__.py"):
        (trap / name).write_text("raise SystemExit(99)\n")
    before = Path.cwd()
    os.chdir(trap)
    try:
        with Job(REQUEST, settings) as job:
            assert isinstance(job.wait(), Failed)
    finally:
        os.chdir(before)


def test_signals_that_the_beginner_ignores_or_blocks_are_heard(tmp_path: Path) -> None:
    """As under nohup, or in a daemon whose threads block them."""
    program = f"""
import signal
from pathlib import Path
from holdfast import Job, MigrateRequest, Settings
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
job = Job(MigrateRequest("x", ("file:/x",)), Settings(home=Path({str(tmp_path)!r})))
job.interrupt()
print(job.wait())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout == "Interrupted(signal=15)\n"


def test_a_request_of_another_version_is_refused_in_words() -> None:
    with begun() as (process, ours):
        ours.sendall(b'{"form": 2, "operation": "migrate", "request": {}, "settings": {}}\n')
        with ours.makefile("rb") as file:
            (answer,) = file.readlines()
        assert process.wait(END_SECONDS) == 0
    assert b'"code": "OPTION"' in answer and b"this version knows 1" in answer


@pytest.mark.parametrize("said", [b"", b'{"form": 1, "operation": "recover", '])
def test_a_beginner_that_dies_before_it_has_asked_leaves_nobody(said: bytes) -> None:
    with begun() as (process, ours):
        ours.sendall(said)
        ours.close()
        assert process.wait(END_SECONDS) == 0


@contextmanager
def begun() -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """The process of a job that has not been asked for anything, and its beginner's side."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "holdfast.jobs", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()
        yield process, ours
