"""Overlays that keep a file system busy after every dismount: with a layer on it.

What those stand on whose layers have no absolute path shows in no table. They were mounted with
paths relative to a directory (docker with many layers) or to a descriptor (podman).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from holdfast.errors import HoldfastError
from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.messages.printable import printable
from holdfast.system.mounts.all_namespaces import all_mount_points
from holdfast.system.mounts.mount_table import is_under
from holdfast.system.storage.overlay_layers import named_layers, origins_of

_TOLD = re.compile(r"^(?!.*(?:lowerdir\+?|upperdir|datadir\+?)=(?:[^/]|/proc/))")
"""Options of an overlay of which every first layer is an absolute path, and none a descriptor."""
_ANSWER_SECONDS = 2.0


def overlays_without_names() -> list[MountPoint]:
    """Each once, in every mount namespace. Does not block."""
    found = {
        each.device: each
        for each in all_mount_points()
        if each.filesystem == "overlay" and not _TOLD.search(each.super_options)
    }
    return list(found.values())


def overlays_on(points: Sequence[MountPoint]) -> list[tuple[MountPoint, str]]:
    """Those of which a layer has a path below one of these, mounted or not, with that layer; each
    once, in every mount namespace. Does not block."""
    found = {
        each.device: (each, layer)
        for each in all_mount_points()
        if each.filesystem == "overlay"
        for layer in named_layers(each.super_options)
        if any(is_under(layer, point.path) for point in points)
    }
    return list(found.values())


def about_nameless_layers(uuid: str) -> Sequence[Finding]:
    """Findings on those with a layer on the file system of this UUID, as far as the kernel tells.

    Blocks for seconds where the storage of such an overlay hangs.
    """
    if not uuid:
        return ()
    return [
        Finding(
            "the kernel's overlay", Verdict.BLOCKS,
            f"overlay mounted at {printable(each.path)}, with a layer on this volume that it names"
            " by no absolute path",
            "It keeps the file system busy, and no process can be stopped for it.",
            "Dismount it: umount, or end the container that it belongs to.",
        )
        for each in overlays_without_names()
        if uuid in _origins(each)
    ]  # fmt: skip


def _origins(overlay: MountPoint) -> set[str]:
    try:
        return in_expendable_child(lambda: _ask(overlay), _ANSWER_SECONDS, overlay.path)
    except (HoldfastError, OSError):
        return set()  # the dismount finds it, and undoes everything


def _ask(overlay: MountPoint) -> set[str]:
    place = os.open(f"/proc/{overlay.witness_pid}/root{overlay.path}", os.O_PATH | os.O_CLOEXEC)
    try:
        number = os.fstat(place).st_dev
        if f"{os.major(number)}:{os.minor(number)}" != overlay.device:
            return set()  # it is covered by another mount
        return origins_of(place)
    finally:
        os.close(place)
