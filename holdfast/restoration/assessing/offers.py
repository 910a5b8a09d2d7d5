"""What programs can ask of files on one type of file system and not on another.

One table, by type as mkfs makes it: tests/kernel/copying/test_offers.py tries each call on the real
file systems. Told before a move to another type: whether a program uses such a call cannot be seen.
Pure.
"""

from __future__ import annotations

from holdfast.model.finding import Finding, Verdict

CLONE = "reflinks (FICLONE, cp --reflink)"
DEDUPLICATE = "sharing equal ranges (FIDEDUPERANGE)"
UNSHARE = "unsharing ranges (fallocate FALLOC_FL_UNSHARE_RANGE)"
EXCHANGE = "exchange of ranges (XFS_IOC_EXCHANGE_RANGE, XFS_IOC_SWAPEXT)"
COLLAPSE = "cutting ranges out (fallocate FALLOC_FL_COLLAPSE_RANGE)"
INSERT = "inserting ranges (fallocate FALLOC_FL_INSERT_RANGE)"
ZERO = "zeroing ranges (fallocate FALLOC_FL_ZERO_RANGE)"
UNCACHED = "uncached reads and writes (RWF_DONTCACHE)"
VERITY = "fs-verity (FS_IOC_ENABLE_VERITY)"
LARGE_ATTRIBUTES = "extended attributes of 8 KiB"
MAP_OF_BLOCKS = "the map of the whole file system (FS_IOC_GETFSMAP)"
BLOCK_NUMBERS = "numbers of blocks (FIBMAP)"
NO_COPY_ON_WRITE = "chattr +C (not copied on write)"
PROJECTS = "project ids (FS_IOC_FSSETXATTR)"
SUBVOLUMES = "subvolumes and snapshots (btrfs subvolume)"

OFFERS: dict[str, frozenset[str]] = {
    "ext4": frozenset({COLLAPSE, INSERT, ZERO, UNCACHED, MAP_OF_BLOCKS, BLOCK_NUMBERS}),
    "xfs": frozenset(
        {CLONE, DEDUPLICATE, UNSHARE, EXCHANGE, COLLAPSE, INSERT, ZERO, UNCACHED}
        | {LARGE_ATTRIBUTES, MAP_OF_BLOCKS, BLOCK_NUMBERS, PROJECTS}
    ),
    "btrfs": frozenset(
        {CLONE, DEDUPLICATE, ZERO, VERITY, LARGE_ATTRIBUTES, NO_COPY_ON_WRITE, SUBVOLUMES}
    ),
}


def about_offers(present: str, new: str) -> list[Finding]:
    """What the new type of file system does not offer and the present one does; empty where one of
    them is not known."""
    if present not in OFFERS or new not in OFFERS:
        return []
    missing = sorted(OFFERS[present] - OFFERS[new])
    if not missing:
        return []
    return [
        Finding(
            f"what {new} does not offer",
            Verdict.LIMITED,
            ", ".join(missing),
            f"A program that uses one of them on {present} gets an error (EOPNOTSUPP, ENOTTY)"
            " after the move; most do without.",
            f"Keep the type (--fs {present}) when a program needs it.",
        )
    ]
