"""What is only in memory when storage has failed: saved by Flush, put back before Remount mounts.

Invariant: nothing here makes a step fail, but for a record that cannot be written: what cannot be
saved or put back is told, and everything else goes on. What was put back is never put back again,
because programs may have written since.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from holdfast.applications.rebind.parking.relocation import OtherContents, SameFileSystem
from holdfast.errors import HoldfastError
from holdfast.model.finding import Finding, Verdict
from holdfast.model.handle import HandleKind
from holdfast.restoration.records.record import MOST_TOLD
from holdfast.restoration.records.work import Work
from holdfast.restoration.steps.mounting import source_and_options
from holdfast.restoration.steps.parked import parked, record_directory
from holdfast.restoration.storage.directory import saved_writes_directory
from holdfast.restoration.storage.saved_writes import (
    PUT_BACK,
    SavedFile,
    SavedWrites,
    Target,
    as_requests,
    judge,
    put_back,
    save,
    writable,
)
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.fuse.cover_server import FILE_SYSTEM as COVER_TYPE
from holdfast.system.mounts.all_namespaces import all_mount_points

_SHARE = 1 / 3
"""Of the time that is left: what saving may take; the same again is left for putting it back."""
_GRACE_SECONDS = 2.0
"""How much longer a child may take than it is to: then it hangs."""


def saved(work: Work) -> list[str]:
    """Save what is only in memory, if that is wanted; in words. Durable on return. Blocks a third
    of the time that is left, at most."""
    rebind = parked(work)
    if not work.intent.saves_writes or rebind is None:
        return []
    users = [user for user in rebind.users if user.pid in rebind.pids]
    files, left_out = writable(users)
    directory = saved_writes_directory(work.settings, work.restoration.id)
    seconds = max(work.seconds_left() * _SHARE, 0.0)
    try:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)
        found = in_expendable_child(
            partial(save, files, directory, seconds), seconds + _GRACE_SECONDS, "memory of files"
        )
    except (HoldfastError, OSError) as error:
        _tell(work, work.old.mount.path, f"what was only in memory could not be saved: {error}")
        return []
    interesting = tuple(each for each in found if each.saved_bytes or each.outcome)
    work.remember(saved=SavedWrites(interesting, left_out))
    saved_bytes = sum(each.saved_bytes for each in interesting)
    count = sum(1 for each in interesting if each.name)
    return [f"{saved_bytes} bytes of {count} files saved from memory"]


def put_saved_back(work: Work, *, undoing: bool = False) -> list[str]:
    """Put it on the storage that is mounted next, which nobody sees yet; in words. Idempotent.

    `undoing`: on the old storage. Where something is mounted at its place already, somebody may
    have written: nothing is put back then.
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
        writes = _put_back(work, writes, which)
    except (HoldfastError, OSError) as error:
        _tell(work, work.old.mount.path, f"what was saved could not be put back: {error}")
        return []
    work.remember(saved=replace(writes, put_back_on=which))
    _tell_outcomes(work, writes)
    done = sum(1 for each in writes.files if each.outcome.startswith(PUT_BACK))
    return [f"{done} of {len(writes.files)} files have what was only in memory"]


def _put_back(work: Work, writes: SavedWrites, which: str) -> SavedWrites:
    volume = work.new if which == "new" else work.old
    assert volume is not None
    rebind = parked(work)
    kinds = HandleKind.FILE, HandleKind.MAP
    requests = as_requests([] if rebind is None else rebind.asked_for(*kinds))
    source, options = source_and_options(work, volume)
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
        work.remember(saved=writes)
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
