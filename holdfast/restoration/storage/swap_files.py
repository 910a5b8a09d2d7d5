"""Swap files on a volume: switched off before anybody stands, on again where the volume is mounted.

Invariants: off only where memory has room for what is swapped out; on only what is root's own file,
of the same size, with the header of a swap file, and reached through no link: other contents may
have anything at its path. Everything that may block is done by expendable children.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from functools import partial

from holdfast.errors import Blocked, DeadlinePassed, HoldfastError
from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.model.restoration import Mode
from holdfast.model.swap_file import SwapFile
from holdfast.mountpoints.whereabouts import own_namespace
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.messages.printable import printable
from holdfast.system.mounts.mount_api import open_place
from holdfast.system.mounts.mount_table import mount_number
from holdfast.system.proc_text import Swap
from holdfast.system.resources.memory import available_bytes
from holdfast.system.storage.swap import swap_areas, switch_off, switch_on

OFF_SECONDS = 120.0
"""Swapped pages are read one by one: some GiB from a disk take that long. What takes longer is
given up, with nobody stopped, and the file stays in use."""
_ON_SECONDS = 30.0

_SPARE_SHARE, _MIB = 0.05, 1 << 20
_HEADER, _HEADER_END = b"SWAPSPACE2", 4096
"""mkswap(8), which writes it at the end of the first page; other page sizes are not known here."""


def swaps_on(points: Sequence[MountPoint]) -> list[Swap]:
    """The swap files of this host that lie on these mounts. Does not block: their names are judged
    by where they lie."""
    own = own_namespace()
    ours = {point.id for point in points if point.namespace == own}
    return [area for area in swap_areas() if area.is_file and _lies_on(area.path, ours)]


def about_swaps(swaps: Sequence[Swap]) -> list[Finding]:
    """Whether they can be switched off, with numbers. Does not block."""
    if not swaps:
        return []
    used = sum(each.used_bytes for each in swaps)
    room = _room_bytes(swaps)
    names = ", ".join(printable(each.path) for each in swaps)
    if used > room:
        return [
            Finding(
                "swap", Verdict.BLOCKS,
                f"{used // _MIB} MiB are swapped out to {names}, and there is room for"
                f" {max(room, 0) // _MIB} MiB elsewhere",
                "The kernel itself has it in use until it is switched off.",
                "Add other swap, or let something end that needs memory, then try again.",
            )
        ]  # fmt: skip
    return [
        Finding(
            "swap", Verdict.LIMITED,
            f"{names} is swapped to, with {used // _MIB} MiB in use",
            "It is switched off before anybody is stopped, and on again afterwards.",
        )
    ]  # fmt: skip


def goes_along(mode: Mode, *, is_broken: bool) -> bool:
    """Whether it is switched off and on: not where it could not be read back, nor while the volume
    is away on purpose."""
    return not is_broken and mode not in (Mode.PARK, Mode.STALE)


def off_in_words(files: Sequence[SwapFile]) -> list[str]:
    """Which of them are off, for people, with the command."""
    areas = {area.path for area in swap_areas()}
    return [
        f"{each.path} is not swapped to: swapon --priority {each.priority} {each.path}"
        for each in files
        if each.path not in areas
    ]


def as_recorded(swap: Swap) -> SwapFile:
    """What is needed to switch it on again. Raises HoldfastError, OSError."""
    size = in_expendable_child(partial(_file_bytes, swap.path), doing=swap.path)
    return SwapFile(swap.path, size, swap.priority)


def all_off(swaps: Sequence[Swap], say: Callable[[str], None]) -> None:
    """Switch them off, one after the other. Raises Blocked, with those that are off named by the
    record: whoever gives up switches them on again."""
    for each in swaps:
        for finding in about_swaps([each]):
            if finding.verdict is Verdict.BLOCKS:
                raise Blocked(finding.found, finding.mend)
        say(f"switch off swap {printable(each.path)}: {each.used_bytes // _MIB} MiB in use")
        try:
            in_expendable_child(partial(switch_off, each.path), OFF_SECONDS, each.path)
        except (DeadlinePassed, OSError) as error:
            raise Blocked(
                f"{each.path} could not be switched off: {error}",
                f"swapoff {each.path}, then try again.",
            ) from error


def all_on(files: Sequence[SwapFile]) -> list[Finding]:
    """Switch those on again that are not; what is said of those that cannot be. Idempotent."""
    findings = []
    for each in files:
        if any(area.path == each.path for area in swap_areas()):
            continue
        try:
            in_expendable_child(partial(_on, each), _ON_SECONDS, each.path)
        except (HoldfastError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            findings.append(
                Finding(
                    "swap", Verdict.LIMITED,
                    f"{each.path} is not swapped to any more: {why}",
                    "The host has less swap than before.",
                    f"mkswap and swapon it; its priority was {each.priority}.",
                )
            )  # fmt: skip
    return findings


def _room_bytes(swaps: Sequence[Swap]) -> int:
    """What memory and other swap have, but for a share that stays free."""
    paths = {each.path for each in swaps}
    others = [area for area in swap_areas() if area.path not in paths]
    elsewhere = sum(area.size_bytes - area.used_bytes for area in others)
    return int(available_bytes() * (1 - _SPARE_SHARE)) + elsewhere


def _lies_on(path: str, mounts: set[int]) -> bool:
    def ask() -> bool:
        spot = open_place(path)
        return mount_number(spot) in mounts

    try:
        return in_expendable_child(ask, doing=path)
    except (HoldfastError, OSError):
        return False


def _file_bytes(path: str) -> int:
    spot = open_place(path)
    try:
        return os.fstat(spot).st_size
    finally:
        os.close(spot)


def _on(file: SwapFile) -> None:
    """In the child."""
    spot = open_place(file.path)
    told = os.fstat(spot)
    if not stat.S_ISREG(told.st_mode) or told.st_nlink != 1:
        raise OSError(0, "another file has its name")
    if told.st_uid != 0 or told.st_mode & 0o7177:
        raise OSError(0, "it is not root's own alone (mode 0600)")
    if told.st_size != file.file_bytes:
        raise OSError(0, "it has another size")
    descriptor = os.open(f"/proc/self/fd/{spot}", os.O_RDWR | os.O_CLOEXEC)
    try:
        if not os.pread(descriptor, _HEADER_END, 0).endswith(_HEADER):
            raise OSError(0, "it has not the header of a swap file")
        os.posix_fallocate(descriptor, 0, told.st_size)  # the copy may have holes
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    switch_on(spot, file.priority)
