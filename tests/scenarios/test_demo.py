"""The demo holds what it promises, and leaves nothing behind however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from holdfast.demo.dismantle import leftovers
from holdfast.demo.stage import VOLUME_BYTES
from holdfast.demo.verdict import mounted_apart
from holdfast.system.storage.loop import loop_devices
from tests.soak import every_other
from tests.waiting import wait_until

COMMAND = [str(Path(sys.executable).with_name("holdfast")), "demo"]
DEMO_SECONDS = 240.0
END_SECONDS = 60.0
APPLICATIONS = {"bank", "appender", "mapper"}
HOME = re.compile(r" at (/var/tmp/holdfast-demo-\w+)/volume")


def test_every_invariant_holds_and_the_story_is_plain_text(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = subprocess.run(
        [*COMMAND, "--json", "--page", str(page)],
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    verdict = json.loads(done.stdout)
    assert verdict["holds"] is True
    assert verdict["faults"] == []
    assert len(verdict["acts"]) == 9
    for act in verdict["acts"]:
        assert set(act["waits_ms"]) == APPLICATIONS
        assert all(wait > 0 for wait in act["waits_ms"].values())
    hang, held, lost = (verdict["acts"][number] for number in (2, 4, 8))
    assert max(hang["waits_ms"].values()) >= 1000, "nobody waited for the leg that hangs"
    assert min(held["waits_ms"].values()) >= 2000, "somebody went on without storage"
    assert min(lost["waits_ms"].values()) >= 1000, "the policy waited for nothing"
    assert "16 files, 64.0 MiB, are as they were" in done.stderr
    for name in APPLICATIONS:
        assert verdict["applications"][name]["acknowledged"] > 200
        assert verdict["applications"][name]["errors"] == 0
        assert verdict["lost"][name] == 0
    (leg,) = verdict["legs"]
    assert leg.endswith("/storage-G/leg.img"), "it is not the copy that is left"
    assert "\x1b" not in done.stderr
    assert "\r" not in done.stderr
    assert "It held: " in done.stderr
    assert verdict["page"] == str(page) and str(page) in done.stderr.splitlines()[-1]
    pictures = page.read_text()
    assert (
        pictures.count("<article") >= 5 and "takeover of" in pictures and "<script" not in pictures
    )
    assert not home_of(done.stderr).exists()
    assert leftovers(home_of(done.stderr)) == []


@pytest.mark.parametrize(
    ("moment", "number"),
    every_other(
        [
            (" at rest ", signal.SIGINT),
            ("applications work on it", signal.SIGTERM),
            ("is stopped (SIGSTOP)", signal.SIGINT),
            ("kills  1 to  5", signal.SIGHUP),
            ("the volume is held", signal.SIGINT),
            ("is to move from storage B", signal.SIGTERM),
            ("to storage E and storage F, as XFS", signal.SIGINT),
            ("Afterwards", signal.SIGINT),
            ("no leg is left, and none comes back", signal.SIGTERM),
            ("one command: holdfast files", signal.SIGINT),
        ]
    ),
)
def test_nothing_is_left_after_an_interruption(moment: str, number: signal.Signals) -> None:
    with demo() as process:
        told = read_until(process, moment)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does: everybody gets it
        else:
            process.send_signal(number)
        rest, _ = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 128 + number, told + rest
    assert "Interrupted: everything is taken away." in rest
    assert "FAULT" not in rest
    assert not home_of(told).exists()
    assert leftovers(home_of(told)) == []


def test_it_ends_when_nobody_reads() -> None:
    with demo() as process:
        told = read_until(process, "Act 1")
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(END_SECONDS) == 128 + signal.SIGPIPE
    assert not home_of(told).exists()
    assert leftovers(home_of(told)) == []


@pytest.mark.parametrize(
    "moment", every_other(["is killed too: no leg is left", "no leg is left, and none comes back"])
)
def test_the_next_demo_takes_away_one_that_was_killed(moment: str) -> None:
    with demo() as killed:
        told = read_until(killed, moment)
        killed.kill()
        killed.wait()
    home = home_of(told)
    assert leftovers(home), "there is nothing to take away"
    with demo() as process:
        read_until(process, "applications work on it")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=END_SECONDS)
    assert not home.exists()
    assert leftovers(home) == []


def test_it_needs_root() -> None:
    # Loaded before, by a command that does nothing: nobody may not be able to read the repository.
    as_nobody = (
        "import os, sys, holdfast.demo.story; from holdfast.cli.application import run;"
        "run(['explain', 'IO']); os.setuid(65534); sys.exit(run(['demo']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", as_nobody],
        capture_output=True,
        text=True,
        check=False,
        timeout=END_SECONDS,
    )
    assert done.returncode == 5, done.stderr
    assert "error[RIGHTS]" in done.stderr


@contextmanager
def demo() -> Iterator[subprocess.Popen[str]]:
    """The demo in a process group of its own, told to a pipe."""
    process = subprocess.Popen(
        COMMAND,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(END_SECONDS)


def read_until(process: subprocess.Popen[str], moment: str) -> str:
    """What the demo told up to the line that contains `moment`."""
    assert process.stdout is not None
    told = ""
    for line in process.stdout:
        told += line
        if moment in line:
            return told
    pytest.fail(f"the demo ended before {moment!r}:\n{told}", pytrace=False)


def home_of(told: str) -> Path:
    """The demo's folder."""
    match = HOME.search(told)
    assert match, told
    return Path(match[1])


def test_a_mount_namespace_that_begins_meanwhile_keeps_no_leg(ram_directory: Path) -> None:
    """As a container does that starts while the demo looks at a leg."""
    image = ram_directory / "leg.img"
    with image.open("wb") as file:
        file.truncate(VOLUME_BYTES)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    words = ["unshare", "--mount", "sh", "-c", "echo ready; read x"]
    with ExitStack() as stack:
        with mounted_apart(image, "ext4", ram_directory / "plain") as root:
            assert (root / "lost+found").is_dir()
            stranger = stack.enter_context(
                subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            assert stranger.stdout is not None
            assert stranger.stdout.readline() == b"ready\n"
        wait_until(lambda: str(image) not in {each.backing_file for each in loop_devices()})
        assert stranger.poll() is None
