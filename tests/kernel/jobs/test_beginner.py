"""Whoever begins a job is killed or interrupted: nobody stands still, nobody waits for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast import Holdfast, Settings
from tests.kernel.restoration.bench import application, is_settled, make_image, mounted
from tests.waiting import wait_until

END_SECONDS = 60.0

BEGINS = """
import os, sys, time
from holdfast import Job, MigrateRequest, Said
job = Job(MigrateRequest("data", (sys.argv[1],), filesystem="btrfs"))
print(job.pid, flush=True)
"""
READS_NOTHING = f"{BEGINS}\nsys.stdin.read()"
WAITS = f"""{BEGINS}
try:
    with job:
        for event in job:
            if isinstance(event, Said):
                print(event.words, flush=True)
except KeyboardInterrupt:
    pass
print(job.end, flush=True)
"""
LIVES_THERE = f"{BEGINS}\njob.result()"


@pytest.fixture
def path(settings: Settings, ram_directory: Path) -> Iterator[Path]:
    """An adopted volume `data`."""
    image = make_image(ram_directory / "1.img", size_bytes=64 << 20)
    with mounted(image, ram_directory / "mnt") as path:
        with Holdfast(settings) as holdfast:
            holdfast.adopt_volume("data", str(path))
        yield path


@contextmanager
def beginner(program: str, url: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """One who begins a job, in this folder and in a process group of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def test_a_job_goes_on_when_its_beginner_is_killed(
    settings: Settings, path: Path, ram_directory: Path
) -> None:
    with application(path, ram_directory / "record") as running:
        with (
            beginner(READS_NOTHING, f"file:{ram_directory}/2.img", ram_directory) as killed,
            Holdfast(settings) as holdfast,
        ):
            assert killed.stdout is not None
            killed.stdout.readline()
            wait_until(lambda: holdfast.restorations.in_progress("data") is not None)
            killed.kill()
            wait_until(lambda: holdfast.restorations.in_progress("data") is None)
            (receipt,) = holdfast.receipts("data")
            assert (receipt.strategy, receipt.outcome) == ("migrate", "done")
            assert holdfast.show_volume("data").filesystem == "btrfs"
        assert is_settled(running.pid)
        running.wait_for_more()
        running.verify()


def test_a_terminals_ctrl_c_is_told_once(
    settings: Settings, path: Path, ram_directory: Path
) -> None:
    with application(path, ram_directory / "record") as running:
        with beginner(WAITS, f"file:{ram_directory}/2.img", ram_directory) as waiting:
            assert waiting.stdout is not None
            waiting.stdout.readline()
            assert waiting.stdout.readline() == "prepare the container\n"
            os.killpg(waiting.pid, signal.SIGINT)  # as a terminal does
            told, _ = waiting.communicate(timeout=END_SECONDS)
        assert told.endswith("Interrupted(signal=15)\n")
        with Holdfast(settings) as holdfast:
            assert holdfast.show_volume("data").filesystem == "ext4"
            assert holdfast.recover() == []
        assert not (ram_directory / "2.img").exists()
        running.wait_for_more()
        running.verify()


def test_whoever_begins_a_job_must_not_use_the_volume(
    settings: Settings, path: Path, ram_directory: Path
) -> None:
    """As the shell of a command: who is stopped cannot hear what becomes of it."""
    with beginner(LIVES_THERE, f"file:{ram_directory}/2.img", path) as living:
        _, complaint = living.communicate(timeout=END_SECONDS)
        assert living.returncode == 1
    assert f"Blocked: data was not touched: python (process {living.pid})" in complaint
    with Holdfast(settings) as holdfast:
        assert holdfast.show_volume("data").filesystem == "ext4"
        assert holdfast.receipts("data") == []
