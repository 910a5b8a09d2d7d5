"""What a copy lacks of its source, name by name, and the flags that are set at the end.

Invariant: it describes the copy as it is now. When a name is copied again or removed, what it
lacked before is forgotten. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import field

from holdfast.late_dataclass import dataclass
from holdfast.restoration.copying.inodes.attributes import OTHER_TIME
from holdfast.restoration.copying.trees.tree import Inode, Signature, Tree

SHARED_FILES = "files with shared extents"
SHARED_BYTES = "bytes of shared extents"
_KINDS_SHOWN = 30

File = tuple[Inode, int]
"""An inode and its kind: numbers are used again."""


def file_of(signature: Signature) -> File:
    """The file that a name leads to."""
    return signature.inode, signature.kind


@dataclass
class Losses:
    """What the copy lacks, by name."""

    late_flags: dict[bytes, int] = field(default_factory=dict)
    """Those after which a file cannot be changed any more."""
    shared: dict[File, int] = field(default_factory=dict)
    """Bytes of a source file that other files have as well."""
    _lost: dict[bytes, list[str]] = field(default_factory=dict)

    def note(self, path: bytes, lost: list[str]) -> None:
        """All that this name lacks, in words."""
        if lost:
            self._lost[path] = lost
        else:
            self._lost.pop(path, None)

    def note_more(self, path: bytes, lost: list[str]) -> None:
        """Add to what this name lacks."""
        if lost:
            self._lost[path] = [*self._lost.get(path, ()), *lost]

    def note_late_flags(self, path: bytes, flags: int) -> None:
        """The flags that are to be set at the end; 0: none."""
        if flags:
            self.late_flags[path] = flags
        else:
            self.late_flags.pop(path, None)

    def rename(self, after: Mapping[bytes, bytes]) -> None:
        """Names have changed; those that have none afterwards are forgotten."""
        self._lost = {after[path]: lost for path, lost in self._lost.items() if path in after}
        self.late_flags = {
            after[path]: flags for path, flags in self.late_flags.items() if path in after
        }

    def with_other_times(self) -> Collection[bytes]:
        """The names whose times the new file system cannot have."""
        return {path for path, lost in self._lost.items() if OTHER_TIME in lost}

    def count(self, known: Tree) -> dict[str, int]:
        """How many files of the copy have lost what, in words."""
        counts: Counter[str] = Counter()
        counted: set[tuple[File, str]] = set()
        for path, lost in self._lost.items():
            for words in lost if path in known else ():
                each = (file_of(known[path]), words)
                if each not in counted:  # a file may have many names
                    counted.add(each)
                    counts[words] += 1
        shown = dict(counts.most_common(_KINDS_SHOWN))
        if len(counts) > len(shown):
            shown["other attributes"] = counts.total() - sum(shown.values())
        present = {file_of(each) for each in known.values()}
        shared = [self.shared[file] for file in self.shared.keys() & present]
        if shared:
            shown[SHARED_FILES], shown[SHARED_BYTES] = len(shared), sum(shared)
        return shown
