"""Doing the steps of a plan: recorded before and after, finished or undone whatever happens.

Owns the order of the steps; knows nothing of what a step does. Invariants: a step acts only after
its start is on disk. When a step before Replay fails, every step that had begun is undone, the last
one first. From Replay on nothing is undone, and the remaining steps are all tried. Whoever was
stopped is released at the end, or at the deadline. When a runner dies, its record stays, and
`go_on` decides from it in another process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from holdfast.errors import DeadlinePassed, HoldfastError, StorageFailed
from holdfast.model.plan import StepName
from holdfast.model.restoration import RestorationStage, StepRecord, StepState
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps.protocol import Step
from holdfast.restoration.storage.directory import forbid_finish, may_finish
from holdfast.system.files.own_files import writing_own_files
from holdfast.system.processes.ending import endings_wait

_log = logging.getLogger(__name__)

POINTS_OF_NO_RETURN = (StepName.REPLAY, StepName.UNLOCK, StepName.THAW)
"""They are never undone: as soon as handles lead to the new mount, programs may write there, and
what they write is nowhere else."""


class Runner:
    """Runs the steps of one restoration. `checkpoint` is called around each of them, for tests that
    kill the runner there."""

    def __init__(
        self,
        work: Work,
        steps: Mapping[StepName, Step],
        waits_after: StepName | None = None,
        checkpoint: Callable[[str], None] = lambda place: None,
    ) -> None:
        self.work = work
        self._steps = [steps[name] for name in work.restoration.step_names]
        self._waits_after = waits_after
        self._checkpoint = checkpoint

    def run(self) -> RestorationStage | None:
        """Do what is not done yet. None: it is finished; WAITING: another command goes on.

        Raises what a step raised, after everything was undone; the error says what could not be.
        """
        self._note_stage(RestorationStage.RUNNING)
        for step in self._steps:
            if self.work.restoration.has_finished(step.name):
                continue
            if step.name in POINTS_OF_NO_RETURN:
                self._go_forward(step)
                continue
            try:
                self._check_time(step)
                self._do(step)
            except BaseException as error:
                self.undo(error)
                raise
            if step.name is self._waits_after:
                self._waits_after = None
                self._note_stage(RestorationStage.WAITING)
                return RestorationStage.WAITING
        return None

    def go_on(self) -> bool:
        """Finish or undo what a dead runner left; True when it was finished, False when undone."""
        allowed = may_finish(self.work.settings, self.work.restoration.id)
        undoing = self.work.restoration.stage is RestorationStage.UNDOING or not allowed
        if undoing or not self._past_the_dismount():
            self.undo(None)
            return False
        try:
            self.run()
        except HoldfastError:
            return False
        return True

    def undo(self, cause: BaseException | None) -> None:
        """Take back, last first, every step that has begun. Each is tried, whatever the others do.

        What could not be taken back is added to the message of `cause`.
        """
        with endings_wait():  # it is short, and processes are stopped
            failures = self._undo_all()
        left_out = self.work.live.left_out
        if left_out and isinstance(cause, HoldfastError):
            cause.message += "; it was undone, but for this: " + "; ".join(left_out)
            cause.args = (cause.message,)
        if failures and isinstance(cause, HoldfastError):
            cause.message += "; it could not be undone entirely: " + "; ".join(failures)
            cause.args = (cause.message,)
            cause.mend = f"{cause.mend} Then: holdfast recover.".strip()
        elif failures and cause is None:
            raise StorageFailed("it could not be undone entirely: " + "; ".join(failures))

    def _undo_all(self) -> list[str]:
        forbid_finish(self.work.settings, self.work.restoration.id)
        with suppress(StorageFailed):
            self._note_stage(RestorationStage.UNDOING)
        failures = []
        for step in reversed(self._steps):
            record = self.work.restoration.record_of(step.name)
            if record is None or record.state is StepState.UNDONE:
                continue
            begun = time.time()
            try:
                self._checkpoint(f"before undoing {step.name}")
                words = step.undo(self.work)
            except Exception as failure:  # a mistake of ours is no reason to leave the rest, either
                failures.append(f"{step.name}: {_words(failure)}")
                self._record_quietly(step, StepState.FAILED, begun, f"undoing: {_words(failure)}")
                continue
            self._record_quietly(step, StepState.UNDONE, begun, words)
            self._checkpoint(f"after undoing {step.name}")
        return failures

    def _past_the_dismount(self) -> bool:
        """Whether it is to be finished: the old storage is dismounted, or was replaced."""
        restoration = self.work.restoration
        names = restoration.step_names
        decisive = StepName.RESTORE if StepName.RESTORE in names else StepName.DISMOUNT
        return decisive in names and restoration.has_finished(decisive)

    def _go_forward(self, step: Step) -> None:
        """Do a step that is never undone, also when the catalog fails: processes are stopped. What
        went wrong is recorded with it."""
        with endings_wait():  # it is short, and processes are stopped
            begun = time.time()
            self._checkpoint(f"before {step.name}")
            self._record_quietly(step, StepState.STARTED, begun, "")
            self._checkpoint(f"in {step.name}")
            try:
                words = "was done already" if step.is_done(self.work) else step.do(self.work)
            except Exception as error:
                self._record_quietly(step, StepState.FAILED, begun, _words(error))
                return
            self._record_quietly(step, StepState.FINISHED, begun, words)
            self._checkpoint(f"after {step.name}")

    def _do(self, step: Step) -> None:
        begun = time.time()
        self._checkpoint(f"before {step.name}")
        self._record(step, StepState.STARTED, begun, "")
        self.work.say(str(step.name))
        self._checkpoint(f"in {step.name}")
        with writing_own_files(self.work.settings.state_directory):
            words = "was done already" if step.is_done(self.work) else step.do(self.work)
        self._record(step, StepState.FINISHED, begun, words)
        self._checkpoint(f"after {step.name}")

    def _check_time(self, step: Step) -> None:
        """Refuse to begin a step that would leave no time to take it back."""
        if step.name in POINTS_OF_NO_RETURN or step.name is StepName.FREEZE:
            return
        left_seconds = self.work.seconds_left()
        if left_seconds < 0:
            raise DeadlinePassed(
                f"too little time is left for {step.name} before the processes run again",
                "Everything is as it was. Give a later --deadline.",
            )

    def _note_stage(self, stage: RestorationStage) -> None:
        self.work.ledger.note(self.work.restoration.id, stage=stage)
        self.work.restoration = replace(self.work.restoration, stage=stage)

    def _record(self, step: Step, state: StepState, begun: float, words: str) -> None:
        seconds = 0.0 if state is StepState.STARTED else time.time() - begun
        record = StepRecord(step.name, state, begun, seconds, words)
        self.work.ledger.record(self.work.restoration.id, record)
        self._keep(record)

    def _record_quietly(self, step: Step, state: StepState, begun: float, words: str) -> None:
        """A catalog that fails must not keep processes stopped."""
        record = StepRecord(step.name, state, begun, time.time() - begun, words)
        self._keep(record)
        with suppress(StorageFailed):
            self.work.ledger.record(self.work.restoration.id, record)

    def _keep(self, record: StepRecord) -> None:
        old = self.work.restoration
        about = {"volume": old.volume, "restoration": old.id}
        _log.info("%s %s %s", record.name, record.state, record.outcome, extra=about)
        others = tuple(each for each in old.steps if each.name is not record.name)
        order = {name: place for place, name in enumerate(old.step_names)}
        steps = tuple(sorted((*others, record), key=lambda each: order[each.name]))
        self.work.restoration = replace(old, steps=steps)


def _words(error: Exception) -> str:
    """What a person can make something of, also when it is a mistake of ours."""
    if isinstance(error, (HoldfastError, OSError)):
        return str(error)
    return f"a mistake in Holdfast itself: {type(error).__name__}: {error}"
