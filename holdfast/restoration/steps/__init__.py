"""The steps, one file each; STEPS is the registry of them all."""

from __future__ import annotations

from holdfast.model.plan import StepName
from holdfast.restoration.steps.capture import Capture
from holdfast.restoration.steps.dismount import Dismount
from holdfast.restoration.steps.flush import Flush
from holdfast.restoration.steps.freeze import Freeze
from holdfast.restoration.steps.lock import Lock, Unlock
from holdfast.restoration.steps.protocol import Step
from holdfast.restoration.steps.remount import Remount
from holdfast.restoration.steps.replay import Replay
from holdfast.restoration.steps.restore import Restore
from holdfast.restoration.steps.thaw import Thaw

STEPS: dict[StepName, Step] = {
    step.name: step
    for step in (
        Freeze(),
        Capture(),
        Flush(),
        Lock(),
        Dismount(),
        Restore(),
        Remount(),
        Replay(),
        Unlock(),
        Thaw(),
    )
}

__all__ = ["STEPS", "Step"]
