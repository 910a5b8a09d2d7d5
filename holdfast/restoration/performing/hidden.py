"""Files that somebody made in the directories below the mounts while those were dismounted.

Where a mount point has no cover, other processes see its bare directory between dismount and
remount. The mount hides what they make there. It is not moved; the receipt names it. Looks at it
through a private view of the directory above, without mounts. Changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from holdfast.errors import HoldfastError
from holdfast.model.finding import Finding, Verdict
from holdfast.model.listing import first_of
from holdfast.model.mountpoint import MountPoint
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.beneath import open_beneath
from holdfast.system.mounts.mount_api import clone_tree, open_place
from holdfast.system.mounts.namespace import mount_namespace

_ANSWER_SECONDS = 5.0
_SHOWN = 5


def about_hidden(points: Sequence[MountPoint], since_seconds: float) -> list[Finding]:
    """What was made or changed below these mounts since then (Unix seconds), in our namespace.

    Blocks a few seconds where the storage around hangs; nothing is said of what cannot be seen.
    """
    own = mount_namespace(os.getpid())
    ids = {point.id for point in points}
    # What is mounted on the volume itself has nothing else beneath it.
    paths = {
        point.path: None for point in points if point.namespace == own and point.parent not in ids
    }
    found = []
    for path in paths:
        try:
            names = in_expendable_child(partial(_made, path, since_seconds), _ANSWER_SECONDS, path)
        except (HoldfastError, OSError):
            continue
        if names:
            found.append(_told(path, names))
    return found


def _made(path: str, since_seconds: float) -> list[str]:
    above, name = os.path.split(path)
    view = clone_tree(open_place(above))
    # Whoever owns the directory above may have put a link there meanwhile.
    folder = open_beneath(view, name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if entry.stat(follow_symlinks=False).st_ctime >= since_seconds
        )


def _told(path: str, names: Sequence[str]) -> Finding:
    above, name = os.path.split(path)
    return Finding(
        "made while it was away",
        Verdict.LIMITED,
        f"{first_of(names, _SHOWN)} in the directory below {path}",
        "A process that did not use the volume before found it empty. The mount hides that now.",
        f"mount --bind {above} DIRECTORY shows it, as DIRECTORY/{name}.",
    )
