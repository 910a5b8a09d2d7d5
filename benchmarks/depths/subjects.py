"""What is compared at several depths: the raw image, two peers, Holdfast in each of its forms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.subjects import (
    COMPILED,
    NBDKIT,
    PLAIN,
    PYTHON,
    Ready,
    Subject,
    holdfast,
    nbdkit_fuse,
    plain_loop,
)

RAW = "raw image"


@contextmanager
def _raw_image(folder: Path) -> Iterator[Ready]:
    """The file that all work on, where the others have their images."""
    yield Ready(folder)


def name_of(legs: int, journal: str, path: str) -> str:
    """Of Holdfast in that form."""
    return f"holdfast, {legs} {'leg' if legs == 1 else 'legs'}, journal {journal}, {path}"


FORMS = {
    name_of(legs, journal, path): (legs, journal, path)
    for journal in ("none", "unflushed")
    for legs in (1, 2)
    for path in (COMPILED, PYTHON)
}
ONE_LEG_COMPILED = name_of(1, "none", COMPILED)

# Not qemu's export: several writes at once overwrite each other's data there.
DEPTH_SUBJECTS: dict[str, Subject] = {
    RAW: _raw_image,
    PLAIN: plain_loop,
    NBDKIT: nbdkit_fuse,
    **{name: holdfast(*form) for name, form in FORMS.items()},
}
PLACEMENT_SUBJECTS = (RAW, PLAIN, ONE_LEG_COMPILED)
