"""Holdfast's own places on this host: nobody but root may have made what lies there.

State and run directory say which files root deletes, which devices it mounts and which processes it
signals; HOLDFAST_HOME may name any directory. Must never believe one that it has not judged.
"""

from __future__ import annotations

import os
from contextlib import suppress

from holdfast.config import Settings
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.trusted import judge_directory, own_directory


def judge_answering_places(settings: Settings) -> None:
    """As `judge_places`, after asking whether the storage can be read and written.

    Raises DeadlinePassed when it does not answer.
    """
    in_expendable_child(
        lambda: _touch(settings), doing=f"the state directory {settings.state_directory}"
    )
    judge_places(settings)


def _touch(settings: Settings) -> None:
    """Do what only works, for who may do it, while the state directory can be read and written."""
    judge_places(settings)
    with suppress(OSError):
        os.utime(settings.state_directory)


def judge_places(settings: Settings) -> None:
    """Raise Untrusted unless the places that are there are ours: root's, no links, nor on the way.

    One that others can only read is made private; HOLDFAST_HOME itself may be readable. What is not
    there yet is judged again when it is made. Nothing is judged for who is not root: that one can
    change nothing.
    """
    if os.geteuid() != 0:
        return
    with suppress(OSError):  # not there, or no directory: whoever needs it says so
        if settings.home is not None:
            judge_directory(settings.home)
    for place in (settings.state_directory, settings.run_directory):
        with suppress(OSError):
            judge_directory(place)
            own_directory(place)
