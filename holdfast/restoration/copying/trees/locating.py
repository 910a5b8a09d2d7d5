"""Finds where in a finished copy the file of an inode is, whatever its name is by now.

The source is dismounted by then, so no name changes any more. The copy is mounted where nobody else
sees it. Invariant: the answer is the copy of that very inode, by its number and, where the source's
file system has one, its generation. Reads both sides, changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing

from holdfast.restoration.copying.trees.folders import Folders
from holdfast.restoration.copying.trees.tree import Tree
from holdfast.system.files.beneath import path_to
from holdfast.system.files.inode_identity import identity_of, is_same

Question = tuple[str, str, int, str]
"""What it is called by who asks; its identity (empty: none that lasts), number, a path it had."""


def locate(
    known: Tree, source: int | None, target: int, questions: Iterable[Question]
) -> dict[str, tuple[str, str]]:
    """For each inode that is found, by its key: path below the root, and identity in the copy.

    `known`: what the copy was made from. `source`: the root it was made from, dismounted for
    everybody else; None: it cannot be looked at any more, so that only numbers are compared.
    """
    numbers: dict[int, list[bytes]] = {}
    for path, signature in known.items():
        numbers.setdefault(signature.inode[1], []).append(path)
    found = {}
    with ExitStack() as stack:
        from_ = None if source is None else stack.enter_context(closing(_folders(source)))
        to = stack.enter_context(closing(_folders(target)))
        # In the order of their paths: what neighbours have in common is held open.
        for name, identity, number, inside in sorted(questions, key=lambda each: each[3]):
            likely = os.fsencode(inside)
            for path in sorted(numbers.get(number, []), key=lambda each: each != likely):
                if from_ is not None and identity and not _is(from_, path, identity):
                    continue
                there = _identity(to, path)
                if there:
                    found[name] = (os.fsdecode(path), there)
                    break
    return found


def _folders(root: int) -> Folders:
    return Folders(os.fsencode(path_to(root)))


def as_questions(inodes: Mapping[str, tuple[str, int, str]]) -> list[Question]:
    """Of what somebody has parked."""
    return [(name, *each) for name, each in inodes.items()]


def _is(root: Folders, path: bytes, identity: str) -> bool:
    return is_same(_identity(root, path), identity)


def _identity(root: Folders, path: bytes) -> str:
    try:
        with root.opened(path, os.O_PATH) as descriptor:
            return identity_of(descriptor)
    except OSError:
        return ""
