"""Starting a volume's gate, so that a gate that dies while it starts leaves its last words."""

from __future__ import annotations

from pathlib import Path

from holdfast.config import Settings
from holdfast.errors import DeadlinePassed, StorageFailed
from holdfast.gate.processes.launch import LOG_FILE, start_gate

_LAST_WORDS_BYTES = 4096


def start(settings: Settings, name: str, *, force: bool = False) -> None:
    """Start the gate of a volume; it serves when this returns. Idempotent.

    Raises what the gate says; when it dies or hangs without a reason, its log's last line is added.
    """
    state_directory = settings.gate_state_directory(name)
    try:
        start_gate(state_directory, settings.gate_run_directory(name), force=force)
    except (StorageFailed, DeadlinePassed) as error:
        if type(error) in (StorageFailed, DeadlinePassed):
            error.message += _last_words(state_directory / LOG_FILE)
            error.args = (error.message,)
        raise


def _last_words(log: Path) -> str:
    try:
        lines = log.read_bytes()[-_LAST_WORDS_BYTES:].decode(errors="replace").split("\n")
    except OSError:
        return ""
    words = [line.strip() for line in lines if line.strip()]
    return f": {words[-1]}" if words else ""
