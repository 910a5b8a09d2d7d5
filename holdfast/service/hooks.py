"""Programs of the administrator's around a point: the one before, and the one after, always.

Invariants: the hook after is owed durably before the one before is begun, and is run by whoever
comes next where we were killed; so it may be run twice, or though the one before was not begun. A
program is root's alone, as everything above it, whenever it is run. Each ends within its time.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.copies.records import BegunHookRecords
from holdfast.errors import CommandFailed, HoldfastError, NotDelivered
from holdfast.model.hook import BegunHook, PointHooks
from holdfast.policy.notifications.program import run_program
from holdfast.service.host import Host
from holdfast.system.files.programs import check_program, words_of

_log = logging.getLogger(__name__)

_EXAMPLE = "--before /usr/local/sbin/quiesce"


class Hooks:
    """Those of this host's points; the caller has the turn on the points of the volume."""

    def __init__(self, host: Host) -> None:
        self._records = BegunHookRecords(host.settings)

    @contextmanager
    def around(self, volume: str, point: str, hooks: PointHooks) -> Iterator[None]:
        """Run what is asked for before and after the block; the block is not entered where the one
        before failed, unless that is to be ignored.

        Raises InvalidOption, Untrusted before anything is run, CommandFailed, StateFailed.
        """
        for each in filter(None, (hooks.before, hooks.after)):
            check_program(words_of(each, _EXAMPLE))
        owed = BegunHook(uuid.uuid4().hex, volume, time.time(), point, hooks.after, hooks.seconds)
        if hooks.after:
            self._records.save(owed)
        try:
            if hooks.before:
                self._run_before(owed, hooks)
            yield
        except BaseException as error:
            failure = self._run_after(owed, "failed") if hooks.after else ""
            if failure and isinstance(error, HoldfastError):
                words = f"{error.message}; and the hook after failed, too: {failure}"
                raise type(error)(words, error.mend) from error
            raise
        if hooks.after and (failure := self._run_after(owed, "taken")):
            raise CommandFailed(
                f"the point {point} was taken, and the hook after it failed: {failure}",
                f"Run it by hand: {hooks.after}",
            )

    def settle(self, volume: str = "") -> list[str]:
        """Run what dead commands owe, of this volume or of all; in words. Raises StateFailed."""
        owed = self._records.of(volume) if volume else self._records.all()
        said = []
        for each in owed:
            failure = self._run_after(each, "unknown")
            how = f"failed: {failure}" if failure else "was run"
            said.append(f"the hook after the point {each.point} of {each.volume} {how}")
        return said

    def owing(self) -> set[str]:
        """The volumes of which hooks are owed. Raises StateFailed."""
        return {each.volume for each in self._records.all()}

    def _run_before(self, owed: BegunHook, hooks: PointHooks) -> None:
        try:
            _run(hooks.before, "before", owed, "")
        except (HoldfastError, OSError) as error:
            words = f"the hook before the point failed: {error}"
            if not hooks.ignores_before:
                mend = "See to it, or take the point all the same: --ignore-before."
                raise CommandFailed(f"{words}; it was not taken", mend) from error
            _log.warning("%s: %s", owed.volume, words, extra={"volume": owed.volume})

    def _run_after(self, owed: BegunHook, outcome: str) -> str:
        """Why it failed, or nothing; it is not owed any more, either way: who ran it knows."""
        failure = ""
        try:
            _run(owed.hook, "after", owed, outcome)
        except (HoldfastError, OSError) as error:
            failure = str(error)
            words = "%s: the hook after the point %s failed: %s"
            _log.warning(words, owed.volume, owed.point, error, extra={"volume": owed.volume})
        self._records.remove(owed)
        return failure


def _run(hook: str, which: str, owed: BegunHook, outcome: str) -> None:
    """Raises CommandFailed, Untrusted, OSError."""
    try:
        run_program(
            words_of(hook, _EXAMPLE),
            b"",
            owed.seconds,
            dies_with_us=True,
            HOLDFAST_HOOK=which,
            HOLDFAST_VOLUME=owed.volume,
            HOLDFAST_POINT=owed.point,
            HOLDFAST_OUTCOME=outcome,
        )
    except NotDelivered as error:
        raise CommandFailed(error.message, error.mend) from error
