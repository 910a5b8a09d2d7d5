"""Running a program of the administrator's or the host's as root, with a limit of time."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from typing import BinaryIO

from holdfast.errors import NotDelivered
from holdfast.policy.notifications.protocol import SECONDS
from holdfast.system.files.programs import ENVIRONMENT, judge_program
from holdfast.system.processes.process import die_with_parent

_WORDS_BYTES = 300
"""Of what a program said when it failed."""


def run_program(
    words: Sequence[str],
    text: bytes,
    seconds: float = SECONDS,
    *,
    dies_with_us: bool = False,
    **environment: str,
) -> None:
    """Run it with `text` on its standard input, and return when it has ended with status 0.

    What it leaves in the background goes on; when we are interrupted, or it takes longer, it is
    ended with that. `dies_with_us`: the program itself also when we are killed; for processes of
    one thread. It is root's, as is everything above it, also above each link that leads to it.
    Raises NotDelivered, Untrusted, OSError.
    """
    judge_program(words)
    # No pipe, whose end comes only with the last process that it has left behind; and no disk.
    with (
        open(os.memfd_create("said"), "w+b") as said,
        subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**ENVIRONMENT, **environment},
            cwd="/",
            start_new_session=True,
            preexec_fn=die_with_parent if dies_with_us else None,  # noqa: PLW1509
        ) as process,
    ):
        try:
            process.communicate(text, seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise NotDelivered(f"{words[0]} did not end in {seconds:g} s", "") from None
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        told = _end_of(said)
    if process.returncode:
        how = f"{words[0]} ended with status {process.returncode}"
        raise NotDelivered(f"{how}: {told}" if told else how, "Run it by hand.")


def _end_of(said: BinaryIO) -> str:
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - _WORDS_BYTES))
    return said.read(_WORDS_BYTES).decode(errors="replace").strip()
