"""However a command ends, the shell gets the right status and a person no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from holdfast.cli import main
from holdfast.cli.application import application

WATCH = [sys.executable, "-c", "import sys; from holdfast.cli import main; sys.exit(main())",
         "status", "--watch", "--json", "--interval", "10ms"]  # fmt: skip


VOLUME_LIST = """
import os, sys
from holdfast.cli import main
status = main()
streams = {os.readlink(f"/proc/self/fd/{number}") for number in range(3)}
home = os.environ["HOLDFAST_HOME"]
sys.exit(99 if any(name.startswith(home) for name in streams) else status)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path))
    monkeypatch.delenv("HOLDFAST_DEBUG", raising=False)
    return tmp_path


@pytest.fixture
def broken_command() -> object:
    """A command with a mistake in it, registered for one test."""

    def broken() -> None:
        raise ZeroDivisionError("one over nothing")

    application.command(name="broken-for-a-test")(broken)
    yield typer
    application.registered_commands.pop()


def test_a_mistake_of_ours_gives_70_and_a_short_text(
    broken_command: object, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["broken-for-a-test"]) == 70
    printed = capsys.readouterr().err
    assert "ZeroDivisionError: one over nothing" in printed
    assert "Traceback" not in printed and "HOLDFAST_DEBUG=1" in printed


def test_the_traceback_is_there_for_who_asks(
    broken_command: object,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOLDFAST_DEBUG", "1")
    assert main(["broken-for-a-test"]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_interrupted_quietly(home: Path, number: signal.Signals, status: int) -> None:
    watching = subprocess.Popen(WATCH, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    assert watching.stdout.readline() == "[]\n"
    watching.send_signal(number)
    _, complaint = watching.communicate(timeout=30)
    assert (watching.returncode, complaint) == (status, "")


def test_a_reader_that_has_gone_ends_it_quietly(home: Path) -> None:
    watching = subprocess.Popen(WATCH, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watching.stdout is not None and watching.stderr is not None
    watching.stdout.readline()
    watching.stdout.close()
    assert watching.wait(timeout=30) == 141
    assert watching.stderr.read() == ""
    watching.stderr.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving up root needs root")
def test_what_needs_root_says_so(home: Path) -> None:
    program = (
        "import os, sys; from holdfast.cli import main; main(['volume', 'list'])\n"
        "os.seteuid(65534); sys.exit(main(['recover']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 5
    assert "\nerror[RIGHTS]: " in ended.stderr


def test_a_home_whose_sockets_would_have_too_long_a_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / ("x" * 80)
    monkeypatch.setenv("HOLDFAST_HOME", str(home))
    assert main(["volume", "create", "bank", "--size", "64M", "--mount", f"{tmp_path}/m"]) == 2
    assert "too long for a socket" in capsys.readouterr().err
    assert not home.exists()


def test_a_relative_home_counts_from_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOLDFAST_HOME", "here")
    assert main(["volume", "list"]) == 0
    assert (tmp_path / "here/state/catalog.sqlite").exists()
    monkeypatch.setenv("HOLDFAST_HOME", "")
    from holdfast.config import Settings

    assert Settings().state_directory == Path("/var/lib/holdfast")


@pytest.mark.parametrize("closed", ["0<&-", ">&-", "2>&-", "0<&- >&- 2>&-"])
def test_with_streams_that_are_closed(home: Path, closed: str) -> None:
    """What is said goes nowhere, and no file of ours is taken for a stream."""
    ended = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" volume list {closed}', sys.executable, VOLUME_LIST],
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0


def test_whoever_starts_it_may_ignore_the_end_of_children(home: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", VOLUME_LIST, "doctor", "--json"],
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "ChildProcessError" not in ended.stderr + ended.stdout
    assert ended.returncode != 70, ended.stderr
