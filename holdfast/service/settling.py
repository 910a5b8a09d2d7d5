"""What dead commands left is settled volume by volume, each in its turn.

Whatever goes wrong with one volume is said of it, and the others are settled all the same. What a
living command is at work on is left to it: who looks at a half-built volume takes it for the half
of a dead one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from holdfast.errors import AtWork, HoldfastError
from holdfast.gate.outside.launch import gate_is_running
from holdfast.model.recovery import BeingDone, Left
from holdfast.service.host import Host
from holdfast.volumes.recover import clean_volume, volumes_with_traces

_WAIT_SECONDS = 0.5
"""Longer than a command that was killed takes to end on a host that is busy."""


def settle_one(host: Host, name: str, subject: str, settle: Callable[[], list[str]]) -> list[str]:
    """Call `settle` in the turn of this volume; what was done, in words.

    `subject`: what is settled, for people. Never raises HoldfastError.
    """
    try:
        with host.turn(name, "settle what a dead command left", wait_seconds=_WAIT_SECONDS):
            return settle()
    except AtWork as error:
        return [BeingDone(f"{subject} was left: {error}")]
    except HoldfastError as error:
        return [Left(f"{subject} was left: {error}")]


def settle_gates(host: Host) -> list[str]:
    """Clean up after every volume whose gate died; one sentence per thing done. Idempotent."""
    done: list[str] = []
    for name in volumes_with_traces(host.settings):
        clean = partial(clean_volume, host.settings, name)
        said = settle_one(host, name, f"the gate of {name}", clean)
        is_left = any(isinstance(sentence, BeingDone) for sentence in said)
        if is_left and gate_is_running(host.settings.gate_run_directory(name)):
            continue  # the other command changes a volume that works
        done += said
    return done
