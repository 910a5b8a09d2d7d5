"""The steps, one file each; STEPS is the registry of them all."""

from __future__ import annotations

from holdfast.model.plan import StepName
from holdfast.restoration.steps.capture import CaptureStep
from holdfast.restoration.steps.dismount import DismountStep
from holdfast.restoration.steps.flush import FlushStep
from holdfast.restoration.steps.freeze import FreezeStep
from holdfast.restoration.steps.lock import LockStep, UnlockStep
from holdfast.restoration.steps.protocol import Step
from holdfast.restoration.steps.remount import RemountStep
from holdfast.restoration.steps.replay import ReplayStep
from holdfast.restoration.steps.restore import RestoreStep
from holdfast.restoration.steps.thaw import ThawStep

STEPS: dict[StepName, Step] = {
    step.name: step
    for step in (
        FreezeStep(),
        CaptureStep(),
        FlushStep(),
        LockStep(),
        DismountStep(),
        RestoreStep(),
        RemountStep(),
        ReplayStep(),
        UnlockStep(),
        ThawStep(),
    )
}

__all__ = ["STEPS", "Step"]
