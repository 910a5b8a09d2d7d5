"""Running a program of the administrator's or the host's as root, with a limit of time."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from holdfast.errors import NotDelivered, Untrusted
from holdfast.policy.notifications.protocol import SECONDS
from holdfast.system.files.trusted import open_file, open_parent

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}

_MOST_LINKS = 40
"""As the kernel follows (path_resolution(7))."""

_WORDS_BYTES = 300
"""Of what a program said when it failed."""


def run_program(words: Sequence[str], text: bytes, **environment: str) -> None:
    """Run it with `text` on its standard input, and return when it has ended with status 0.

    What it leaves in the background goes on. It is root's, as is everything above it, also above
    each link that leads to it. Raises NotDelivered, Untrusted, OSError.
    """
    _judge(Path(words[0]))
    # No pipe, whose end comes only with the last process that it has left behind; and no disk.
    with (
        open(os.memfd_create("said"), "w+b") as said,
        subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**_ENVIRONMENT, **environment},
            cwd="/",
            start_new_session=True,
        ) as process,
    ):
        try:
            process.communicate(text, SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise NotDelivered(f"{words[0]} did not end in {SECONDS:g} s", "") from None
        told = _end_of(said)
    if process.returncode:
        how = f"{words[0]} ended with status {process.returncode}"
        raise NotDelivered(f"{how}: {told}" if told else how, "Run it by hand.")


def _end_of(said: BinaryIO) -> str:
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - _WORDS_BYTES))
    return said.read(_WORDS_BYTES).decode(errors="replace").strip()


def _judge(path: Path) -> None:
    for _ in range(_MOST_LINKS):
        if not path.is_symlink():
            os.close(open_file(path, os.O_RDONLY))
            return
        with open_parent(path) as (folder, name):
            path = path.parent / os.readlink(name, dir_fd=folder)
    raise Untrusted(f"{path} leads to itself", "Name the program itself.")
