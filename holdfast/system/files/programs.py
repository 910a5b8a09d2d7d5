"""Whether a program of the administrator's may be run as root: it, and all that leads to it, is
root's."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path

from holdfast.errors import InvalidOption, Untrusted
from holdfast.system.files.trusted import open_file, open_parent

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
"""What such a program gets, whoever began us."""

_ANYBODY_RUNS = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
"""Without any of them root cannot either (capabilities(7))."""

_MOST_LINKS = 40
"""As the kernel follows (path_resolution(7))."""


def words_of(command: str, example: str) -> list[str]:
    """A program and its arguments, as a shell would part them; none is asked. Pure.

    Raises InvalidOption unless it begins with an absolute path. `example`: how it is written.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InvalidOption(f"{command!r}: {error}", "Close the quotation.") from error
    if not words or not words[0].startswith("/"):
        raise InvalidOption(f"{command!r} is no program", f"Write its absolute path: {example}.")
    return words


def judge_program(words: Sequence[str]) -> None:
    """Raise Untrusted unless it is root's, as is everything above it, also above each link that
    leads to it. Raises OSError, also where nobody may run it."""
    path = Path(words[0])
    for _ in range(_MOST_LINKS):
        if not path.is_symlink():
            program = open_file(path, os.O_RDONLY)
            try:
                if not os.fstat(program).st_mode & _ANYBODY_RUNS:
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            finally:
                os.close(program)
            return
        with open_parent(path) as (folder, name):
            path = path.parent / os.readlink(name, dir_fd=folder)
    raise Untrusted(f"{path} leads to itself", "Name the program itself.")


def check_program(words: Sequence[str]) -> None:
    """As `judge_program`, of one that somebody asks for now. Raises Untrusted, InvalidOption."""
    try:
        judge_program(words)
    except OSError as error:
        raise InvalidOption(
            f"{words[0]} cannot be run: {error.strerror}", "Name a program that is there."
        ) from error
