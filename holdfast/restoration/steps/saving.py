"""What is only in memory when storage has failed: saved by Flush, put back before Remount mounts.

Invariant: nothing here makes a step fail, but for a record that cannot be written: what cannot be
saved or put back is told, and everything else goes on. What was put back is never put back again,
because programs may have written since.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial

from holdfast.applications.rebind.parking.relocation import OtherContents, SameFileSystem
from holdfast.applications.rebind.rebind import Rebind
from holdfast.errors import HoldfastError, StateFailed
from holdfast.model.finding import Finding, Verdict
from holdfast.model.handle import HandleKind
from holdfast.restoration.records.record import MOST_TOLD
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps.mounting import source_and_options
from holdfast.restoration.steps.parked import parked, record_directory
from holdfast.restoration.storage.directory import saved_writes_directory
from holdfast.restoration.storage.memory_taken import save, writable
from holdfast.restoration.storage.saved_writes import (
    PUT_BACK,
    SavedFile,
    SavedWrites,
    Target,
    as_requests,
    judge,
    put_back,
)
from holdfast.system.children.expendable import begun_in_expendable_child, in_expendable_child
from holdfast.system.fuse.cover_server import FILE_SYSTEM as COVER_TYPE
from holdfast.system.mounts.all_namespaces import all_mount_points

_SHARE = 1 / 3
"""Of the time that is left: what saving may take; the same again is left for putting it back."""
_GRACE_SECONDS = 2.0
"""How much longer a child may take than it is to: then it hangs."""
_OPENED = b"opened"
_WORD_BYTES = 64
_SHUTS_DOWN = "xfs"

_Take = Callable[[], SavedWrites]


def saved(work: Work) -> list[str]:
    """Save what is only in memory, if that is wanted; in words. Durable on return. Blocks a third
    of the time that is left, at most."""
    rebind = parked(work)
    if not work.intent.saves_writes or rebind is None:
        return []
    with _opened(work, rebind) as take:
        return _saved(work, take)


@contextmanager
def ready_to_save(work: Work) -> Iterator[Callable[[], list[str]]]:
    """What is `saved`, called when the storage turns out to have failed.

    XFS shuts itself down then, opens nothing and does not say how large a file is: its files are
    open, and their sizes known, before this is entered.
    """
    rebind = parked(work)
    if work.old.mount.filesystem != _SHUTS_DOWN or not work.intent.saves_writes or rebind is None:
        yield partial(saved, work)
        return
    with _opened(work, rebind) as take:
        yield partial(_saved, work, take)


@contextmanager
def _opened(work: Work, rebind: Rebind) -> Iterator[_Take]:
    """A child that has all files open, and takes what is in memory of them when this is called.
    Waits for that as long as saving may take."""
    files, left_out = writable([user for user in rebind.users if user.pid in rebind.pids])
    directory = saved_writes_directory(work.settings, work.restoration.id)
    ours, childs = socket.socketpair()

    def opened() -> float:
        childs.send(_OPENED)
        return float(childs.recv(_WORD_BYTES))

    with ours, childs, ExitStack() as stack:
        doing = partial(save, files, directory, opened)
        seconds = max(work.seconds_left(), 0.0)
        try:
            begun = begun_in_expendable_child(doing, seconds, "memory of files")
            result = stack.enter_context(begun)
        except OSError as error:  # no room for a process
            result = partial(_fail, error)
        childs.close()
        ours.settimeout(_seconds(work))
        with suppress(OSError):  # it hangs, or has ended: the result says so
            ours.recv(_WORD_BYTES)

        def take() -> SavedWrites:
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(mode=0o700)
            seconds = _seconds(work)
            ours.send(b"%f" % seconds)
            found = result(seconds + _GRACE_SECONDS)
            return SavedWrites(tuple(filter(_is_told, found)), left_out)

        yield take


def _fail(error: OSError, seconds: float) -> list[SavedFile]:
    raise error


def _is_told(file: SavedFile) -> bool:
    return bool(file.saved_bytes or file.outcome)


def _saved(work: Work, take: _Take) -> list[str]:
    try:
        writes = take()
    except (HoldfastError, OSError) as error:
        _tell(work, work.old.mount.path, f"what was only in memory could not be saved: {error}")
        return []
    work.remember(saved=writes)
    saved_bytes = sum(each.saved_bytes for each in writes.files)
    count = sum(1 for each in writes.files if each.name)
    return [f"{saved_bytes} bytes of {count} files saved from memory"]


def _seconds(work: Work) -> float:
    return max(work.seconds_left() * _SHARE, 0.0)


def put_saved_back(work: Work, *, undoing: bool = False) -> list[str]:
    """Put it on the storage that is mounted next, which nobody sees yet; in words. Idempotent.

    `undoing`: on the old storage. Where something is mounted at its place already, somebody may
    have written: nothing is put back then. Raises StateFailed where it cannot be recorded; not in
    an undo, which has to mount the old storage whatever happens: processes stand.
    """
    writes = work.record.saved
    which = "old" if undoing or work.new is None else "new"
    if writes is None or writes.put_back_on == which:
        return []
    if _is_mounted(work):
        if not undoing:
            words = "what was saved is put back nowhere: something is mounted there already"
            _tell(work, work.old.mount.path, words)
        return []
    try:
        writes = _put_back(work, writes, which, undoing=undoing)
    except StateFailed:
        raise  # nothing could be written down of it: undone, the old storage has it
    except (HoldfastError, OSError) as error:
        _tell(work, work.old.mount.path, f"what was saved could not be put back: {error}")
        return []
    _remember(work, replace(writes, put_back_on=which), undoing=undoing)
    _tell_outcomes(work, writes)
    done = sum(1 for each in writes.files if each.outcome.startswith(PUT_BACK))
    return [f"{done} of {len(writes.files)} files have what was only in memory"]


def _remember(work: Work, writes: SavedWrites, *, undoing: bool) -> None:
    remember = work.remember_if_possible if undoing else work.remember
    remember(saved=writes)


def _put_back(work: Work, writes: SavedWrites, which: str, *, undoing: bool) -> SavedWrites:
    volume = work.new if which == "new" else work.old
    assert volume is not None
    rebind = parked(work)
    kinds = HandleKind.FILE, HandleKind.MAP
    requests = as_requests([] if rebind is None else rebind.asked_for(*kinds))
    source, options = source_and_options(work, volume, undoing=undoing)
    target = Target(
        source,
        volume.mount.filesystem,
        options,
        work.points,
        SameFileSystem() if volume is work.old else OtherContents(),
        record_directory(work),
    )
    if writes.judged_for != which:
        kept = [each for each in writes.files if each.name]
        words = _in_child(work, partial(judge, kept, requests, target))
        writes = replace(_with(writes, kept, words), judged_for=which)
        _remember(work, writes, undoing=undoing)
    wanted = [each for each in writes.files if each.name and not each.outcome]
    directory = saved_writes_directory(work.settings, work.restoration.id)
    words = _in_child(work, partial(put_back, wanted, requests, target, directory))
    return _with(writes, wanted, words)


def _in_child(work: Work, function: partial[list[str]]) -> list[str]:
    seconds = max(work.seconds_left() / 2, _GRACE_SECONDS)
    return in_expendable_child(function, seconds, "the storage that comes")


def _with(writes: SavedWrites, files: Sequence[SavedFile], words: Sequence[str]) -> SavedWrites:
    """The same with these outcomes."""
    outcomes = {each.name: outcome for each, outcome in zip(files, words, strict=True)}
    return replace(
        writes,
        files=tuple(
            replace(each, outcome=outcomes.get(each.name, each.outcome)) for each in writes.files
        ),
    )


def _is_mounted(work: Work) -> bool:
    places = {(each.namespace, each.path) for each in work.points}
    return any(
        (each.namespace, each.path) in places and each.filesystem != COVER_TYPE
        for each in all_mount_points()
    )


def _tell_outcomes(work: Work, writes: SavedWrites) -> None:
    """Findings of what is not as its users knew it."""
    found = [
        Finding(each.path, Verdict.LIMITED, f"what was only in memory: {each.outcome}")
        for each in writes.files
        if each.outcome != PUT_BACK
    ]
    if writes.left_out:
        words = f"{writes.left_out} files more than can be saved at once were open for writing"
        found.append(Finding(work.old.mount.path, Verdict.LIMITED, words))
    work.tell(found[:MOST_TOLD])


def _tell(work: Work, subject: str, words: str) -> None:
    work.tell([Finding(subject, Verdict.LIMITED, words)])
