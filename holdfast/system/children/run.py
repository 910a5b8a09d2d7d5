"""Running system commands: with a deadline, their own words in the error, never through a shell.

Owns the environment commands run in (LC_ALL=C, so that output can be parsed). Must never inherit
the caller's standard input: no command may ask a question.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence

from holdfast.errors import CommandFailed, DeadlinePassed, MissingTool

DEADLINE_SECONDS = 60.0
"""Long enough for mkfs and resize of terabytes on slow disks, short enough to be noticed."""

_REAP_SECONDS = 1.0
"""What a killed command gets to vanish; one in uninterruptible sleep is left behind."""

_SYSTEM_PATHS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where mkfs and losetup live; Debian leaves them out of an ordinary user's PATH."""


def find_tool(name: str) -> str | None:
    """Path of a program, looked up in PATH and in the system folders; None when absent."""
    return shutil.which(name, path=_search_path())


def run(
    command: Sequence[str],
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    accepted: Sequence[int] = (0,),
) -> subprocess.CompletedProcess[str]:
    """Run a command and return its captured output; blocks until it ends or the deadline passes.

    Raises MissingTool when it is not installed, CommandFailed when its exit status is none of
    `accepted`, DeadlinePassed when it does not end. A command that hangs inside the kernel is
    killed and left to die by itself: the caller does not wait for it.
    """
    process = begin(command)
    try:
        output, complaint = process.communicate(timeout=deadline_seconds)
    except subprocess.TimeoutExpired as error:
        abandon(process)
        raise DeadlinePassed(
            f"{' '.join(command)} did not end within {deadline_seconds:g} s",
            "The storage below may hang: holdfast status, and the kernel's log.",
        ) from error
    except BaseException:
        abandon(process)
        raise
    if process.returncode not in accepted:
        words = (complaint.strip() or output.strip() or "it gave no reason").splitlines()
        raise CommandFailed(
            f"{' '.join(command)} failed (exit status {process.returncode}): "
            + "; ".join(line.strip() for line in words[-4:] if line.strip())
        )
    return subprocess.CompletedProcess(process.args, process.returncode, output, complaint)


def begin(command: Sequence[str]) -> subprocess.Popen[str]:
    """Start a command whose output is to be read. Raises MissingTool."""
    path = find_tool(command[0])
    if path is None:
        raise MissingTool(
            f"{command[0]} is not installed", "holdfast doctor says which package brings it."
        )
    return subprocess.Popen(
        [path, *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C", "PATH": _search_path()},
    )


def abandon(*processes: subprocess.Popen[str], seconds: float = _REAP_SECONDS) -> None:
    """End commands, whether they have ended or not.

    Blocks for so long, in all, while a killed one does not vanish: it is in uninterruptible sleep,
    and is buried when the next command is started after its death.
    """
    for process in processes:
        process.kill()
    deadline = time.monotonic() + seconds
    for process in processes:
        try:
            process.communicate(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def _search_path() -> str:
    current = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join([*current, *(path for path in _SYSTEM_PATHS if path not in current)])
