"""Descriptors opened with O_PATH: a place in the tree, of whatever is there."""

from __future__ import annotations

import os

from holdfast.applications.rebind.handles.base import DescriptorDriver
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.verdicts import moved, recreated
from holdfast.applications.rebind.opening.requests import Expected, OpenRequest
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.placeholders import Placeholders
from holdfast.model.handle import Handle, JudgedHandle

_PATH_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
"""O_PATH_FLAGS of include/linux/fcntl.h; it is of a symbolic link itself with O_NOFOLLOW."""


class PathDriver(DescriptorDriver):
    """Descriptors opened with O_PATH."""

    expected = Expected.ANYTHING

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        """Movable; what it leads to is made again, and removed again, where it was removed."""
        if handle.deleted:
            return recreated(handle, "what it named was removed: an equal one takes its place")
        return moved(handle, facts)

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        """One request; what was removed is made again from what is kept of it."""
        details = note.details
        contents = details.contents if note.handle.deleted else ""
        return [self._request(note, contents=contents, before=details.before)]

    def _placeholder(self, placeholders: Placeholders) -> int:
        return placeholders.place

    def _flags(self, note: HandleNote) -> int:
        return note.handle.flags & _PATH_FLAGS
