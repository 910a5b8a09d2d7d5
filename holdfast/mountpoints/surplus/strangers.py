"""The mount namespaces of strangers: who answers for each, and how long its mount table is.

Reads /proc only, in an expendable child where a namespace has to be entered. Must never count one
as a stranger's of which that is not known for certain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from holdfast.errors import HoldfastError
from holdfast.late_dataclass import dataclass
from holdfast.model.mountpoint import MountPoint
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts.visitor import Owner, Visitor, foreign_owner, ways_to

_COUNT_SECONDS = 5.0
"""A table of 100 000 mounts (fs.mount-max, the most there may be) takes a tenth of a second."""


@dataclass(frozen=True)
class Stranger:
    """A mount namespace in a user namespace that is not ours."""

    owner: Owner
    table_length: int
    """How many mounts there are, of whatever file systems; 1 where that is not known."""


def strangers(points: Sequence[MountPoint]) -> dict[int, Stranger]:
    """Those among the namespaces of these mounts, by number. Blocks a few seconds at most."""
    with ways_to(points) as ways:
        owners = {}
        for number, way in ways.items():
            with suppress(OSError):  # not known: not a stranger's
                owner = foreign_owner(way)
                if owner is not None:
                    owners[number] = owner
        theirs = {number: ways[number] for number in owners}
        lengths: dict[int, int] = {}
        if theirs:
            with suppress(HoldfastError):
                lengths = in_expendable_child(
                    lambda: _lengths(theirs), _COUNT_SECONDS, "counting mounts of strangers"
                )
    return {number: Stranger(owners[number], lengths.get(number, 1)) for number in owners}


def _lengths(ways: Mapping[int, int]) -> dict[int, int]:
    """In the child."""
    visitor = Visitor()
    found = {}
    for number, way in ways.items():
        with suppress(OSError):
            visitor.enter(way)
            found[number] = visitor.table_length()
    return found
