"""What one can ask of Holdfast about single files of a volume as it was at a moment.

Reached through `Holdfast.histories.files`. A clone is made that nobody sees: mounted in an
expendable child's own mount namespace, and removed again. Invariant: nothing of it is left; whoever
is killed leaves what `recover` removes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from holdfast.copies.work import Pace, Tell, carried_out
from holdfast.errors import ContainerFailed, InvalidOption, NoSuchFile, NotMounted
from holdfast.model.reporter import SILENT, Reporter
from holdfast.restoration.copying.past_files import (
    Brought,
    PastFile,
    entered,
    listed,
    put_back,
    put_into,
)
from holdfast.restoration.copying.past_places import Renamers
from holdfast.service.clones import Clones
from holdfast.service.host import Host
from holdfast.service.past_view import View, names_of
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.trusted import open_parent
from holdfast.system.mounts.mount_table import mount_at

Result = TypeVar("Result")

_LISTING_SECONDS = 60.0


class PastFiles:
    """Files of volumes as they were."""

    def __init__(self, host: Host, clones: Clones) -> None:
        self._host = host
        self._clones = clones

    def show(self, name: str, when: str, path: str, reporter: Reporter = SILENT) -> list[PastFile]:
        """What was at that path of the volume: the names in a directory, else itself.

        Raises what `Clones.plan` does, and NoSuchFile.
        """
        names = names_of(self._host.volume(name).mount.path, path)
        with self._clones.hidden(name, when, reporter) as hidden:
            reporter.say("look")
            work = partial(_seeing, hidden, partial(listed, names=names))
            return in_expendable_child(work, _LISTING_SECONDS, hidden.image)

    def restore(
        self, name: str, when: str, path: str, into: str = "", reporter: Reporter = SILENT
    ) -> Brought:
        """Put a file, or a directory with all that is below, back in its place, or into another.

        A file that is there is written in place, so that whoever has it open sees it. What is there
        and was not is left alone. Durable; killed in between, the same call goes on. Raises what
        `show` does, and Untrusted.
        """
        names = names_of(self._host.volume(name).mount.path, path)
        if not names:
            raise InvalidOption(f"{path!r} is the whole volume", "Name what is to come back.")
        mount_path = self._host.volume(name).mount.path
        with self._clones.hidden(name, when, reporter) as hidden:
            reporter.say("put it back")
            view = partial(_seeing, hidden)
            work = partial(_restoring, view, names, mount_path, into)
            return carried_out(work, reporter, mount_path)


# In expendable children: these touch storage.


def _seeing(view: View, look: Callable[[int], Result]) -> Result:
    """What `look` finds at the root of a view that only this child has mounted."""
    try:
        return view.show(look)
    except FileNotFoundError as error:
        raise NoSuchFile(
            "there was nothing at that path then", "Name another path, or another moment."
        ) from error
    except OSError as error:
        raise ContainerFailed(
            f"it was not to be had: {error.strerror}",
            "holdfast files … ls shows what was there; restore --into DIRECTORY puts it elsewhere.",
        ) from error


def _restoring(
    view: Callable[[Callable[[int], Brought]], Brought],
    names: list[bytes],
    mount_path: str,
    into: str,
    tell: Tell,
) -> Brought:
    tell(0.0)
    pace = Pace(tell, 1)  # nobody knows yet how much it is
    present = os.open(mount_path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    there = mount_at(mount_path)
    device = os.fstat(present).st_dev
    if there is None or there.device_number != f"{os.major(device)}:{os.minor(device)}":
        raise NotMounted(f"the volume is not mounted at {mount_path}", "Attach it.")
    if not into:
        return view(lambda root: put_back(root, names, present, lambda: pace.done(0)))
    directory, renamers = _directory(into, mount_path, present)
    return view(lambda root: put_into(root, names, directory, renamers, lambda: pace.done(0)))


def _directory(into: str, mount_path: str, present: int) -> tuple[int, Renamers | None]:
    """The directory that was named: below the volume, and who can exchange it, or where
    strangers cannot."""
    path = os.path.normpath(into)
    if not path.startswith("/"):
        raise InvalidOption(f"{into!r} is not an absolute path", "Write it from the root.")
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        if path == mount_path or path.startswith(f"{mount_path}/"):
            below = os.fsencode(path.removeprefix(mount_path)).split(b"/")
            return entered(present, [each for each in below if each])
        with open_parent(Path(path)) as (folder, name):
            found = os.open(name, flags | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        raise InvalidOption(
            f"{into} cannot be used: {error.strerror}", "Name a directory that is there."
        ) from error
    if not stat.S_ISDIR(os.fstat(found).st_mode):
        raise InvalidOption(f"{into} is no directory", "Name a directory that is there.")
    return found, None
