"""How safe a volume is now and afterwards, where its storage stays, what a gate does not keep.

Volumes and mounts in, findings out; only fstab is read.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.adopted.properties import primary
from holdfast.containers import is_container_url, path_of
from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.model.size import format_size
from holdfast.model.volume import GATED, Volume
from holdfast.restoration.storage.old_and_new import containers_of
from holdfast.system.messages.printable import printable
from holdfast.system.mounts.mount_table import fstab_lines

_SUBJECT = "redundancy"
_MOST_PATHS = 3
_LOSS = "The loss of one container costs more than it does now: without another leg, the data."


def about_redundancy(old: Volume, new: Volume, in_sync: int | None = None) -> list[Finding]:
    """What the volume can lose now, and afterwards; empty where that stays.

    `in_sync`: how many of its legs are now; None: all. One that is not saves nobody.
    """
    before, after = len(old.leg_urls) if in_sync is None else in_sync, len(new.leg_urls)
    name, words = old.name, f"{_copies(old, in_sync)} now, {_copies(new)} afterwards"
    if new.is_adopted:
        if old.is_adopted:
            return []
        meaning = "Errors of that container reach the applications; its loss is that of the data."
        again = f"holdfast volume gate {name} --leg URL --leg URL gives it a gate again."
        return [Finding(_SUBJECT, Verdict.LIMITED, words, meaning, again)]
    if old.is_adopted:
        if after > 1:
            meaning = "The gate fills the further legs in use: the command waits for them."
            return [Finding(_SUBJECT, Verdict.OK, words, meaning)]
        meaning = "Requests wait when that leg is lost, and the data is lost with it."
        mend = f"Name more: --leg URL; or add them afterwards: holdfast leg add {name} URL."
        return [Finding(_SUBJECT, Verdict.LIMITED, words, meaning, mend)]
    if after >= before:
        return []
    more = f"Name as many: --leg URL --leg URL; or holdfast leg add {name} URL afterwards."
    return [Finding(_SUBJECT, Verdict.LIMITED, words, _LOSS, more)]


def about_size(old: Volume, new: Volume) -> list[Finding]:
    """That the volume will have less room: the new containers were there already, and are smaller.
    Empty where a person would read the same size twice."""
    before, after = format_size(old.size_bytes), format_size(new.size_bytes)
    if new.size_bytes >= old.size_bytes or before == after:
        return []
    return [
        Finding(
            "size",
            Verdict.LIMITED,
            f"{before} now, {after} afterwards",
            "What is in use fits there; programs that go on growing are out of room sooner.",
            "Name larger containers, or images that do not exist: they are made as large as now.",
        )
    ]


def about_old_storage(old: Volume) -> list[Finding]:
    """Where the present contents stay, and for how long."""
    urls = containers_of(old)
    return [
        Finding(
            "old storage",
            Verdict.OK,
            f"{', '.join(map(printable, urls))} {'stays' if len(urls) == 1 else 'stay'} as now",
            "Remembered as a copy of this moment, and never deleted by Holdfast.",
        )
    ]


def about_fstab_in_place(volume: Volume, kind: str) -> list[Finding]:
    """What would mount the storage past its gate at the next boot. Reads fstab as it is now."""
    path, uuid, label = volume.mount.path, volume.mount.uuid, volume.mount.label
    names = [path_of(each) for each in containers_of(volume) if is_container_url(each)]
    names += [f"UUID={uuid}", f"/dev/disk/by-uuid/{uuid}"] if uuid else []
    names += [f"LABEL={label}", f"/dev/disk/by-label/{label}"] if label else []
    found = fstab_lines(path, names) if kind == GATED else []
    return [
        Finding(
            "fstab", Verdict.NEEDS_FORCE, f"it says: {printable(line)}",
            "At the next boot it would be mounted past its gate: what is written then is on one leg"
            " alone, and the gate would not know.",
            "Put # before that line (what is mounted now stays): holdfast volume attach --wanted"
            " mounts it at boot.",
        )
        for line in found
    ]  # fmt: skip


def about_what_a_gate_keeps(points: Sequence[MountPoint], path: str) -> list[Finding]:
    """What a gated volume cannot be like: mounted in part, and mounted again at several places."""
    point = primary(points, path)
    if point.inside:
        return [
            Finding(
                "mounted in part",
                Verdict.BLOCKS,
                f"only /{printable(point.inside)} of its file system is mounted at {path}",
                "A gated volume is mounted whole: attach would show another directory there.",
                "Move its files to a file system of their own first, or mount and adopt all of it.",
            )
        ]
    count = len(points) - 1
    if not count:
        return []
    paths = sorted({each.path for each in points if each != point})[:_MOST_PATHS]
    return [
        Finding(
            "further mounts",
            Verdict.LIMITED,
            f"{count} beside {path}, here or in other namespaces:"
            f" {', '.join(map(printable, paths))}",
            "They go along now. After a detach, or a restart of the host, attach makes"
            f" {path} alone.",
            "See that they are bound again then, by fstab or by whatever has made them.",
        )
    ]


def _copies(volume: Volume, in_sync: int | None = None) -> str:
    if volume.is_adopted:
        return "1 plain container without a gate"
    count = len(volume.leg_urls)
    words = f"{count} leg{'' if count == 1 else 's'}"
    return words if in_sync in (None, count) else f"{words}, {in_sync} of them in sync,"
