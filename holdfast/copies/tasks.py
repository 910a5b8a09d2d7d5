"""What is done with copies, each a whole: for children that can be given up.

Invariant: every error has a code, and says whether the image or the history failed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from holdfast.containers import image_behind, make_past, open_container
from holdfast.copies import images, moments, replaying
from holdfast.copies.work import Tell
from holdfast.errors import ContainerFailed
from holdfast.gate.members.superblock import container_bytes_needed
from holdfast.model.copy import VolumeCopy


def fill(copy: VolumeCopy, legs: Sequence[tuple[str, str]], tell: Tell) -> None:
    """Copy a volume from its legs in sync (id, URL), each of which stands in for the one before."""
    try:
        target = images.open_image(copy)
    except OSError as error:
        raise images.failed(error) from error
    sources: list[images.Source] = []
    for leg_id, url in legs:
        with suppress(OSError):
            leg = images.open_leg(url, copy.volume_id, leg_id)
            sources += [leg] if leg is not None else []
    if not sources:
        raise ContainerFailed("no leg in sync can be read by its name", "holdfast volume show.")
    images.fill([leg for leg, _ in sources], target, copy.size_bytes, tell)
    try:
        for source in sources:
            images.check_still(source)
    except OSError as error:
        raise images.failed(error) from error


def duplicate(copy: VolumeCopy, half: VolumeCopy, tell: Tell) -> None:
    """Give the image of a clone the bytes of a copy, and its own size."""
    try:
        with closing(images.open_image(copy, os.O_RDONLY)) as source:
            images.duplicate(source, half, tell)
            images.check_as_left(source, copy)
        open_container(half.url).grow(half.size_bytes)
    except OSError as error:
        raise images.failed(error) from error


def begin_view(copy: VolumeCopy, half: VolumeCopy) -> int:
    """Make the past view from which a clone is filled, with nothing but the copy; its inode.

    Durable. Raises Untrusted where the copy is not what was left, HoldsData, ContainerFailed.
    """
    needed = container_bytes_needed(half.size_bytes)
    try:
        image = images.open_image(copy, os.O_RDONLY)
        try:
            return make_past(half.url, needed, image_behind(copy.url), copy.size_bytes)
        finally:
            image.close()
    except OSError as error:
        raise images.failed(error) from error


def bring_view(half: VolumeCopy, path: Path, volume: bytes, target: int, tell: Tell) -> None:
    """Bring a past view from the position of its copy to a later one, to which there is a way."""
    try:
        view = open_container(half.url).open()
    except OSError as error:
        raise images.failed(error) from error
    try:
        view.take_requests_of(1)  # records lie anywhere in memory
        replaying.replay(path, volume, view, (half.position, target), half.size_bytes, tell)
    finally:
        view.close()  # a gate opens it before this process has ended


def position_at(path: Path, volume: bytes, when_ns: int, kept: int, tell: Tell) -> int:
    """As `moments.position_at`, of a history that is being written."""
    try:
        return moments.position_at(path, volume, when_ns, kept=kept, tell=tell)
    except OSError as error:
        raise replaying.history_failed(error) from error


def find_way(
    path: Path, volume: bytes, target: int, bases: Sequence[int], tell: Tell
) -> replaying.Way:
    """As `replaying.find_way`."""
    try:
        return replaying.find_way(path, volume, target, bases, tell)
    except OSError as error:
        raise replaying.history_failed(error) from error


def reach_of(
    path: Path, volume: bytes, copies: Sequence[tuple[int, int]], tell: Tell
) -> replaying.Reach:
    """As `replaying.reach_of`."""
    try:
        return replaying.reach_of(path, volume, copies, tell)
    except OSError as error:
        raise replaying.history_failed(error) from error


def bring(copy: VolumeCopy, path: Path, volume: bytes, places: tuple[int, int], tell: Tell) -> int:
    """Bring an image from its position to a later one, to which there is a way, and to a size; with
    room for the tail of a leg where it becomes one. `places`: both. What is noted of it then: see
    `VolumeCopy.written_ns`."""
    target, size_bytes = places
    needed = container_bytes_needed(size_bytes) if copy.becomes_leg else size_bytes
    try:
        image = images.open_image(copy)
        if image.size_bytes() < needed:
            open_container(copy.url).grow(needed)
        image.expect(size_bytes)
    except OSError as error:
        raise images.failed(error) from error
    with closing(image):  # who comes next opens it at once
        replaying.replay(path, volume, image, (copy.position, target), size_bytes, tell)
        try:
            return images.seal(image)
        except OSError as error:
            raise images.failed(error) from error


def take_back(copy: VolumeCopy, tell: Tell) -> int:
    """Make a copy of what was to become a leg and did not; what is noted of it then, as `bring`."""
    try:
        image = images.open_image(copy)
        if image.size_bytes() > copy.size_bytes:  # else its tail were data when the volume grows
            os.ftruncate(image.descriptor, copy.size_bytes)
        return images.seal(image)
    except OSError as error:
        raise images.failed(error) from error


def read_all(copy: VolumeCopy, tell: Tell) -> None:
    """Find out whether all of it can be read."""
    try:
        images.read_all(images.open_image(copy, os.O_RDONLY), tell)
    except OSError as error:
        raise images.failed(error) from error
