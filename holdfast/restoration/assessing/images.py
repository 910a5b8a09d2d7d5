"""The images below a volume: what keeps them from being found, or opened, after a dismount.

Facts in, findings out. Asks their storage in expendable children only; changes nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from functools import partial

from holdfast.adopted.nameless_image import nameless_image
from holdfast.adopted.source import source_of
from holdfast.containers import image_behind
from holdfast.errors import HoldfastError
from holdfast.model.finding import Finding, Verdict
from holdfast.model.plan import Strategy
from holdfast.restoration.assessing.facts import ANSWER_SECONDS, Facts
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.beneath import reopen

_CLOSED = (errno.EPERM, errno.EACCES, errno.EROFS)
"""`chattr +i` or +a, a security module, storage that turned read-only."""


def about_nameless(facts: Facts) -> Sequence[Finding]:
    """Refuse to put away an image that only its loop device leads to; it can be moved."""
    if facts.is_dead or not facts.request.volume.is_adopted:
        return ()
    image = nameless_image(facts.points[-1])
    if not image:
        return ()
    away = facts.request.strategy is Strategy.DETACH
    return [
        Finding(
            "image without a name", Verdict.BLOCKS if away else Verdict.LIMITED,
            f"{image} was deleted, or replaced by another file, while it is mounted",
            f"{facts.points[-1].source} alone leads to its data, until the next boot or losetup"
            " --detach, also when the volume was moved.",
            f"holdfast migrate {facts.request.volume.name} file:/another.img",
        )
    ]  # fmt: skip


def about_filling(facts: Facts) -> Sequence[Finding]:
    """Refuse to dismount a clone that is filled: its gate would go, and what it reads from stay."""
    if not (facts.copies_files and facts.request.is_filled):
        return ()
    name = facts.request.volume.name
    return [
        Finding(
            "clone", Verdict.BLOCKS, f"{name} is a clone that is being filled", "",
            f"Wait until it is: holdfast volume show {name} says how far that is.",
        )
    ]  # fmt: skip


def about_opening_again(facts: Facts) -> Sequence[Finding]:
    """Refuse what would let go of an image that cannot be opened for writing again: neither the
    way on nor the way back would mount it. Of several legs, one of which is in sync and opens,
    those that do not are told."""
    volume, in_sync = facts.request.volume, facts.request.legs_in_sync
    if facts.is_broken or (facts.request.in_place and volume.is_adopted):  # in_place asks, too
        return ()
    closed = [(image, why) for image in _written_images(facts) if (why := _why_closed(image))]
    left = (len(volume.leg_urls) if in_sync is None else in_sync) - len(closed)
    alone = volume.is_adopted or left <= 0
    return [
        Finding(
            image, Verdict.BLOCKS if alone else Verdict.LIMITED,
            f"{image} is in use, and does not open for writing again: {why}",
            "Once let go of, it could not be mounted any more." if alone else
            "Once let go of, this leg stays away.",
            f"lsattr {image} shows whether it was made immutable: chattr -i {image}",
        )
        for image, why in closed
    ]  # fmt: skip


def _written_images(facts: Facts) -> list[str]:
    """Those below the volume that are opened for writing when it is mounted."""
    volume = facts.request.volume
    if not volume.is_adopted:
        return [image for url in volume.leg_urls if (image := image_behind(url))]
    url, loop_options = source_of(facts.points[-1])
    image = image_behind(url)
    if not image or "ro" in loop_options.split(",") or nameless_image(facts.points[-1]):
        return []
    return [image]


def _why_closed(image: str) -> str:
    """Why it does not open for writing, in words; empty: it does, or something else is wrong."""
    try:
        return in_expendable_child(partial(_try_to_open, image), ANSWER_SECONDS, image)
    except (HoldfastError, OSError):
        return ""


def _try_to_open(image: str) -> str:
    place = os.open(image, os.O_PATH | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(place).st_mode):  # opening a device may do something
        return ""
    try:
        os.close(reopen(place, os.O_RDWR | os.O_NONBLOCK))
    except OSError as error:
        return os.strerror(error.errno) if error.errno in _CLOSED else ""
    return ""
