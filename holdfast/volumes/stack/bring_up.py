"""Bringing up what lies below a gated volume's mount: its gate, then its block device.

Everybody who needs a running gate with a device uses `bring_up`: create, attach, a restoration.
Must never mount: where, and how often, is the caller's.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from holdfast.config import Settings
from holdfast.errors import DeadlinePassed, StorageFailed
from holdfast.gate.members.configuration import load_configuration
from holdfast.gate.outside.launch import LOG_FILE, START_SECONDS, gate_is_running, start_gate
from holdfast.model.reporter import SILENT, Reporter
from holdfast.system.children.expendable import in_expendable_child
from holdfast.volumes.gate_device import gate_device
from holdfast.volumes.stack.take_down import close_device, stop_gate
from holdfast.volumes.undo import Undo

_ATTACH_SECONDS = 30.0
_LAST_WORDS_BYTES = 4096


def bring_up(
    settings: Settings,
    name: str,
    *,
    force: bool = False,
    undo: Undo | None = None,
    reporter: Reporter = SILENT,
    seconds: float = START_SECONDS,
) -> str:
    """Start the gate of a volume, let the kernel show it; the block device's path. Idempotent.

    The gate's state must be in place (gate.json). `force` accepts a source that cannot be proven to
    be the newest. `undo` gets what takes back the parts that this call began. Raises what the gate
    says; when it dies or hangs without a reason, its log's last line is added; DeadlinePassed when
    it does not serve within `seconds`: it has ended then.
    """
    steps = undo or Undo()
    if not gate_is_running(settings.gate_run_directory(name)):
        reporter.say("start the gate")
        steps.add("stop the gate", lambda: stop_gate(settings, name))
        _start(settings, name, force=force, seconds=seconds)
    reporter.say("attach the block device")
    steps.add("detach", lambda: close_device(settings, name))
    sector_bytes = load_configuration(settings.gate_state_directory(name)).sector_bytes
    attach = partial(gate_device().attach, settings, name, sector_bytes)
    return in_expendable_child(attach, _ATTACH_SECONDS, "the gate")


def _start(settings: Settings, name: str, *, force: bool, seconds: float) -> None:
    """Start the gate; it serves when this returns. A gate that dies leaves its last words."""
    state_directory = settings.gate_state_directory(name)
    run_directory = settings.gate_run_directory(name)
    try:
        start_gate(state_directory, run_directory, force=force, seconds=seconds)
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
