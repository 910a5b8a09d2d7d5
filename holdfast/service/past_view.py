"""An image of a volume as it was: looked into where nobody else sees it."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

from holdfast.containers import image_behind
from holdfast.copies import images
from holdfast.errors import CommandFailed, ContainerFailed, InvalidOption, Untrusted
from holdfast.model.copy import ClonePlan, VolumeCopy
from holdfast.model.reporter import SILENT, Reporter
from holdfast.mountpoints.private_mount import mount_privately
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.visitor import Visitor

Result = TypeVar("Result")

_HARMLESS = "ro,nosuid,nodev,noexec,noatime"
_MOUNT_SECONDS = 60.0
"""As mountpoints.private_mount.REMOUNT_SECONDS: the file system's journal is replayed."""


class View(NamedTuple):
    """A volume as it was, that nobody sees."""

    made: VolumeCopy
    filesystem: str
    options: str
    """To mount it with."""
    plan: ClonePlan
    """What it was made from."""

    @property
    def image(self) -> str:
        """Its path."""
        return image_behind(self.made.url)

    def show(self, look: Callable[[int], Result]) -> Result:
        """What `look` finds at its root, mounted by this process alone: an expendable child."""
        root = mount_privately(Visitor(), self.image, self.filesystem, self.options)
        mount_api.set_attributes(root, mount_api.attributes_of(_HARMLESS))
        return look(root)

    def bring_to_rest(self, reporter: Reporter = SILENT) -> None:
        """Replay the journal of its file system, so that it can be read without being written.

        Raises Untrusted where it is not what was made, ContainerFailed where it cannot be mounted.
        """
        reporter.say("bring its file system to rest")
        try:
            in_expendable_child(partial(self.show, os.close), _MOUNT_SECONDS, self.image)
        except CommandFailed as error:
            self._check()
            raise ContainerFailed(
                f"what it was at that moment cannot be mounted: {error.message}",
                f"Name another moment; holdfast copy verify {self.made.volume} COPY reads copy and"
                " history.",
            ) from error
        self._check()

    def _check(self) -> None:
        fault = in_expendable_child(partial(images.fault_of, self.made), doing=self.image)
        if fault:
            raise Untrusted(f"{self.image}: {fault}", "Look who has done that, then try again.")


def options_of_image(filesystem: str, wanted: str) -> str:
    """Of an image; two file systems with one UUID are mounted."""
    more = "nouuid" if filesystem == "xfs" else ""
    return ",".join(filter(None, ("loop", wanted, more)))


def names_of(mount_path: str, path: str) -> list[bytes]:
    """The names of a path in the volume, as it is seen by people or from its own root.

    Raises InvalidOption.
    """
    inside = path
    if path == mount_path or path.startswith(f"{mount_path}/"):
        inside = path.removeprefix(mount_path)
    names = [each for each in os.fsencode(inside).split(b"/") if each not in (b"", b".")]
    if b".." in names or b"\0" in os.fsencode(inside):
        raise InvalidOption(f"{path!r} is no path in the volume", "Write it without '..'.")
    return names
