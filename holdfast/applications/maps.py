"""Handles by memory map: files of a volume that are mapped into a process.

Reading maps waits for the memory lock of a process, which one that hangs inside storage may hold:
expendable children read. Lines are chosen by the number of the super block, which btrfs too
prints there for all its subvolumes (unlike stat(2)).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from holdfast.applications.places import Places
from holdfast.applications.sighting import Sighting, beyond_path
from holdfast.applications.tasks import Table
from holdfast.model.bounded import MOST_CHARACTERS
from holdfast.model.handle import Handle, HandleKind
from holdfast.system.children.expendable_batch import ask_each, asking
from holdfast.system.proc import read
from holdfast.system.proc_text import Map, parse_maps

_PORTION = 32


@contextmanager
def asking_maps(
    tables: Sequence[Table], places: Places, apart: int = 0
) -> Iterator[Callable[[], list[list[Map] | None]]]:
    """For each process the maps of files on these file systems; None: it did not answer.

    The first `apart` are asked before the others: none of those can take the time that is for them.
    A child reads while the caller works. Fetching blocks for a few seconds at most, when processes
    hang.
    """
    wanted = [f"{major:02x}:{minor:02x}".encode() for major, minor in places.devices]
    portions = [*_portions(tables[:apart]), *_portions(tables[apart:])]
    with asking(partial(_read_all, wanted), portions) as answers:

        def maps_of_each() -> list[list[Map] | None]:
            found: list[list[Map] | None] = []
            again: list[int] = []
            for portion, answer in zip(portions, answers(), strict=True):
                if answer is None:
                    again += range(len(found), len(found) + len(portion))
                found += answer or [None] * len(portion)
            singly = [tables[index] for index in again]
            late = ask_each(partial(_read, wanted), singly, item_seconds=1.0, budget_seconds=5.0)
            for index, single in zip(again, late, strict=True):
                found[index] = single
            return found

        yield maps_of_each


def _portions(tables: Sequence[Table]) -> list[Sequence[Table]]:
    return [tables[i : i + _PORTION] for i in range(0, len(tables), _PORTION)]


def maps(table: Table, places: Places, found: Sequence[Map]) -> Iterator[Sighting]:
    """The handles that these maps are; one whose path nobody could write down is `OTHER`."""
    for each in found:
        mount = places.may_hold(each.path, table.namespace)
        certain = mount is not None and places.is_certain(each.path, mount, table.namespace)
        mount = mount or places.of_device(each.device, table.namespace)
        link = f"/proc/{table.pid}/map_files/{each.start:x}-{each.end:x}"
        if len(each.path) > MOST_CHARACTERS:
            handle = Handle(
                kind=HandleKind.OTHER,
                pid=table.pid,
                path=beyond_path("memory map"),
                mount_id=mount.id if mount else 0,
                thread_id=table.thread_id,
            )
            yield Sighting(handle, link, table.namespace, mount_known=certain)
            continue
        handle = Handle(
            kind=HandleKind.MAP,
            pid=table.pid,
            path=each.path,
            mount_id=mount.id if mount else 0,
            mode=each.mode,
            offset=each.offset,
            start=each.start,
            end=each.end,
            inode=each.inode,
        )
        yield Sighting(handle, link, table.namespace, mount_known=certain)


def _read_all(wanted: Sequence[bytes], tables: Sequence[Table]) -> list[list[Map] | None]:
    return [_read(wanted, table) for table in tables]


def _read(wanted: Sequence[bytes], table: Table) -> list[Map]:
    """The maps of these devices in one process; runs in an expendable child."""
    try:
        text = read(f"{table.folder}/maps")
    except OSError:
        return []  # ended meanwhile
    return parse_maps(text, wanted) if any(device in text for device in wanted) else []
