"""Where log records go: into the systemd journal when there is one, else into a file.

Modules say what they decide by `logging.getLogger(__name__)`; here it is said what becomes of it,
for the processes that are Holdfast's own (a program that uses the library decides for itself).
Nobody waits for a log: see `unwaited`. `HOLDFAST_LOG` names the least level that is kept.
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from holdfast.errors import Untrusted
from holdfast.system.files.trusted import OwnFolder, fault_of
from holdfast.system.messages import journald
from holdfast.system.messages.printable import printable_lines
from holdfast.system.messages.unwaited import Write, to_standard_error, write_soon

LEVEL_VARIABLE = "HOLDFAST_LOG"
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
LONGEST_FILE_BYTES = 1 << 20
"""A file that is longer becomes NAME.1, in place of the one before: thousands of decisions."""

MOST_FILE_BYTES = 2 * LONGEST_FILE_BYTES
"""Beyond this nothing is written: whoever gives the file another name was stopped while it does."""

_IDENTIFIER = "holdfast"
_PRIORITIES = {logging.DEBUG: "7", logging.INFO: "6", logging.WARNING: "4", logging.ERROR: "3"}
"""Of syslog(3)."""
_FIELDS = ("volume", "leg", "restoration")


class _Handler(logging.Handler):
    """Hands records on, without waiting."""

    def __init__(self, process: str, volume: str, write: Write | None) -> None:
        super().__init__()
        self.process = process
        self._volume = volume
        self._write = write
        """None: into the journal."""
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(where)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._hand_on(record)
        except Exception:  # words that cannot be put together (their arguments, say)
            self.handleError(record)

    def _hand_on(self, record: logging.LogRecord) -> None:
        found = {name: str(getattr(record, name, "")) for name in _FIELDS}
        found["volume"] = found["volume"] or self._volume
        if self._write is None:
            words = logging.Formatter().format(record)
            fields = {f"HOLDFAST_{name.upper()}": value for name, value in found.items() if value}
            journald.send(
                {
                    "MESSAGE": words,
                    "PRIORITY": _PRIORITIES.get(record.levelno, "5"),
                    "SYSLOG_IDENTIFIER": _IDENTIFIER,
                    "HOLDFAST_PROCESS": self.process,
                    **fields,
                }
            )
            return
        record.where = " ".join(filter(None, (self.process, str(os.getpid()), *found.values())))
        write_soon(printable_lines(self.format(record)), self._write)


_handlers: list[_Handler] = []
"""None or one."""


def set_up(process: str, volume: str = "", write: Write = to_standard_error) -> None:
    """Send this process's records on their way. Called once; what is forked keeps it."""
    root = logging.getLogger(_IDENTIFIER)
    logging.raiseExceptions = False
    for old in _handlers:
        root.removeHandler(old)
    handler = _Handler(process, volume, None if journald.is_there() else write)
    _handlers[:] = [handler]
    root.addHandler(handler)
    root.propagate = False
    root.setLevel(LEVELS.get(os.environ.get(LEVEL_VARIABLE, "").lower(), logging.INFO))


def call_process(name: str) -> None:
    """What this process is, from now on: a forked one."""
    for handler in _handlers:
        handler.process = name


def into_file(path: Path) -> Write:
    """Appends to a file of ours, which stays below a length, and is made where its folder is.

    For several processes at once: one of those that find it too long gives it another name.
    """
    folder = OwnFolder(path.parent)

    def write(words: bytes) -> None:
        with folder.entered() as place:
            descriptor = _open_log(folder, place, path.name)
            try:
                length = os.fstat(descriptor).st_size
                if not length or length + len(words) <= MOST_FILE_BYTES:
                    os.write(descriptor, words)
                    length += len(words)
                if length > LONGEST_FILE_BYTES:
                    _put_aside(descriptor, place, path.name)
            finally:
                os.close(descriptor)

    return write


def _open_log(folder: OwnFolder, place: int, name: str) -> int:
    """One that somebody gave a second name (a backup of hard links) is put aside: whoever has that
    name could read on. Raises Untrusted, OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        return folder.open_file(place, name, flags)
    except Untrusted:
        status = os.stat(name, dir_fd=place, follow_symlinks=False)
        if fault_of(status, links=status.st_nlink):
            raise
    os.rename(name, f"{name}.1", src_dir_fd=place, dst_dir_fd=place)
    return folder.open_file(place, name, flags)


def _put_aside(descriptor: int, place: int, name: str) -> None:
    """Rename the file that is open here, unless another process has done so, or just does."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.stat(name, dir_fd=place, follow_symlinks=False)
    except (BlockingIOError, FileNotFoundError):
        return
    if os.path.samestat(found, os.fstat(descriptor)):
        os.rename(name, f"{name}.1", src_dir_fd=place, dst_dir_fd=place)
