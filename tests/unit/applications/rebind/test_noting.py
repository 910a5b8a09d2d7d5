"""Which descriptors are one open file description: asked of the kernel for this very process."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.applications.rebind.noting import same_descriptions, same_memory
from holdfast.model.handle import Handle, HandleKind


def test_duplicates_are_one_and_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    first = os.open(path, os.O_RDONLY)
    numbers = [first, os.dup(first), os.open(path, os.O_RDONLY), os.dup(first)]
    handles = [Handle(HandleKind.FILE, os.getpid(), str(path), number=each) for each in numbers]
    groups = {tuple(sorted(each.number or 0 for each in group))
              for group in same_descriptions(handles)}  # fmt: skip
    assert groups == {tuple(sorted((numbers[0], numbers[1], numbers[3]))), (numbers[2],)}
    for number in numbers:
        os.close(number)


def test_a_process_shares_memory_with_itself_only() -> None:
    assert same_memory([os.getpid(), os.getppid()]) in (
        [[os.getpid()], [os.getppid()]],
        [[os.getppid()], [os.getpid()]],
    )
