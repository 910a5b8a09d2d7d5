"""Why one handle, or one lock, did not come back, in words for its outcome.

What is refused or fails is said as it is. A mistake of ours is logged with where it happened: it
must not keep everybody else waiting, and must not be forgotten either.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.parking.stopped_process import Processes
from holdfast.errors import HoldfastError
from holdfast.model.handle import HandleOutcome

_log = logging.getLogger(__name__)


def words_of(error: Exception, process: str) -> str:
    """What happened, for people. `process`: in which one, for the log."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, HoldfastError):
        return error.message
    _log.error("a handle of %s could not be moved", process, exc_info=error)
    return f"a mistake in Holdfast itself: {type(error).__name__}: {error}"


def unmoved(lines: Sequence[ReboundHandle], processes: Processes) -> list[ReboundHandle]:
    """The handles of those that did not do what they were asked, but for those told of."""
    if processes.all_cooperate:
        return []
    told = {line.handle for line in lines}
    return [
        ReboundHandle(note.handle, HandleOutcome.LOST, words)
        for notes, words in processes.uncooperative
        for note in notes
        if note.handle not in told
    ]
