"""Replica: keeps a second tree like the first, pass by pass, each with only what changed.

Invariant: after a pass during which nothing wrote to the source, the copy equals it: names, links,
contents, holes, owners, modes, extended attributes, times. A name of the copy always leads to the
file that belongs to the inode its source had, so hard links and renames cost no copying. What lies
in the target and not in the source is removed. Must never write to the source.
"""

# Paths are bytes here, as the kernel has them.
# ruff: noqa: PTH102, PTH104, PTH106, PTH108, PTH115, PTH118, PTH208, PTH211

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from holdfast.restoration.copying.file import copy_attributes, copy_contents
from holdfast.restoration.copying.inode import copy_properties, give_late
from holdfast.restoration.copying.sharing import can_share
from holdfast.restoration.copying.tree import (
    Inode,
    Signature,
    Tree,
    differences,
    now_ns,
    walk,
)

ASIDE = b".holdfast-renamed"
"""Folder in the target where files wait that have another name in the source now."""

MADE_BY_MKFS = b"lost+found"
"""Of ext4, at the root: stays where the source has none."""

_LOST_SHOWN = 20
_KINDS_SHOWN = 30
SHARED_FILES = "files with shared extents"
SHARED_BYTES = "bytes of shared extents"
_SUBVOLUME_ROOT = 256
"""The inode number of every subvolume's root: BTRFS_FIRST_FREE_OBJECTID of <linux/btrfs_tree.h>."""

File = tuple[Inode, int]
"""An inode and its kind: numbers are used again."""


@dataclass
class PassResult:
    """What one pass did."""

    number: int
    seconds: float = 0.0
    entries: int = 0
    copied_files: int = 0
    written_bytes: int = 0
    lost: list[str] = field(default_factory=list)
    """What the target's file system could not keep, first ones only."""
    differences: list[str] = field(default_factory=list)
    """Of a verified pass: in what the copy is not like the source."""
    verified: bool = False


@dataclass
class Replica:
    """A copy of `source` in `target`; both are roots of private mounts."""

    source: bytes
    target: bytes
    sync_source: Callable[[], None]
    """Writes the source's dirty pages; see `tree` for why before reading."""
    known: Tree = field(default_factory=dict)
    """What the copy was made from: the signatures that were valid when it was read."""
    passes: int = 0
    _touched: set[bytes] = field(default_factory=set)
    _files: dict[File, bytes] = field(default_factory=dict)
    """Where in the target the file of a source inode is."""
    _late_flags: dict[bytes, int] = field(default_factory=dict)
    _lost: dict[bytes, list[str]] = field(default_factory=dict)
    """What the target could not keep of a name, in words."""
    _shared: dict[File, int] = field(default_factory=dict)
    """Bytes of a source file that other files have as well."""
    _sharing: bool = False

    def run_pass(
        self, progress: Callable[[float], None] = lambda percent: None, *, verify: bool = False
    ) -> PassResult:
        """Bring the copy up to date with the source as it was when this was called.

        With `verify` the two trees are compared afterwards. Raises OSError (ENOSPC and the like);
        files that vanish while they are read are left to the next pass.
        """
        self.passes += 1
        result = PassResult(self.passes)
        begun = time.monotonic()
        self._sharing = can_share(self.source)
        if not self.known:
            self._clear_target()
        wanted = walk(self.source)
        walked_ns = now_ns()
        self.sync_source()
        result.entries = len(wanted)
        self._remove_and_set_aside(wanted)
        self._copy(wanted, walked_ns, result, progress)
        self._finish_directories(wanted, result)
        if verify:
            # Setting times may not have been the last thing that changed a directory.
            result.differences = self._compare(wanted)
            result.verified = True
        result.seconds = time.monotonic() - begun
        progress(100.0)
        return result

    def set_late_flags(self) -> None:
        """Give the copies the inode flags (immutable, append only, …) of their sources.

        The last thing that is done: afterwards such files cannot be changed.
        """
        for path, flags in self._late_flags.items():
            lost = give_late(self._to(path), flags)
            if lost:
                self._lost[path] = [*self._lost.get(path, ()), *lost]

    def not_kept(self) -> dict[str, int]:
        """What the copy, as it is now, lacks: how many files have lost what, in words."""
        counts: Counter[str] = Counter()
        counted: set[tuple[File, str]] = set()
        for path, lost in self._lost.items():
            for words in lost if path in self.known else ():
                each = (_file(self.known[path]), words)
                if each not in counted:  # a file may have many names
                    counted.add(each)
                    counts[words] += 1
        shown = dict(counts.most_common(_KINDS_SHOWN))
        if len(counts) > len(shown):
            shown["other attributes"] = counts.total() - sum(shown.values())
        shared = [self._shared[file] for file in self._shared.keys() & self._files.keys()]
        if shared:
            shown[SHARED_FILES], shown[SHARED_BYTES] = len(shared), sum(shared)
        return shown

    def _clear_target(self) -> None:
        """A container that an interrupted migration had begun to fill starts from nothing."""
        for path in reversed(list(walk(self.target))):
            if path and path != MADE_BY_MKFS:
                self._unlink(path, stat.S_ISDIR(os.lstat(self._to(path)).st_mode))

    def _remove_and_set_aside(self, wanted: Tree) -> None:
        """Take names away that are gone or lead elsewhere; files that live on wait aside."""
        files = {_file(each) for each in wanted.values() if each.kind != stat.S_IFDIR}
        aside = self._to(ASIDE)
        # Children before their parents: a directory must be empty to go.
        for path in reversed(list(self.known)):
            old, new = self.known[path], wanted.get(path)
            if new is not None and new.inode == old.inode and new.kind == old.kind:
                continue
            is_directory = old.kind == stat.S_IFDIR
            file = _file(old)
            if not is_directory and file in files and self._files.get(file) == path:
                with suppress(FileExistsError):
                    os.mkdir(aside, 0o700)
                place = ASIDE + b"/%d" % len(os.listdir(aside))
                os.rename(self._to(path), self._to(place))
                self._files[file] = place
            else:
                self._unlink(path, is_directory)
                if self._files.get(file) == path:
                    del self._files[file]
            self._touch_parent(path)
            del self.known[path]
            self._late_flags.pop(path, None)
            self._lost.pop(path, None)

    def _copy(
        self,
        wanted: Tree,
        walked_ns: int,
        result: PassResult,
        progress: Callable[[float], None],
    ) -> None:
        changed = {path: new for path, new in wanted.items() if self._is_changed(path, new)}
        total = sum(each.size_bytes for each in changed.values()) + len(changed) * _ENTRY_BYTES
        done = 0
        shown = time.monotonic()
        for path, new in changed.items():
            try:
                self._copy_one(path, new, result)
                if new.is_settled(walked_ns) or new.kind == stat.S_IFLNK:
                    self.known[path] = new
                else:
                    self.known[path] = _unsettled(new)
            except FileNotFoundError:
                # Gone since the walk, or its parent: the next pass finds out which.
                if path in wanted and os.path.lexists(self._from(path)):
                    raise
                self.known.setdefault(path, _unsettled(new))
                if not os.path.lexists(self._to(path)):
                    del self.known[path]
            done += new.size_bytes + _ENTRY_BYTES
            if time.monotonic() - shown > _PROGRESS_SECONDS:
                shown = time.monotonic()
                progress(100.0 * done / total)
        if os.path.lexists(self._to(ASIDE)):
            self._empty_aside()
        self._files = {
            _file(each): path for path, each in self.known.items() if each.kind != stat.S_IFDIR
        }

    def _is_changed(self, path: bytes, new: Signature) -> bool:
        return self.known.get(path) != new

    def _copy_one(self, path: bytes, new: Signature, result: PassResult) -> None:
        target = self._to(path)
        exists = path in self.known
        if new.kind == stat.S_IFDIR:
            if path and not exists:
                with suppress(FileExistsError):  # lost+found
                    os.mkdir(target, 0o700)
                self._touch_parent(path)
            self._touched.add(path)
            return
        if exists and not self._is_same_special(path, path, new):
            os.unlink(target)  # the inode number was used again
            exists = False
        if not exists:
            self._touch_parent(path)
            place = self._files.get(_file(new))
            if place is not None and self._is_same_special(path, place, new):
                os.link(self._to(place), target, follow_symlinks=False)
                exists = True
        lost: list[str] = []
        if new.kind == stat.S_IFREG:
            sharing = self._sharing and not exists
            done = copy_contents(self._from(path), target, not exists, sharing)
            result.written_bytes += done.written_bytes
            result.copied_files += 1
            self._note_late_flags(path, done.properties.late_flags)
            if done.shared_bytes:
                self._shared[_file(new)] = done.shared_bytes
            lost = done.lost
        elif not exists:
            self._make_special(path, new)
            result.copied_files += 1
        self._files[_file(new)] = path
        lost = lost + copy_attributes(self._from(path), target, new)
        self._note_lost(path, lost, result)

    def _is_same_special(self, path: bytes, place: bytes, new: Signature) -> bool:
        """Whether what cannot be written to (link, device) is already as it must be."""
        if new.kind == stat.S_IFLNK:
            return os.readlink(self._from(path)) == os.readlink(self._to(place))
        if new.kind in (stat.S_IFBLK, stat.S_IFCHR):
            return os.lstat(self._to(place)).st_rdev == new.device_number
        return True

    def _make_special(self, path: bytes, new: Signature) -> None:
        target = self._to(path)
        if new.kind == stat.S_IFLNK:
            os.symlink(os.readlink(self._from(path)), target)
        else:
            os.mknod(target, new.kind | 0o600, new.device_number)

    def _finish_directories(self, wanted: Tree, result: PassResult) -> None:
        """Attributes of the directories in which anything changed, the deepest first."""
        for path in sorted(self._touched, key=lambda each: each.count(b"/"), reverse=True):
            new = wanted.get(path)
            if new is None or path not in self.known or new.kind != stat.S_IFDIR:
                continue
            with suppress(FileNotFoundError):
                properties, lost = copy_properties(self._from(path), self._to(path))
                self._note_late_flags(path, properties.late_flags)
                if path and new.inode == (path, _SUBVOLUME_ROOT):
                    lost.append("btrfs subvolume (a directory now)")
                lost += copy_attributes(self._from(path), self._to(path), new)
                self._note_lost(path, lost, result)
        self._touched.clear()

    def _compare(self, wanted: Tree) -> list[str]:
        copy = walk(self.target)
        if MADE_BY_MKFS not in wanted:
            copy.pop(MADE_BY_MKFS, None)
        return differences(wanted, copy)

    def _empty_aside(self) -> None:
        folder = self._to(ASIDE)
        for entry in os.listdir(folder):
            os.unlink(os.path.join(folder, entry))
        os.rmdir(folder)
        self._touched.add(b"")

    def _unlink(self, path: bytes, is_directory: bool) -> None:
        with suppress(FileNotFoundError):
            (os.rmdir if is_directory else os.unlink)(self._to(path))

    def _touch_parent(self, path: bytes) -> None:
        self._touched.add(path.rpartition(b"/")[0])

    def _note_late_flags(self, path: bytes, flags: int) -> None:
        if flags:
            self._late_flags[path] = flags
        else:
            self._late_flags.pop(path, None)

    def _note_lost(self, path: bytes, lost: list[str], result: PassResult) -> None:
        if lost:
            self._lost[path] = lost
        else:
            self._lost.pop(path, None)
        for words in lost[: _LOST_SHOWN - len(result.lost)]:
            result.lost.append(f"{os.fsdecode(path)}: {words}")

    def _from(self, path: bytes) -> bytes:
        return self.source + b"/" + path if path else self.source

    def _to(self, path: bytes) -> bytes:
        return self.target + b"/" + path if path else self.target


_ENTRY_BYTES = 4096
"""What a name counts in the progress beside its bytes."""
_PROGRESS_SECONDS = 0.1


def _file(signature: Signature) -> File:
    return signature.inode, signature.kind


def _unsettled(signature: Signature) -> Signature:
    """The signature with a change time that no file has: it counts as changed in the next pass."""
    return Signature(
        signature.inode, signature.mode, signature.user, signature.group, signature.size_bytes,
        signature.modified_ns, -1, signature.links, signature.device_number,
    )  # fmt: skip
