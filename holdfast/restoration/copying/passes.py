"""Replica: keeps a second tree equal to the first. Each pass copies only what changed.

Invariant: after a pass during which nobody wrote to the source, the copy equals it: names, links,
contents, holes, owners, modes, extended attributes, times. A name of the copy leads to the file
that belongs to its source's inode, so hard links and renames need no copying. What is in the target
but not in the source is removed. Contents and attributes of a file come from one descriptor, see
walked_source. Must never write to the source, nor open anything in it but regular files and
directories.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import field, replace

from holdfast.late_dataclass import dataclass
from holdfast.restoration.copying.inodes.attributes import copy_attributes
from holdfast.restoration.copying.inodes.file import copy_contents
from holdfast.restoration.copying.inodes.inode import give, give_late, properties_of
from holdfast.restoration.copying.inodes.sharing import can_share
from holdfast.restoration.copying.limits import check_limits
from holdfast.restoration.copying.losses import File, Losses, file_of
from holdfast.restoration.copying.target_names import MADE_BY_MKFS, TargetNames
from holdfast.restoration.copying.trees.folders import Folders
from holdfast.restoration.copying.trees.moves import moves
from holdfast.restoration.copying.trees.tree import Signature, Tree, differences, walk
from holdfast.restoration.copying.trees.walked_source import Elsewhere, Leased, WalkedSource
from holdfast.system.files.beneath import reopen
from holdfast.system.files.change_times import now_ns
from holdfast.system.files.leases import Leases

_LOST_SHOWN = 20
_ENTRY_BYTES = 4096
"""What a name counts in the progress beside its bytes."""
_PROGRESS_SECONDS = 0.1


@dataclass
class PassResult:
    """What one pass did."""

    number: int
    seconds: float = 0.0
    entries: int = 0
    copied_files: int = 0
    written_bytes: int = 0
    missed_files: int = 0
    """Something else was at their paths when they were to be read: of a directory that was renamed
    after it was walked, all."""
    leased_files: int = 0
    """Not read, because somebody has a lease on them."""
    leased_bytes: int = 0
    leased: list[str] = field(default_factory=list)
    """First ones only."""
    lost: list[str] = field(default_factory=list)
    """What the target's file system could not keep, first ones only."""
    differences: list[str] = field(default_factory=list)
    """Of a verified pass: in what the copy is not like the source."""
    verified: bool = False


class Replica:
    """A copy of what is below one root in another; both are roots of private mounts."""

    def __init__(
        self, source: bytes, target: bytes, sync_source: Callable[[], None], filesystem: str = ""
    ) -> None:
        """`sync_source` writes the source's dirty pages: see `tree` for why before reading.

        `filesystem`: the target's type, where it is known.
        """
        self.known: Tree = {}
        """What the copy was made from: the signatures that were valid when it was read; parents
        first."""
        self.passes = 0
        self.source, self.target = source, target
        self._sync_source = sync_source
        self._filesystem = filesystem
        self.folder_of_ours = b""
        """At the target's root: what lies there is no part of the copy."""
        self._leases = Leases()
        self._losses = Losses()
        self._touched: set[bytes] = set()
        self._files: dict[File, bytes] = {}
        """Where in the target the file of a source inode is."""
        self._sharing = False
        self._source: WalkedSource
        self._target: Folders
        self._names: TargetNames

    def take_source(self, source: bytes) -> None:
        """Go on from another view of the same files, where nobody has any of them open."""
        self.source = source
        self._leases = Leases()

    def run_pass(
        self, progress: Callable[[float], None] = lambda percent: None, *, verify: bool = False
    ) -> PassResult:
        """Bring the copy up to date with the source as it was when this was called.

        With `verify` the two trees are compared afterwards. Raises OSError (ENOSPC and the like),
        Blocked or TooSmall for what the target's file system cannot hold, before anything is
        copied; files that vanish or change their kind meanwhile are left to the next pass.
        """
        self.passes += 1
        result = PassResult(self.passes)
        begun = time.monotonic()
        with self._opened() as source:
            self._sharing = can_share(source.root)
            walked = walk(source)
            self._source = WalkedSource(source, walked, self._leases)
            wanted = walked.tree
            walked_ns = now_ns()
            check_limits(wanted, self._target.root, self._filesystem)
            self._touched.add(b"")
            self._sync_source()
            result.entries = len(wanted)
            if not self.known:
                self._names.clear(walk(self._target).tree, wanted)
            self._make_directories(wanted, self._move(wanted))
            self._copy(wanted, walked_ns, result, progress)
            self._finish_directories(wanted, result)
            if verify:
                # Setting times may not have been the last thing that changed a directory.
                result.differences = self._compare(wanted)
                result.verified = True
        result.seconds = time.monotonic() - begun
        progress(100.0)
        return result

    @contextmanager
    def _opened(self) -> Iterator[Folders]:
        """The source's; nothing of either side is held between two passes."""
        with closing(Folders(self.source)) as source, closing(TargetNames(self.target)) as names:
            self._target = names.folders
            self._names = names
            yield source

    def set_late_flags(self) -> None:
        """Give the copies the inode flags (immutable, append only, …) of their sources.

        The last thing that is done: afterwards such files cannot be changed.
        """
        with closing(Folders(self.target)) as folders:
            self._give_late_flags(folders)

    def _give_late_flags(self, folders: Folders) -> None:
        for path, flags in self._losses.late_flags.items():
            with folders.opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
                self._losses.note_more(path, give_late(descriptor, flags))

    def not_kept(self) -> dict[str, int]:
        """What the copy, as it is now, lacks: how many files have lost what, in words."""
        return self._losses.count(self.known)

    def _move(self, wanted: Tree) -> dict[bytes, bytes]:
        """Remove names that are gone or lead to something else; put what was renamed aside.

        Where the directories were put aside, by the path that they are to have.
        """
        plan = moves(self.known, wanted)
        aside = {path: self._names.set_aside(path, wanted) for path, _ in plan.renamed}
        for path, place in plan.renamed:
            self._touch_parent(path)
            self._touched.add(place)
        files = {file_of(each) for each in wanted.values() if each.kind != stat.S_IFDIR}
        self._files = {
            file_of(self.known[path]): place
            for path, place in plan.after.items()
            if self.known[path].kind != stat.S_IFDIR
        }
        for path, carrier in plan.gone:
            old = self.known[path]
            place = aside[carrier] + path[len(carrier) :] if carrier else path
            file = file_of(old)
            if old.kind != stat.S_IFDIR and file in files and file not in self._files:
                self._files[file] = self._names.set_aside(place, wanted)
            else:
                self._names.remove(place, old.kind == stat.S_IFDIR)
            self._touch_parent(path)
        self.known = {place: self.known[path] for path, place in plan.after.items()}
        self._losses.rename(plan.after)
        return {place: aside[path] for path, place in plan.renamed}

    def _make_directories(self, wanted: Tree, waiting: dict[bytes, bytes]) -> None:
        """New ones are made, those that were renamed get their place."""
        for path, new in wanted.items():
            if new.kind != stat.S_IFDIR or not path:
                continue
            if path in waiting:
                self._names.rename(waiting[path], path)
            elif path not in self.known:
                self._names.make_directory(path)
                self.known[path] = _unsettled(new)
            else:
                continue
            self._touch_parent(path)
            self._touched.add(path)

    def _copy(
        self,
        wanted: Tree,
        walked_ns: int,
        result: PassResult,
        progress: Callable[[float], None],
    ) -> None:
        changed = {path: new for path, new in wanted.items() if self.known.get(path) != new}
        total = sum(each.size_bytes for each in changed.values()) + len(changed) * _ENTRY_BYTES
        done = 0
        shown = time.monotonic()
        for path, new in changed.items():
            try:
                if new.kind == stat.S_IFDIR:
                    self._touched.add(path)
                    is_same = True
                else:
                    is_same = self._copy_one(path, new, result)
                if is_same and (new.is_settled(walked_ns) or new.kind == stat.S_IFLNK):
                    self.known[path] = new
                else:
                    self.known[path] = _unsettled(new)
            except Elsewhere:
                result.missed_files += 1
            except Leased:
                result.leased_files += 1
                result.leased_bytes += new.size_bytes
                if len(result.leased) < _LOST_SHOWN:
                    result.leased.append(os.fsdecode(path))
            except OSError as error:
                raise OSError(error.errno, error.strerror, path) from error
            done += new.size_bytes + _ENTRY_BYTES
            if time.monotonic() - shown > _PROGRESS_SECONDS:
                shown = time.monotonic()
                progress(100.0 * done / total)
        if self._names.end_waiting():
            self._touched.add(b"")
        self.known = {path: self.known[path] for path in wanted if path in self.known}

    def _copy_one(self, path: bytes, new: Signature, result: PassResult) -> bool:
        """Whether it is as it was when it was walked. Raises Elsewhere, Leased, OSError.

        Whenever this is left, `known` says which names are in the copy.
        """
        with self._source.found(path, new) as (source, before):
            is_same = self._source.is_as_walked(before, new)
            leads_to = os.readlink(b"", dir_fd=source) if new.kind == stat.S_IFLNK else b""
            if path in self.known and not self._is_same_special(path, new, leads_to):
                self._names.remove(path, False)  # the inode number was used again
                del self.known[path]
            if path not in self.known:
                self._names.make_room(path)
            exists = path in self.known or self._link(path, new, leads_to)
            if new.kind == stat.S_IFREG:
                return self._copy_file(path, new, source, before, exists, result) and is_same
            if not exists:
                self._touch_parent(path)
                if new.kind == stat.S_IFLNK:
                    self._names.make_link(path, leads_to)
                else:
                    self._names.make_special(path, new.kind, new.device_number)
                self._note_name(path, new)
                result.copied_files += 1
            with self._target.opened(path, os.O_PATH) as target:
                lost = copy_attributes(source, target, before, new.modified_ns, with_rights=True)
            self._note_lost(path, lost, result)
            return is_same

    def _copy_file(
        self,
        path: bytes,
        new: Signature,
        source: int,
        before: os.stat_result,
        exists: bool,
        result: PassResult,
    ) -> bool:
        with self._source.reading(source, before) as reading:
            flags = os.O_RDWR | (0 if exists else os.O_CREAT | os.O_EXCL)
            with self._target.opened(path, flags, 0 if exists else 0o600) as writing:
                if not exists:
                    self._touch_parent(path)
                    self._note_name(path, new)
                sharing = self._sharing and not exists
                done = copy_contents(reading, writing, not exists, sharing)
                # Rights belong to contents: only to those that were there all the time.
                is_same = os.fstat(reading).st_ctime_ns == before.st_ctime_ns
                lost = copy_attributes(
                    reading, writing, before, new.modified_ns, with_rights=is_same
                )
        result.written_bytes += done.written_bytes
        result.copied_files += 1
        self._losses.note_late_flags(path, done.properties.late_flags)
        if done.shared_bytes:
            self._losses.shared[file_of(new)] = done.shared_bytes
        self._note_lost(path, done.lost + lost, result)
        return is_same

    def _link(self, path: bytes, new: Signature, leads_to: bytes) -> bool:
        """Give a file that is in the copy already this name; whether there was one."""
        place = self._files.get(file_of(new))
        if place is None or not self._is_same_special(place, new, leads_to):
            return False
        self._names.link(place, path)
        self._touch_parent(path)
        self._note_name(path, new)
        return True

    def _note_name(self, path: bytes, new: Signature) -> None:
        self.known[path] = _unsettled(new)
        self._files[file_of(new)] = path

    def _is_same_special(self, place: bytes, new: Signature, leads_to: bytes) -> bool:
        """Whether what cannot be written to (link, device) is already as it must be."""
        if new.kind == stat.S_IFLNK:
            return self._names.read_link(place) == leads_to
        if new.kind in (stat.S_IFBLK, stat.S_IFCHR):
            return self._names.status_of(place).st_rdev == new.device_number
        return True

    def _finish_directories(self, wanted: Tree, result: PassResult) -> None:
        """Set the attributes of the directories in which anything changed, children first."""
        for path in reversed([path for path in wanted if path in self._touched]):
            new = wanted[path]
            if path not in self.known or new.kind != stat.S_IFDIR:
                continue
            try:
                self._finish_directory(path, new, result)
            except Elsewhere:
                self.known[path] = _unsettled(new)
            except OSError as error:
                raise OSError(error.errno, error.strerror, path) from error
        self._touched.clear()

    def _finish_directory(self, path: bytes, new: Signature, result: PassResult) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY
        with self._source.found(path, new) as (source, before):
            reading = reopen(source, flags | os.O_NOATIME)
            try:
                properties = properties_of(reading)
            finally:
                os.close(reading)
            with self._target.opened(path, flags) as target:
                lost = give(target, properties)
                self._losses.note_late_flags(path, properties.late_flags)
                if self._source.is_subvolume(path, new):
                    lost.append("btrfs subvolume (a directory now)")
                lost += copy_attributes(source, target, before, new.modified_ns, with_rights=True)
        self._note_lost(path, lost, result)

    def _compare(self, wanted: Tree) -> list[str]:
        copy = walk(self._target).tree
        if MADE_BY_MKFS not in wanted:
            copy.pop(MADE_BY_MKFS, None)
        if ours := self.folder_of_ours:
            copy = {path: each for path, each in copy.items() if path.split(b"/", 1)[0] != ours}
        return differences(wanted, copy, self._losses.with_other_times())

    def _touch_parent(self, path: bytes) -> None:
        self._touched.add(path.rpartition(b"/")[0])

    def _note_lost(self, path: bytes, lost: list[str], result: PassResult) -> None:
        self._losses.note(path, lost)
        for words in lost[: _LOST_SHOWN - len(result.lost)]:
            result.lost.append(f"{os.fsdecode(path)}: {words}")


def _unsettled(signature: Signature) -> Signature:
    """The signature with a change time that no file has: it counts as changed in the next pass."""
    return replace(signature, changed_ns=-1)
