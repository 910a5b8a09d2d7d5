"""Stop, park, rebind, release: the moving of all handles of all users of a volume.

Owns the order of things. Invariant: from the first parked handle to the last release the record
says enough for `regain` to go on, and the threads of all users wait in their harbours when we die.
Only from `stop` to `park` may a user be let go as if nothing had happened.
"""

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.alarm import LEAST_SECONDS, STOPPING_SECONDS, Alarm
from holdfast.applications.rebind.births import is_being_born, parents_first
from holdfast.applications.rebind.confinement import refuse_confined
from holdfast.applications.rebind.dead_calls import flush_that_failed, is_to_be_made_again
from holdfast.applications.rebind.execution import execution_permitted
from holdfast.applications.rebind.file_servers import clients_first, serving
from holdfast.applications.rebind.garbage import without_collection
from holdfast.applications.rebind.handles import DRIVERS
from holdfast.applications.rebind.hindrances import hindrance
from holdfast.applications.rebind.kept_contents import NO_ROOM, no_room
from holdfast.applications.rebind.late import still_parked
from holdfast.applications.rebind.looking_back import inodes_of, look_in_memory, looking_back
from holdfast.applications.rebind.noting import note_execution, note_handles
from holdfast.applications.rebind.opener import Opener
from holdfast.applications.rebind.outcomes import ReboundHandle
from holdfast.applications.rebind.parking import Act, Note, Record, note_from_json
from holdfast.applications.rebind.patience import Patience, Patiences
from holdfast.applications.rebind.placeholders import Placeholders
from holdfast.applications.rebind.places import Carrying, Copied, Kept, Unknown, key_of
from holdfast.applications.rebind.putting_back import lock_again, put_back
from holdfast.applications.rebind.scan import blockers, judge
from holdfast.applications.rebind.stopped import Processes, StoppedProcess, rights_of_process
from holdfast.applications.rebind.target import Target
from holdfast.applications.rebind.threads import Unruly, start_time
from holdfast.errors import (
    Blocked,
    DeadlinePassed,
    HoldfastError,
    Refused,
    StorageFailed,
)
from holdfast.model.handle import Handle, HandleOutcome, JudgedHandle, User
from holdfast.model.mountpoint import MountPoint
from holdfast.system.inode_identity import LASTING

Find = Callable[[], Sequence[User]]

MOST_ROUNDS = 10
"""Users that appear while others are stopped are stopped as well; this often it is looked again."""

_LATE_SECONDS = 10.0
"""How long those may stand once more that have left the harbour at their deadline."""

_WORDS_AT_MOST = 3

_MENDS = {
    errno.ENOMEM: "Let it have more memory maps and address space: prlimit --pid {pid}"
    " --as=unlimited --data=unlimited, sysctl vm.max_map_count; or end it.",
    errno.EMFILE: "Let it have more descriptors (prlimit --pid {pid} --nofile), or end it.",
    errno.ENFILE: "Let this host have more open files (sysctl fs.file-max).",
}
"""For those who have reached a limit."""


class Rebind:
    """All users of a volume, moved together. Use from one thread only (ptrace(2))."""

    def __init__(
        self,
        record_directory: Path,
        users: Sequence[User],
        deadline_ns: int,
        mounts: Sequence[MountPoint] = (),
        find: Find | None = None,
        *,
        storage_answers: bool = True,
        digest_limit_bytes: int = -1,
        seized: Callable[[], object] | None = None,
        written_through: bool = False,
        refuses_confined: bool = False,
        alarm_seconds: float = LEAST_SECONDS,
    ) -> None:
        """`deadline_ns`: of CLOCK_MONOTONIC; users leave the harbour then, whatever happened.

        `find` lists the users again; without it nobody may begin to use the volume after `users`
        were found. `storage_answers`: False when the old storage may hang or is dead, then nothing
        is asked of it, nothing compared and no contents carried over. `digest_limit_bytes`: files
        up to that size are compared by contents where size agrees and time does not. `seized` is
        called when users are told to stop, and before they are waited for: the place to abort a
        dead mount, so that calls which wait inside return; with it, those that fail because of that
        are made again on the new mount; flushes only if `written_through` says that what they were
        to make durable is not lost. `refuses_confined`: users who would lose what Landlock permits
        them are a reason not to begin. `alarm_seconds`: if we hang past the deadline, and for so
        long at least, we are killed (see alarm).
        """
        self._record = Record(record_directory)
        self._users = list(users)
        self._deadline_ns = deadline_ns
        self._roots = {mount.id: mount.inside for mount in mounts}
        self._lasting = {mount.id for mount in mounts if mount.filesystem in LASTING}
        self._without_execution = {
            mount.id for mount in mounts if "noexec" in mount.options.split(",")
        }
        self._copied: Copied | None = None
        self._find = find
        self._storage_answers = storage_answers
        self._digest_limit_bytes = digest_limit_bytes
        self._seized = seized
        self._written_through = written_through
        self._refuses_confined = refuses_confined
        self.calls_made_again = 0
        """System calls that had failed because of the dead mount."""
        self.calls_failed: list[str] = []
        """Those whose errors their programs see: the writes that they were to flush are lost."""
        self._processes = Processes()
        left_seconds = (deadline_ns - time.monotonic_ns()) / 1e9
        self._patiences = Patiences(left_seconds if left_seconds > 1 else _LATE_SECONDS)
        self._servers: set[int] = set()
        """Those that serve file systems, which others may wait for."""
        self._alarm: Alarm | None = None
        self._alarm_seconds = alarm_seconds

    @property
    def users(self) -> tuple[User, ...]:
        """Those that were found last."""
        return tuple(self._users)

    @property
    def pids(self) -> tuple[int, ...]:
        """Processes that are stopped now and alive as far as is known."""
        return tuple(self._processes)

    # --- stopping -------------------------------------------------------------------------------

    @without_collection()
    def stop(self) -> None:
        """Stop every user, those included that appear meanwhile.

        Raises Blocked when a handle of one cannot be moved: nobody is stopped then, unless it
        appeared meanwhile. Raises Refused or DeadlinePassed when one cannot be stopped. All go on
        as before then.
        """
        self._refuse(judge(self._users))
        _raise_limit_of_descriptors()
        self._servers = serving(self._users)
        stopped_ns = time.monotonic_ns() + int(STOPPING_SECONDS * 1e9)
        self._set_alarm(min(self._deadline_ns, stopped_ns))
        try:
            for _ in range(MOST_ROUNDS):
                if not self._stop_all():
                    break
                if self._find is None:
                    break
                self._users = list(self._find())
            self._refuse(judge(self._living()))
            if self._refuses_confined:
                refuse_confined(self._processes)
        except BaseException as error:
            self._let_all_go()
            raise self._refusal(error) from error
        self._set_alarm(self._deadline_ns)

    def _living(self) -> list[User]:
        return [user for user in self._users if user.pid in self._processes]

    def _stop_all(self) -> bool:
        """Stop those that are not stopped yet; whether there was any."""
        seized: list[tuple[User, Target]] = []
        try:
            new = [user for user in self._users if user.pid not in self._processes]
            for turn in clients_first(parents_first(new), self._servers):
                self._stop_turn(turn, seized)
            found = bool(seized)
            # Not before all of them stand: some may share memory or descriptors.
            while seized:
                user, target = seized[0]
                try:
                    target.enter_harbour(self._deadline_ns)
                    self._processes[user.pid] = StoppedProcess(
                        user.pid,
                        user.name,
                        target,
                        storage_answers=self._storage_answers,
                        rights=rights_of_process(user.pid),
                    )
                    if self._seized is not None:
                        self._make_calls_again(user, target)
                except Unruly as error:
                    raise _cannot_be_moved(user, target, error) from error
                except ProcessLookupError:
                    target.abandon()
                seized.pop(0)
        except BaseException:
            for _, target in seized:
                target.abandon()
            raise
        return found

    def _stop_turn(self, users: Sequence[User], seized: list[tuple[User, Target]]) -> None:
        """Seize these and wait until they stand; they are added to `seized`."""
        mine: list[tuple[User, Target]] = []
        for user in users:
            if not self._comes_later(user, seized):
                with suppress(ProcessLookupError):
                    patience = self._patiences.with_user_of(user.pid)
                    mine.append((user, Target.seize(user.pid, patience)))
                    seized.append(mine[-1])
        if mine and self._seized is not None:
            self._seized()
        for each in mine:
            try:
                each[1].await_stop()
            except ProcessLookupError:
                each[1].abandon()
                seized.remove(each)

    def _comes_later(self, user: User, seized: Sequence[tuple[User, Target]]) -> bool:
        """One whose parent cannot stop before it has run on: the next look finds it."""
        return self._find is not None and is_being_born(user.pid, [each.pid for each, _ in seized])

    def _make_calls_again(self, user: User, target: Target) -> None:
        """What failed because the mount was aborted has not happened, as the program sees it."""
        numbers = {each.number for each in user.handles if each.number is not None}
        for thread_id, (call, error) in target.failed_calls().items():
            descriptor = target.threads[thread_id].argument(0)
            if is_to_be_made_again(
                call, error, descriptor, numbers, written_through=self._written_through
            ):
                target.make_call_again(thread_id)
                self.calls_made_again += 1
            elif flush := flush_that_failed(call, descriptor, numbers):
                words = f"{flush} of descriptor {descriptor} in {user.name} (process {user.pid})"
                self.calls_failed.append(f"{words}: {os.strerror(error)}")

    def _refuse(self, judged: Sequence[JudgedHandle]) -> None:
        found = blockers(judged)
        if found:
            words = "; ".join(
                f"process {each.handle.pid}: {each.handle.kind} {each.handle.path}: {each.reason}"
                for each in found[:_WORDS_AT_MOST]
            )
            more = len(found) - _WORDS_AT_MOST
            raise Blocked(
                f"what keeps the volume busy cannot be moved: {words}"
                + (f" (and {more} more)" if more > 0 else ""),
                "End these processes, or close what they hold.",
            )

    def _let_all_go(self) -> None:
        """Let each go, whatever becomes of the others. Raises OSError afterwards."""
        failed: list[OSError] = []
        while self._processes:
            pid, process = next(iter(self._processes.items()))
            try:
                process.target.release()
            except ProcessLookupError:
                pass
            except OSError as error:
                failed.append(error)
            del self._processes[pid]
        self._cancel_alarm()
        if failed:
            raise failed[0]

    def _set_alarm(self, deadline_ns: int) -> None:
        if self._alarm is None:
            self._alarm = Alarm(deadline_ns, self._alarm_seconds)
        else:
            self._alarm.move(deadline_ns)

    def _cancel_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    # --- parking --------------------------------------------------------------------------------

    @without_collection()
    def park(self) -> None:
        """Let no handle of the users point to the old mounts any more.

        Raises Blocked, DeadlinePassed, OSError. When it fails before anything was parked, all go
        on as before; afterwards `rebind` to the old mounts and `release` undo it.
        """
        try:
            self._record.begin(self._deadline_ns)
            self._note()
        except FileExistsError:
            raise  # it is another's
        except BaseException as error:
            self._let_all_go()
            self._record.remove()
            refusal = self._refusal(error)
            if refusal is error and isinstance(error, OSError):
                refusal = _not_noted(self._record.directory, error)
            raise refusal from error
        self._record.write({"act": Act.PARKING})
        try:
            self._park()
        except OSError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: BaseException) -> BaseException:
        """In words, when a call inside one of them failed: it may have reached its limits."""
        if not isinstance(error, OSError) or isinstance(error, ProcessLookupError):
            return error
        pids = {f"/proc/{user.pid}": user for user in self._users}
        user = pids.get(str(error.filename))
        if user is None:
            return error
        mend = _MENDS.get(error.errno or 0, "See its limits (prlimit --pid), or end it.")
        return Refused(
            f"{user.name} (process {user.pid}) cannot be moved: {error.strerror}",
            mend.format(pid=user.pid),
        )

    def _note(self) -> None:
        handles = {user.pid: user.handles for user in self._living()}
        processes = list(self._processes.values())
        directory = self._record.directory
        lasting = self._lasting
        asked = handles if self._storage_answers else {}
        with looking_back(
            processes, asked, directory, self._deadline_ns, self._digest_limit_bytes, lasting
        ) as add:
            note_handles(processes, handles, self._roots, directory, lasting)
            add()
        if self._without_execution:
            note_execution(processes, self._without_execution)
        if not self._storage_answers:
            look_in_memory(processes, handles, lasting)
        self._record.write(*(_entry(process) for process in processes))

    def _park(self) -> None:
        placeholders = Placeholders()
        try:
            for process in list(self._processes.values()):
                with self._processes.unless_it_ends(process):
                    process.target.set_parked(True)
            for process in list(self._processes.values()):
                with self._processes.unless_it_ends(process):
                    for kind, driver in DRIVERS.items():
                        notes = process.notes_of(kind)
                        if notes:
                            driver.park(process, notes, placeholders)
        finally:
            placeholders.close()
        self._tell(Act.PARKED)

    # --- rebinding ------------------------------------------------------------------------------

    @without_collection()
    def rebind(
        self, bases: Mapping[int, int], *, same_data: bool = False, same_inodes: bool = False
    ) -> list[ReboundHandle]:
        """Let all handles point to the new mounts; what became of each.

        `bases`: old mount → descriptor of the root of the mount that replaces it. Handles of mounts
        that are not among them count as missing. `same_data`: the contents are known to be those of
        before. `same_inodes`: it is the very file system that was dismounted; otherwise files are
        found where `files_were_copied` has said, and where it was not called they are other ones
        (see places). May be repeated. Raises DeadlinePassed, StorageFailed when the new storage
        does not answer: everything stays parked then.
        """
        self._tell(Act.REBINDING)
        carrying: Carrying = Kept() if same_inodes else self._copied or Unknown()
        opener = Opener(
            bases, self._record.directory, self._deadline_ns, carrying, same_data=same_data
        )
        with opener, execution_permitted(bases, list(self._processes.values())):
            lines = put_back(self._processes, opener, self._record.directory)
        lines = lock_again(self._processes, lines)
        self._tell(Act.REBOUND)
        return [*lines, *self._unmoved({line.handle for line in lines})]

    def _unmoved(self, told: Collection[Handle]) -> list[ReboundHandle]:
        """The handles of those that did not do what they were asked, but for those told of."""
        return [
            ReboundHandle(note.handle, HandleOutcome.LOST, words)
            for notes, words in self._processes.unruly
            for note in notes
            if note.handle not in told
        ]

    def inodes(self) -> dict[str, tuple[str, int, str]]:
        """What is parked, for whoever has copied the files: by `places.key_of`, what the old file
        system calls the inode (empty: nothing that lasts), its number, and a path it had."""
        found: dict[str, tuple[str, int, str]] = {}
        for process in self._processes.values():
            for was, inside in inodes_of(process.notes):
                key = key_of(was.identity, was.inode)
                found.setdefault(key, (was.identity, was.inode, inside))
        return found

    def files_were_copied(self, copied: Copied) -> None:
        """Where each inode's file is on the file system that comes next; written down before
        anything can be mounted there. Raises OSError."""
        self._record.write({"act": Act.COPIED, "places": copied.as_json()})
        self._copied = copied

    def _tell(self, act: str) -> None:
        """Note how far it came. Without it a later agent repeats what was done, so a full disk is
        no reason to leave anybody without handles."""
        with suppress(OSError):
            self._record.write({"act": act})

    # --- letting go -----------------------------------------------------------------------------

    @without_collection()
    def release(self) -> None:
        """Let all users go on, and remove the record."""
        self._let_all_go()
        self._record.remove()

    def set_deadline(self, deadline_ns: int) -> None:
        """When the users continue by themselves: ns of CLOCK_MONOTONIC, instead of as before."""
        self._deadline_ns = deadline_ns
        self._set_alarm(deadline_ns)
        for process in list(self._processes.values()):
            with self._processes.unless_it_ends(process):
                process.target.set_deadline(deadline_ns)

    def leave(self) -> None:
        """Leave all users parked: they wait until the deadline, or until `regain`."""
        for process in self._processes.values():
            process.target.abandon()
        self._processes.clear()
        self._cancel_alarm()

    # --- going on after a death -----------------------------------------------------------------

    @classmethod
    @without_collection()
    def regain(cls, record_directory: Path) -> Rebind | None:
        """Take over what another agent left parked.

        Those that have left the harbour at their deadline are stopped once more, if any of their
        handles are placeholders still. None when nothing is left to be done: users whose handles
        were all rebound are let go, the record is removed. Otherwise everything is parked, whatever
        was begun, and `rebind` and `release` come next. Raises DeadlinePassed, Refused.
        """
        record = Record(record_directory)
        entries = record.read()
        acts = {entry["act"] for entry in entries}
        if Act.PARKING not in acts:
            record.remove()
            return None
        _raise_limit_of_descriptors()
        self = cls(record_directory, (), entries[0]["deadline_ns"])
        self._set_alarm(self._deadline_ns)
        try:
            for entry in entries:
                if entry["act"] == Act.COPIED:
                    self._copied = Copied.from_json(entry["places"])
            self._regain_all([entry for entry in entries if entry["act"] == Act.PROCESS])
        except BaseException:
            self.leave()
            raise
        if not self._processes or Act.REBOUND in acts:
            self.release()
            return None
        if Act.PARKED not in acts or Act.REBINDING in acts:
            self._park()  # also what was rebound: its new locks would be in the way of new ones
        return self

    def _regain_all(self, entries: Sequence[dict[str, Any]]) -> None:
        """Take over every process; one that cannot be keeps nobody else from being finished.

        Raises DeadlinePassed, Refused when it is the only one: it stays parked then.
        """
        left_out: list[dict[str, Any]] = []
        for entry in entries:
            try:
                self._regain(entry)
            except (DeadlinePassed, Refused):
                left_out.append(entry)
        for entry in left_out:
            try:
                self._regain(entry)
            except (DeadlinePassed, Refused) as error:
                if not self._processes:
                    raise
                self._processes.unruly.append((_notes(entry), str(error)))

    def _regain(self, entry: dict[str, Any]) -> None:
        values = entry["target"]
        patience = self._patiences.with_user_of(values["pid"])
        try:
            target = Target.regain(values, patience=patience)
            late = target is None
            if target is None:
                target = self._stop_late(values, patience)
        except Unruly as error:
            self._processes.unruly.append((_notes(entry), error.strerror or str(error)))
            return
        if target is None:
            return
        process = StoppedProcess(
            target.pid,
            str(entry["name"]),
            target,
            _notes(entry),
            rights=rights_of_process(target.pid),
        )
        self._processes[target.pid] = process
        if late:
            with self._processes.unless_it_ends(process):
                process.notes = still_parked(process)
                if not process.notes:
                    self._processes.pop(target.pid).target.release()

    def _stop_late(self, values: dict[str, Any], patience: Patience) -> Target | None:
        """Stop one that has left the harbour, as its deadline had passed; None when it has ended.

        It has placeholders in place of handles, for ever if nobody puts that right.
        """
        now_ns = time.monotonic_ns()
        self._deadline_ns = max(self._deadline_ns, now_ns + int(_LATE_SECONDS * 1e9))
        try:
            if start_time(values["pid"]) == values["start_time"]:
                token = values["token"]
                return Target.stop(
                    values["pid"], self._deadline_ns, patience=patience, left_by=token
                )
        except Unruly:
            raise
        except ProcessLookupError:
            pass
        return None


def _not_noted(directory: Path, error: OSError) -> HoldfastError:
    """Said when what processes have could not be written down; all go on as before."""
    if error.errno in NO_ROOM:
        return no_room(directory)
    return StorageFailed(
        f"what the processes have open could not be noted: {error}",
        "Everything is as it was. Look at the storage, then try again.",
    )


def _notes(entry: dict[str, Any]) -> list[Note]:
    """What the record says of the handles of a process."""
    return [note_from_json(each) for each in entry["notes"]]


def _cannot_be_moved(user: User, target: Target, error: Unruly) -> Refused:
    """Said of one that stands, and does not do what it is asked."""
    found = hindrance(user.pid, target.executor)
    return Refused(
        f"{user.name} (process {user.pid}) cannot be moved: {error.strerror}: {found.words}",
        found.mend,
    )


def _entry(process: StoppedProcess) -> dict[str, object]:
    return {
        "act": Act.PROCESS,
        "pid": process.pid,
        "name": process.name,
        "target": process.target.as_json(),
        "notes": [note.as_json() for note in process.notes],
    }


def _raise_limit_of_descriptors() -> None:
    """As far as we may: everything is opened here before it is passed on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
