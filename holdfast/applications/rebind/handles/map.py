"""Memory maps of files: same address, protection, offset, advice; own pages keep their contents.

The pages of a private map that the process has written to (pagemap tells) are saved to the record
directory before the map is parked, and written back. What a program runs on must not change under
it: where the contents of a file that is mapped executable differ afterwards, the map goes on with
the old contents, as it does when a package is upgraded. Not kept: NUMA policies (mbind(2)), and
that own pages are shared copy-on-write with a child or its parent: each gets its copy, and the
outcome has how many bytes more that takes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.verdicts import blocks, moved, recreated
from holdfast.applications.rebind.opening.lifted_protection import agent_without_protection
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import (
    Expected,
    OpenedFiles,
    OpenRequest,
    OpenResult,
)
from holdfast.applications.rebind.parking.notes import HandleNote, MapDetails
from holdfast.applications.rebind.parking.placeholders import MEMORY_LINK, Placeholders
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.errors import Blocked
from holdfast.model.handle import Handle, HandleOutcome, JudgedHandle
from holdfast.system.proc import link
from holdfast.system.processes.pagemap import PAGE_BYTES, own_pages
from holdfast.system.processes.smaps import MapSettings, read_settings

_SHARED, _PRIVATE, _FIXED, _NO_RESERVE = 0x01, 0x02, 0x10, 0x4000  # asm-generic/mman*.h
_READ, _WRITE, _EXECUTE = 1, 2, 4
_PROTECTIONS = (("r", _READ), ("w", _WRITE), ("x", _EXECUTE))

_ADVICE = {
    "rr": 1,  # MADV_RANDOM
    "sr": 2,  # MADV_SEQUENTIAL
    "dc": 10,  # MADV_DONTFORK
    "mg": 12,  # MADV_MERGEABLE
    "hg": 14,  # MADV_HUGEPAGE
    "nh": 15,  # MADV_NOHUGEPAGE
    "dd": 16,  # MADV_DONTDUMP
}
_LOCK_ON_FAULT = 1  # MLOCK_ONFAULT

_BLOCKING = {
    "sl": "the map is sealed (mseal): it cannot be replaced",
    "um": "userfaultfd waits for its pages",
    "uw": "userfaultfd watches who writes to it",
    "ui": "userfaultfd watches its pages",
    "sf": "the map writes through to persistent memory (MAP_SYNC)",
}

_PAGES_AT_ONCE_BYTES = 1 << 20

SavedPages = tuple[int, int, int]
"""Address, length, where in the file of saved pages."""


class MapDriver:
    """Maps of files, shared or private."""

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        settings = (facts.maps or {}).get(handle.start)
        if settings is not None:
            for flag, reason in _BLOCKING.items():
                if flag in settings.flags:
                    return blocks(handle, reason)
        if handle.deleted:
            return recreated(handle, "has no name any more: its contents are carried over")
        return moved(handle, facts)

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        settings = read_settings(process.pid, [handle.start for handle in handles])
        pages = directory / f"pages-{process.pid}"
        pagemap = os.open(f"/proc/{process.pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with open(pages, "wb") as file:
                return [
                    _details(process, handle, settings.get(handle.start, _PLAIN))
                    | {"pages": tuple(_save(process, handle, pagemap, file))}
                    for handle in handles
                ]
        finally:
            os.close(pagemap)

    def park(
        self, process: StoppedProcess, notes: Sequence[HandleNote], placeholders: Placeholders
    ) -> None:
        number = process.tracee.give(placeholders.memory)
        try:
            for note in notes:
                handle = note.handle
                flags = _FIXED | _NO_RESERVE | (_SHARED if _is_shared(handle) else _PRIVATE)
                length = handle.end - handle.start
                protection = _protection(handle)
                if _is_shared(handle) and "mw" not in note.details_as(MapDetails).flags:
                    protection &= ~_WRITE
                arguments = handle.start, length, _first(note, protection), flags, number, 0
                process.tracee.call("mmap", *arguments)
                _give_key(process, note, protection)
        finally:
            process.tracee.call("close", number)

    def requests(self, note: HandleNote) -> list[OpenRequest]:
        handle, details = note.handle, note.details_as(MapDetails)
        writable = _is_shared(handle) and "mw" in details.flags
        return [
            OpenRequest(
                key=_key(note),
                mount_id=handle.mount_id,
                path=details.inside,
                flags=os.O_RDWR if writable else os.O_RDONLY,
                expected=Expected.FILE,
                contents=details.contents,
                deleted=handle.deleted,
                before=details.before,
            )
        ]

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> list[ReboundHandle]:
        by_key: dict[str, list[HandleNote]] = {}
        for note in notes:
            by_key.setdefault(_key(note), []).append(note)
        failed: dict[int, str] = {}
        unlocked: dict[int, str] = {}
        with open(directory / f"pages-{process.pid}", "rb") as saved:
            for key, mine in by_key.items():
                descriptor = openings[key].descriptor
                if descriptor is None:
                    continue
                number = process.tracee.give(descriptor)
                try:
                    for note in mine:
                        try:
                            unlocked[note.handle.start] = _map_in_spite(
                                process, note, number, openings[key], directory
                            )
                            _write_back(process, note, saved.fileno())
                        except ProcessLookupError:
                            raise
                        except OSError as error:  # the others must not suffer for it
                            failed[note.handle.start] = error.strerror or str(error)
                finally:
                    process.tracee.call("close", number)
        return [_outcome(note, openings[_key(note)], failed, unlocked) for note in notes]

    def is_parked(self, process: StoppedProcess, note: HandleNote) -> bool:
        """Whether the placeholder is mapped at its address."""
        handle = note.handle
        return link(f"/proc/{process.pid}/map_files/{handle.start:x}-{handle.end:x}") == MEMORY_LINK


def _outcome(
    note: HandleNote, opened: OpenResult, failed: dict[int, str], unlocked: dict[int, str]
) -> ReboundHandle:
    start = note.handle.start
    if start in failed:
        return ReboundHandle(note.handle, HandleOutcome.LOST, failed[start])
    words = "; ".join(filter(None, (opened.note, unlocked.get(start))))
    more_bytes = note.details_as(MapDetails).shared_bytes if start in unlocked else 0
    return ReboundHandle(note.handle, opened.outcome, words, more_bytes)


_PLAIN = MapSettings(frozenset({"mw"}))


def _details(process: StoppedProcess, handle: Handle, settings: MapSettings) -> dict[str, Any]:
    key = settings.protection_key
    if key:
        _refuse_key_that_cannot_be_given(process, handle, key)
    return {
        "flags": tuple(sorted(settings.flags)),
        "shared_bytes": 0 if _is_shared(handle) else settings.shared_bytes,
        "protection_key": key,
    }


def _refuse_key_that_cannot_be_given(process: StoppedProcess, handle: Handle, key: int) -> None:
    """Raises Blocked where its process could not give it this key again: to give it the one that it
    has changes nothing, and is refused then as well."""
    arguments = handle.start, handle.end - handle.start, _protection(handle), key
    try:
        process.tracee.call("pkey_mprotect", *arguments)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise Blocked(
            f"process {process.pid}: map {handle.path}: its protection key was freed, or is the"
            " kernel's own, of memory that can only be executed: nobody can give it that again",
            "End the process; then try again.",
        ) from error


def _give_key(process: StoppedProcess, note: HandleNote, protection: int) -> None:
    key = note.details_as(MapDetails).protection_key
    if key:
        handle = note.handle
        length = handle.end - handle.start
        process.tracee.call("pkey_mprotect", handle.start, length, protection, key)


def _first(note: HandleNote, protection: int) -> int:
    """With what protection it is made. One that can only be executed, and gets a protection key
    afterwards, is made otherwise: the kernel would take a key of its own for that, and change what
    the calling thread may do."""
    has_key = note.details_as(MapDetails).protection_key
    return protection | _READ if has_key and protection == _EXECUTE else protection


def _key(note: HandleNote) -> str:
    """Maps of one file need one descriptor, opened as the strictest of them needs it."""
    writable = _is_shared(note.handle) and "mw" in note.details_as(MapDetails).flags
    return f"{note.details.key}-{'rw' if writable else 'r'}"


def _is_shared(handle: Handle) -> bool:
    return handle.mode.endswith("s")


def _protection(handle: Handle) -> int:
    return sum(bit for letter, bit in _PROTECTIONS if letter in handle.mode)


def _save(process: StoppedProcess, handle: Handle, pagemap: int, file: Any) -> list[SavedPages]:
    """Append the map's own pages to the file: address, length, where in the file."""
    if _is_shared(handle):
        return []
    found = []
    for start, end in own_pages(pagemap, handle.start, handle.end):
        for address in range(start, end, _PAGES_AT_ONCE_BYTES):
            length = min(_PAGES_AT_ONCE_BYTES, end - address)
            found += _save_range(process, address, length, file)
    return found


def _save_range(process: StoppedProcess, address: int, length: int, file: Any) -> list[SavedPages]:
    """What of a range can be read: of what cannot, its process has nothing either (SIGBUS)."""
    try:
        data = process.tracee.read(address, length)
    except ProcessLookupError:
        raise
    except OSError:
        if length <= PAGE_BYTES:
            return []
        parts = range(address, address + length, PAGE_BYTES)
        return [each for part in parts for each in _save_range(process, part, PAGE_BYTES, file)]
    place = file.tell()
    file.write(data)
    return [(address, length, place)]


def _map_in_spite(
    process: StoppedProcess, note: HandleNote, number: int, opened: OpenResult, directory: Path
) -> str:
    """As `_map`, also where the file has become append-only, which mmap(2) refuses to share."""
    try:
        return _map(process, note, number)
    except PermissionError:
        place = opened.descriptor
        if place is None or not opened.is_proven or not _is_shared(note.handle):
            raise
        with agent_without_protection(place, note.handle.mount_id, directory):
            return _map(process, note, number)


def _map(process: StoppedProcess, note: HandleNote, number: int) -> str:
    """Map it as it was; in words what could not be kept. Raises OSError when there is no map."""
    handle, flags = note.handle, set(note.details_as(MapDetails).flags)
    tracee, length = process.tracee, handle.end - handle.start
    how = _FIXED | (_SHARED if _is_shared(handle) else _PRIVATE)
    if "nr" in flags:
        how |= _NO_RESERVE
    protection = _protection(handle)
    first = _first(note, protection)
    tracee.call("mmap", handle.start, length, first, how, number, handle.offset)
    for flag, advice in _ADVICE.items():
        if flag in flags:
            try:
                tracee.call("madvise", handle.start, length, advice)
            except ProcessLookupError:
                raise
            except OSError:  # advice: it works without
                continue
    words = _lock(process, handle, flags) if "lo" in flags else ""
    _give_key(process, note, protection)  # after that the calling thread may not touch it any more
    return words


def _lock(process: StoppedProcess, handle: Handle, flags: Collection[str]) -> str:
    """Lock it in memory; in words why it is not."""
    on_fault = _LOCK_ON_FAULT if "lf" in flags else 0
    try:
        process.tracee.call("mlock2", handle.start, handle.end - handle.start, on_fault)
    except ProcessLookupError:
        raise
    except OSError as error:  # a right that it has given up since
        return f"not locked in memory any more: {error.strerror}"
    return ""


def _write_back(process: StoppedProcess, note: HandleNote, saved: int) -> None:
    for address, length, position in note.details_as(MapDetails).pages:
        for done in range(0, length, _PAGES_AT_ONCE_BYTES):
            wanted = min(_PAGES_AT_ONCE_BYTES, length - done)
            part = os.pread(saved, wanted, position + done)
            if len(part) < wanted:
                raise OSError(errno.ENODATA, "its own pages are missing in the record")
            try:
                process.tracee.write(address + done, part)
            except ProcessLookupError:
                raise
            except OSError as error:
                words = "own pages beyond the end of the file, which is shorter now, are lost"
                raise OSError(error.errno or errno.EFAULT, words) from error
