"""What the process that copies has open, and what it can be told to do.

Owns the private mounts of source and target. Invariant: once told to leave the source it keeps
nothing of it. Answers are JSON values.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.parking.placed_contents import OpenFile, copy_ahead
from holdfast.restoration.copying.passes import Replica
from holdfast.restoration.copying.sides import CopySource, CopyTarget
from holdfast.restoration.copying.trees.locating import Question, locate
from holdfast.system.files.syncfs import sync_file_system
from holdfast.system.mounts.detached import mount_detached
from holdfast.system.mounts.mount_api import attributes_of, clone_tree, open_place, set_attributes
from holdfast.system.storage.filesystem import make_filesystem
from holdfast.system.storage.loop import attach_private_loop

Progress = Callable[[float], None]
"""Told how many percent of a pass are done."""

_PRIVATE = attributes_of("rw,nosuid,nodev,noexec,noatime,nosymfollow")
_UNTOUCHED = attributes_of("ro,nosuid,nodev,noexec,noatime,nosymfollow")
"""The views through which we see either side: nothing is run from them, no link leads anywhere, and
looking at the source leaves no trace in it."""


class CopyWorker:
    """What the child has open, and what it can be told to do; answers are JSON values."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._source = self._target = self._loop = self._image = -1
        self._replica: Replica | None = None
        self._filesystem = ""
        self._is_read_only = False

    def start(self, source: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
        """Attach, make and mount."""
        wanted = CopyTarget(**target)
        device, self._loop = attach_private_loop(
            wanted.path, wanted.size_bytes, sector_bytes=wanted.sector_bytes
        )
        if wanted.make:
            make_filesystem(wanted.filesystem, device, wanted.label, wanted.uuid)
        options = _by_name(wanted.options)
        self._target = mount_detached(wanted.filesystem, options, source=device)
        set_attributes(self._target, _PRIVATE)
        self._filesystem = wanted.filesystem
        self.source(source)
        return {"device": device}

    def source(self, source: dict[str, Any]) -> dict[str, Any]:
        """Mount the source, or look at what is mounted."""
        wanted = CopySource(**source)
        if wanted.path:
            self._source = _clone(wanted.path)
        else:
            device = wanted.device
            if wanted.is_image:
                device, self._image = attach_private_loop(
                    wanted.device,
                    wanted.size_bytes,
                    offset_bytes=wanted.offset_bytes,
                    sector_bytes=wanted.sector_bytes,
                    read_only=True,
                )
            options = _by_name(wanted.options)
            self._source = mount_detached(
                wanted.filesystem, options, source=device, read_only=wanted.read_only
            )
        self._is_read_only = bool(os.fstatvfs(self._source).f_flag & os.ST_RDONLY)
        set_attributes(self._source, _UNTOUCHED)
        root = _root(self._source)
        if self._replica is None:
            target = _root(self._target)
            self._replica = Replica(root, target, self._sync_source, self._filesystem)
        else:
            self._replica.take_source(root)
        return {}

    def leave(self) -> dict[str, Any]:
        """Close the source."""
        for descriptor in (self._source, self._image):
            if descriptor >= 0:
                os.close(descriptor)
        self._source = self._image = -1
        return {}

    def locate(self, questions: list[Question]) -> dict[str, Any]:
        """Find where the copies of inodes are."""
        assert self._replica is not None
        source = self._source if self._source >= 0 else None
        return {"places": locate(self._replica.known, source, self._target, questions)}

    def finish(self) -> dict[str, Any]:
        """Flags, sync, and everything closed: the kernel lets go before the answer is sent."""
        assert self._replica is not None
        self._replica.set_late_flags()
        _sync(self._target)
        self.leave()
        os.close(self._target)
        os.close(self._loop)
        self._target = self._loop = -1
        return {"not_kept": self._replica.not_kept()}

    def _sync_source(self) -> None:
        if not self._is_read_only:
            _sync(self._source)

    def run(self, verify: bool) -> dict[str, Any]:
        """One pass. Written to storage at once: not left to the time when everybody waits, and
        what storage refuses is known before."""
        assert self._replica is not None
        begun = time.monotonic()
        result = self._replica.run_pass(self._progress, verify=verify)
        _sync(self._target)
        result.seconds = time.monotonic() - begun
        return asdict(result)

    def ahead(
        self, directory: str, files: list[dict[str, Any]], onto_target: bool
    ) -> dict[str, Any]:
        """Copy what must be carried over; written to storage at once, as a pass is."""
        assert self._replica is not None
        begun = time.monotonic()
        wanted = [OpenFile(**each) for each in files]
        done = copy_ahead(Path(directory), wanted, self._target if onto_target else None)
        self._replica.folder_of_ours = done.folder.encode()
        if done.folder:
            _sync(self._target)
        return {"ahead": asdict(done), "seconds": time.monotonic() - begun}


def _clone(path: str) -> int:
    """A view of what is mounted at the path, without the mounts below; caller closes.

    The path has no links in it: whoever puts one there now cannot lead us elsewhere.
    """
    place = open_place(path)
    try:
        return clone_tree(place)
    finally:
        os.close(place)


def _by_name(options: str) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in options.split(",") if word)


def _root(mount: int) -> bytes:
    return b"/proc/self/fd/%d/." % mount


def _sync(mount: int) -> None:
    """Through a descriptor of its own: the mount's is O_PATH."""
    root = os.open(_root(mount), os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync_file_system(root)
    finally:
        os.close(root)
