"""Handles whose path no link tells, because it is too long: found by other means, else in the way.

An expendable child asks. Nothing on storage is touched.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from holdfast.applications.places import DELETED, Places, inside_of
from holdfast.applications.sighting import Sighting
from holdfast.errors import HoldfastError
from holdfast.model.handle import HandleKind
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts.visitor import ways_to
from holdfast.system.mounts.whole_path import WholePath, whole_paths

_SECONDS = 2.0
"""For all of them: some milliseconds for each that is as long as one that we keep."""

_TOO_LONG_BYTES = 4096
"""do_proc_readlink() of fs/proc/base.c has a page for the path and the zero behind it."""


def with_whole_paths(sightings: Sequence[Sighting], places: Places) -> list[Sighting]:
    """The same, with their paths; what has none (too long to be kept, a mount that cannot be
    copied) is `OTHER`. Blocks for two seconds at most."""
    found: list[WholePath | None] = [None] * len(sightings)
    if sightings:
        with suppress(HoldfastError, OSError), ways_to(places.wanted) as ways:
            namespaces = {mount.id: mount.namespace for mount in places.wanted}
            links = [each.link for each in sightings]
            work = partial(whole_paths, links, namespaces, ways)
            found = in_expendable_child(work, _SECONDS, "long paths")
    return [_told(each, answer, places) for each, answer in zip(sightings, found, strict=True)]


def _told(sighting: Sighting, answer: WholePath | None, places: Places) -> Sighting:
    handle = sighting.handle
    mount = places.by_id.get(answer.mount_id) if answer else None
    if answer is not None and mount is not None:
        path = _path(mount.path, mount.inside, answer)
        if path:
            path += DELETED if answer.is_gone else ""
            handle = replace(handle, path=path, mount_id=mount.id, inside=inside_of(mount, path))
            return sighting._replace(handle=handle, mount_known=True, is_beyond=False)
    return sighting._replace(handle=replace(handle, kind=HandleKind.OTHER), is_beyond=False)


def _path(mount: str, shows: str, found: WholePath) -> str:
    """As a link would tell it; empty where that cannot be: it would not be too long for one, or
    would look like that of something that is gone."""
    prefix = f"{shows}/" if shows else ""
    is_below = found.path.startswith(prefix)
    below = found.path.removeprefix(prefix) if is_below or found.is_gone else ""
    path = f"{mount.rstrip('/')}/{below}"
    if found.is_gone:
        return path
    is_too_long = len(os.fsencode(path)) >= _TOO_LONG_BYTES
    return path if below and is_too_long and not path.endswith(DELETED) else ""
