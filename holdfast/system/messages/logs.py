"""Where log records go: into the systemd journal when there is one, else into a file.

Modules say what they decide by `logging.getLogger(__name__)`; here it is said what becomes of it,
for the processes that are Holdfast's own (a program that uses the library decides for itself).
Nobody waits for a log: see `unwaited`. `HOLDFAST_LOG` names the least level that is kept.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from holdfast.system.files.trusted import open_file
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
    """Appends to a file of ours, which stays below a length, and is made where its folder is."""

    def write(words: bytes) -> None:
        descriptor = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(descriptor, words)
            if os.fstat(descriptor).st_size > LONGEST_FILE_BYTES:
                path.replace(path.with_name(f"{path.name}.1"))
        finally:
            os.close(descriptor)

    return write
