"""Who keeps a volume busy, by what: every process of the host that is visible from here.

Reads /proc only, and asks expendable children where that could hang, so a dead or hung volume
blocks nobody. Processes that end meanwhile are left out. Must never stop or signal anyone. What
cannot be seen: descriptors that are in flight in a socket's queue, working directories on mounts
that were detached lazily before, and processes that this one has no right to trace.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from holdfast.applications.descriptors import Sockets, descriptors
from holdfast.applications.directories import directories, executable
from holdfast.applications.earlier_look import is_looked_at, known_user
from holdfast.applications.long_paths import with_whole_paths
from holdfast.applications.maps import asking_maps, maps
from holdfast.applications.places import Places, places_of
from holdfast.applications.processes import as_user, asking_commands, examined, told_of
from holdfast.applications.sighting import Sighting, settle, settling
from holdfast.applications.sockets import settle_sockets, sockets_on
from holdfast.applications.tasks import Table, tables
from holdfast.applications.waiting import waiting_in_open
from holdfast.applications.watches import settle_watches
from holdfast.model.handle import Handle, HandleKind, User
from holdfast.model.mountpoint import MountPoint
from holdfast.system.children.expendable import who_asks
from holdfast.system.proc import ProcessFacts, process_facts

_AT_ONCE = 500
"""Sightings at least that are worth a child which looks at their inodes while others are read; with
more of them the portions grow, so that the children remain few."""


def find_users(
    mounts: Sequence[MountPoint], *, ourselves: bool = False, unasked: Collection[int] = ()
) -> list[User]:
    """Every process that uses the file systems of these mounts, with each handle, by pid.

    Also who may well be one, see `User.is_suspect`; users of whom something else is known are asked
    for their maps first, so that no suspect takes their time. All mounts of these file systems
    count, in all namespaces, also those that are not given. Does not block on storage: a few
    seconds at most, when it hangs. `ourselves`: list this process too, and those for which it looks
    as their child. `unasked`: those that are suspects now, unless something else is known of them.
    """
    if not mounts:
        return []
    places = places_of(mounts)
    skip = frozenset() if ourselves else who_asks()
    processes, tables_of, sockets = _looked_at(skip, places)
    seen: list[Sighting] = []
    beyond: list[Sighting] = []
    begun = 0
    parts: list[Callable[[], list[Handle]]] = []
    with ExitStack() as stack:
        for table_list in tables_of.values():
            for each in _seen(table_list, places, sockets):
                (beyond if each.is_beyond else seen).append(each)
            if len(seen) - begun >= max(_AT_ONCE, begun // 2):  # looked into meanwhile
                parts.append(stack.enter_context(settling(_plain(seen[begun:]), places)))
                begun = len(seen)
        seen += with_whole_paths(beyond, places)
        # After the descriptors: a file is opened, mapped and closed in this order.
        likely = {each.handle.pid for each in seen if _keeps_busy(each, places)}
        others_last = sorted(tables_of.items(), key=lambda each: each[0] not in likely)
        silent = set(unasked) - likely
        table_lists = [found for pid, found in others_last if found and pid not in silent]
        mapped = stack.enter_context(_asking_mapped(table_lists, places, likely))
        parts.append(stack.enter_context(settling(_plain(seen[begun:]), places)))
        handles = [handle for part in parts for handle in part()]
        unread = [_unanswered(tables_of[pid][0], places) for pid in silent if tables_of.get(pid)]
        handles += settle([*mapped(), *unread], places)
    bound = [each.handle for each in seen if each.handle.kind is HandleKind.SOCKET]
    handles += settle_sockets(bound, sockets, places)
    handles += [each.handle for each in seen if each.handle.kind is HandleKind.SENDER]
    handles += settle_watches([each for each in seen if each.watch is not None], places, handles)
    handles += waiting_in_open(processes, tables_of, places)
    return _users(processes, tables_of, handles)


def busy_processes(mounts: Sequence[MountPoint], skip: Collection[int] = ()) -> list[int]:
    """The processes that keep these file systems busy, ascending, without those in `skip`.

    For finding newcomers again and again: quicker than `find_users`, and paths are taken at
    their word where mounts cover each other. A watch or mark alone keeps nothing busy. Nor does it
    make anybody busy that his maps could not be read: the next look may tell.
    """
    if not mounts:
        return []
    places = places_of(mounts)
    _, tables_of, sockets = _looked_at(frozenset(skip) | {os.getpid()}, places)
    busy = set()
    idle = []
    for pid, table_list in tables_of.items():
        if any(_keeps_busy(sighting, places) for sighting in _seen(table_list, places, sockets)):
            busy.add(pid)
        elif table_list:
            idle.append(table_list)
    with _asking_mapped(idle, places) as mapped:
        busy.update(
            sighting.handle.pid
            for sighting in mapped()
            if sighting.handle.kind is not HandleKind.UNREAD
        )
    return sorted(busy)


def _looked_at(
    skip: frozenset[int], places: Places
) -> tuple[list[ProcessFacts], dict[int, list[Table]], Sockets]:
    """The processes, the tables of each, and the sockets that are bound there."""
    processes = list(examined(skip))
    sockets = sockets_on([facts.pid for facts in processes], places)
    looked_at = [facts for facts in processes if is_looked_at(facts.pid)]
    return looked_at, {facts.pid: _tables(facts) for facts in looked_at}, sockets


def _keeps_busy(sighting: Sighting, places: Places) -> bool:
    kind, mode = sighting.handle.kind, sighting.handle.mode
    if sighting.watch is not None or kind is HandleKind.FANOTIFY or mode == "peer":
        return False
    if sighting.mount_known:
        return True
    mount = places.by_id.get(sighting.handle.mount_id)
    return mount is not None and places.is_likely(sighting.handle.path, mount, sighting.namespace)


def _tables(facts: ProcessFacts) -> list[Table]:
    with suppress(OSError):
        return tables(facts)
    return []


def _seen(table_list: Sequence[Table], places: Places, sockets: Sockets) -> Iterator[Sighting]:
    """Everything but maps."""
    for table in table_list:
        with suppress(OSError):
            if table is table_list[0]:
                yield from executable(table, places)
            if table.directories:
                yield from directories(table, places)
            if table.descriptors:
                yield from descriptors(table, places, sockets)


@contextmanager
def _asking_mapped(
    table_lists: Sequence[Sequence[Table]], places: Places, likely: Collection[int] = ()
) -> Iterator[Callable[[], Iterator[Sighting]]]:
    """Maps; a process that does not answer is named as such, for it may well be a user.

    `likely`: those that are one for sure come first, and are asked by themselves.
    """
    firsts = [table_list[0] for table_list in table_lists]
    with asking_maps(firsts, places, sum(table.pid in likely for table in firsts)) as answers:

        def mapped() -> Iterator[Sighting]:
            for table, found in zip(firsts, answers(), strict=True):
                if found is not None:
                    yield from maps(table, places, found)
                else:
                    yield _unanswered(table, places)

        yield mapped


def _unanswered(table: Table, places: Places) -> Sighting:
    mounts = sorted(places.wanted, key=lambda mount: mount.namespace != table.namespace)
    handle = Handle(
        kind=HandleKind.UNREAD,
        pid=table.pid,
        path="memory maps that cannot be read in time",
        mount_id=mounts[0].id,
    )
    return Sighting(handle, "", table.namespace, mount_known=True)


_OF_SOCKETS = frozenset({HandleKind.SOCKET, HandleKind.SENDER})


def _plain(sightings: Sequence[Sighting]) -> list[Sighting]:
    """Sightings that only lack the look at their inodes."""
    return [
        each for each in sightings if each.watch is None and each.handle.kind not in _OF_SOCKETS
    ]


def _users(
    processes: Sequence[ProcessFacts],
    tables_of: Mapping[int, Sequence[Table]],
    handles: Sequence[Handle],
) -> list[User]:
    by_pid: dict[int, list[Handle]] = {}
    for handle in handles:
        by_pid.setdefault(handle.pid, []).append(handle)
    found = [facts for facts in processes if facts.pid in by_pid]
    users = {facts.pid: _as_before(facts) for facts in found}
    others = [facts for facts in found if users[facts.pid] is None]
    firsts = [tables_of[facts.pid][0] for facts in others]
    with asking_commands(firsts) as commands:
        told = [told_of(facts) for facts in others]
        for each, table, command in zip(told, firsts, commands(), strict=True):
            if each is not None:
                users[table.pid] = as_user(each, table, command)
    return [
        replace(user, handles=tuple(by_pid[pid])) for pid, user in users.items() if user is not None
    ]


def _as_before(facts: ProcessFacts) -> User | None:
    """Who an earlier look found, if nobody else has the number by now."""
    with suppress(OSError):
        return known_user(process_facts(facts.pid))
    return None
