"""Descriptors opened with O_PATH: a place in the tree, of whatever is there."""

from __future__ import annotations

import os

from holdfast.applications.rebind.handles.base import DescriptorDriver
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.verdicts import lost, moved
from holdfast.applications.rebind.opening.requests import Expected
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.placeholders import Placeholders
from holdfast.model.handle import Handle, JudgedHandle

_PATH_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
"""O_PATH_FLAGS of include/linux/fcntl.h; it is of a symbolic link itself with O_NOFOLLOW."""


class PathDriver(DescriptorDriver):
    """Descriptors opened with O_PATH."""

    expected = Expected.ANYTHING

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        """Movable, unless what it leads to was removed: then it is lost."""
        if handle.deleted:
            return lost(handle, "what it named was removed: the descriptor returns errors")
        return moved(handle, facts)

    def _placeholder(self, placeholders: Placeholders) -> int:
        return placeholders.place

    def _flags(self, note: HandleNote) -> int:
        return note.handle.flags & _PATH_FLAGS
