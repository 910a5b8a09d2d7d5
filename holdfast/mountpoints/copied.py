"""Places where somebody copied a cover while a volume was away: the volume belongs there, too.

A mount namespace that is made meanwhile (a container, a service with a mount table of its own) has
covers where the volume is to be; so has a bind mount of a mount point. Invariants: what propagation
has put somewhere is no copy, for the volume was not there; and nothing is mounted for a stranger,
who is told. What is mounted there is copied from where it is mounted already: storage must never
be mounted a second time, which may give an image a second loop device, or a second server.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from holdfast.errors import HoldfastError
from holdfast.late_dataclass import dataclass
from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.capture import in_dismount_order
from holdfast.mountpoints.placing import Manner, Piece, Placed, left_out, place
from holdfast.mountpoints.whereabouts import own_namespace
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.fuse.cover_server import FILE_SYSTEM, CoverServer
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.mount_table import is_under
from holdfast.system.mounts.visitor import Visitor, has_foreign_owner, ways_to
from holdfast.system.statx import number_for_ever

_SHOWN = 5

Spot = tuple[str, str]
"""MAJOR:MINOR of a file system, and the directory (or file) of it on which something is mounted:
the same in every mount namespace that shows it."""


@dataclass(frozen=True)
class Meanwhile:
    """What was made while a volume was away."""

    places: tuple[MountPoint, ...] = ()
    """Where it is to be mounted as well; their numbers are those of the covers."""
    spread: frozenset[int] = frozenset()
    """Mounts of it, by number, that propagation has put where it belongs: their place is new."""
    findings: tuple[Finding, ...] = ()


def made_meanwhile(
    points: Sequence[MountPoint],
    table: Sequence[MountPoint],
    device_number: str,
    cover: CoverServer,
) -> Meanwhile:
    """What to do where the covers were copied. `table`: every mount of the host; `device_number`:
    of what was mounted at the points, which must be done. Visits namespaces only when there is
    something to do. Raises HoldfastError when one of them hangs."""
    mounts = {each.id: each for each in table}
    taken = {(each.namespace, each.path) for each in points}
    stacked = {each.parent for each in table}
    others = [each for each in table if (each.namespace, each.path) not in taken]
    covers = [each for each in others if is_of(cover, each) and each.id not in stacked]
    spread = [each for each in others if each.device == device_number]
    if not covers and not spread:
        return Meanwhile()
    with ways_to((*covers, *spread)) as ways:
        strangers = {number for number, way in ways.items() if has_foreign_owner(way)}
        own = {number: way for number, way in ways.items() if number not in strangers}
        grounds = {each.id: mounts[each.parent] for each in (*covers, *spread)
                   if each.parent in mounts and each.namespace in own}  # fmt: skip
        young = in_expendable_child(
            lambda: _on_younger(grounds, own, cover.oldest_mount), doing="a mount namespace"
        )
    shown = _shown(points, mounts)
    insides = {inside for each in shown.values() for inside in each}
    places, findings = [], []
    for each in covers:
        spot = _spot(each, mounts)
        if each.namespace in strangers:
            findings.append(_still_covered(each))
        elif each.namespace not in ways or (spot in shown and each.id not in young):
            continue  # it has ended; or propagation had put it there
        else:
            candidates = shown.get(spot, insides)
            if len(candidates) == 1:
                places.append(_place(each, points[-1], *candidates))
            else:
                why = "it is not known which part of the volume is to be there"
                findings.insert(0, left_out(each, own_namespace(), why))
    return Meanwhile(
        tuple(places), frozenset(young & {each.id for each in spread}), tuple(findings[:_SHOWN])
    )


def mount_copies(
    places: Sequence[MountPoint],
    points: Sequence[MountPoint],
    roots: Mapping[int, int],
    device_number: str,
) -> list[Finding]:
    """Mount what `made_meanwhile` found; findings say where it could not be.

    `roots`: what is mounted at the points by now, by their numbers. Blocks some seconds where a
    namespace hangs.
    """
    if not places:
        return []
    own = own_namespace()
    with ways_to((*places, *points)) as ways:
        try:
            return in_expendable_child(
                lambda: _mount_copies(places, points, roots, ways, device_number), doing="a mount"
            )
        except (HoldfastError, OSError) as error:
            return [left_out(each, own, str(error)) for each in places]


def _mount_copies(
    places: Sequence[MountPoint],
    points: Sequence[MountPoint],
    roots: Mapping[int, int],
    ways: Mapping[int, int],
    device_number: str,
) -> list[Finding]:
    """In the child: copy one that shows the same, for each, and place them."""
    visitor, placed = Visitor(), Placed()
    origins = [
        point
        for point in reversed(points)
        if point.id in roots and point.namespace in ways and point.propagation != "unbindable"
        and not has_foreign_owner(ways[point.namespace])
    ]  # fmt: skip
    pieces = []
    for each in in_dismount_order(places)[::-1]:
        origin = next((point for point in origins if point.inside == each.inside), None)
        if origin is None:
            placed.findings.append(left_out(each, placed.own, "no mount shows it that is copied"))
            continue
        visitor.enter(ways[origin.namespace])
        tree = mount_api.clone_tree(roots[origin.id])
        mount_api.set_propagation(tree, "private")
        pieces.append(Piece(each, tree, None))
    place(visitor, pieces, ways, device_number, placed, Manner(undoing=True))
    return placed.findings


def is_of(cover: CoverServer, mount: MountPoint) -> bool:
    """Whether a mount is one of these covers, or a copy."""
    return bool(cover.name) and mount.filesystem == FILE_SYSTEM and mount.source == cover.name


def _on_younger(
    grounds: Mapping[int, MountPoint], ways: Mapping[int, int], oldest_mount: int
) -> set[int]:
    """Those of these mounts that lie on one that was made after the covers; in the child.

    All mounts of a namespace are made with it. `grounds`: what each lies on.
    """
    visitor = Visitor()
    found = set()
    for number, ground in grounds.items() if oldest_mount else ():
        with suppress(OSError):
            visitor.enter(ways[ground.namespace])
            spot = mount_api.open_place(ground.path)
            is_it = visitor.mount_number(spot) == ground.id
            if is_it and number_for_ever(spot) > oldest_mount:
                found.add(number)
            os.close(spot)
    return found


def _shown(points: Sequence[MountPoint], mounts: Mapping[int, MountPoint]) -> dict[Spot, set[str]]:
    """What of the volume is to be on which directories; not what is mounted on the volume."""
    ids = {point.id for point in points}
    found: dict[Spot, set[str]] = {}
    for point in points:
        if point.parent not in ids:
            found.setdefault(_spot(point, mounts), set()).add(point.inside)
    return found


def _spot(each: MountPoint, mounts: Mapping[int, MountPoint]) -> Spot:
    """Of one whose parent is gone, or out of sight: one that no other has."""
    below = mounts.get(each.parent)
    if below is None or below.namespace != each.namespace or not is_under(each.path, below.path):
        return "", str(each.id)
    inner = each.path[len(below.path.rstrip("/")) :]
    return below.device, f"{below.inside}{inner}".strip("/")


def _place(cover: MountPoint, main: MountPoint, inside: str) -> MountPoint:
    """The volume as it is at `main`, in place of a cover, with the options of that."""
    return replace(
        main,
        id=cover.id,
        namespace=cover.namespace,
        witness_pid=cover.witness_pid,
        path=cover.path,
        inside=inside,
        options=cover.options,
        propagation="shared" if cover.peer_group else "private",
        peer_group=0,
        master_group=0,
        nested=False,
        parent=cover.parent,
    )


def _still_covered(cover: MountPoint) -> Finding:
    return Finding(
        "made while it was away",
        Verdict.LIMITED,
        f"the mount namespace of process {cover.witness_pid}, which belongs to a user namespace,"
        f" has no volume at {cover.path}",
        "Whoever looks at that path in there gets ESTALE.",
        "Start that container again.",
    )
