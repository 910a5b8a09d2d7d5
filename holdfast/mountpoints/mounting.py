"""Mounting a volume at its path, whoever may exchange what lies on the way to that.

Invariant: where others can change the way no link is followed, and what was opened then is what is
mounted on, and what gets its owner; nothing is looked up twice. Blocks in expendable children only.
"""

from __future__ import annotations

import errno
import os
from functools import partial

from holdfast.errors import InvalidOption, Untrusted
from holdfast.mountpoints.private_mount import REMOUNT_SECONDS
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.children.run import run
from holdfast.system.files.beneath import path_to
from holdfast.system.files.trusted import is_own_directory, mount_behind
from holdfast.system.mounts.mount_api import open_place
from holdfast.system.mounts.mount_table import mount


def mount_at_path(source: str, path: str, filesystem: str, options: str = "") -> None:
    """Mount there, where a directory is. Raises CommandFailed with the words of mount(8),
    InvalidOption for somebody else's link, OSError, DeadlinePassed."""
    if in_expendable_child(partial(is_own_directory, path, private=False), doing=path):
        mount(source, path, filesystem, options)
        return
    work = partial(_mount_on_what_is_there, source, path, filesystem, options)
    in_expendable_child(work, REMOUNT_SECONDS, path)


def give_root(path: str, source: str, owner: tuple[int, int], mode: int) -> None:
    """Give the root of what was mounted there from that device an owner and a mode; durable.

    Raises Untrusted when something else is there, OSError. For expendable children.
    """
    place = open_place(path)
    try:
        mounted = mount_behind(place)
        if mounted is None or mounted.source != source or mounted.path != path:
            raise Untrusted(
                f"{path} leads to something else than what was mounted there just now",
                "Find out who exchanged a directory on the way to it.",
            )
        os.chown(path_to(place), *owner)
        os.chmod(path_to(place), mode)  # noqa: PTH101
        root = os.open(path_to(place), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(root)
        finally:
            os.close(root)
    finally:
        os.close(place)


def _mount_on_what_is_there(source: str, path: str, filesystem: str, options: str) -> None:
    """In a child."""
    try:
        place = open_place(path)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InvalidOption(
            f"a symbolic link leads to {path}, in a place that others can change",
            "Make it a directory, or the directories above it root's.",
        ) from None
    command = ["mount", "--no-canonicalize", "--no-mtab", "-t", filesystem]
    if options:
        command += ["-o", options]
    run(
        [*command, "--", source, f"/proc/{os.getpid()}/fd/{place}"],
        deadline_seconds=REMOUNT_SECONDS,
    )
