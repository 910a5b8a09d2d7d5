"""Stop, park, rebind, release: the moving of all handles of all users of a volume.

Owns the order of things. Invariant: from the first parked handle to the last release the record
says enough for `regain` to go on, and the threads of all users wait in their harbours when we die.
Only from `stop` to `park` may a user be let go as if nothing had happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.applications.rebind.agent_process import (
    LEAST_SECONDS,
    STOPPING_SECONDS,
    Alarm,
    raise_limit_of_descriptors,
    without_collection,
)
from holdfast.applications.rebind.confinement import refuse_confined
from holdfast.applications.rebind.connections.making import NewConnections
from holdfast.applications.rebind.doors import Doors, received, refusal, with_answers, with_lost
from holdfast.applications.rebind.noexec_mounts import execution_permitted
from holdfast.applications.rebind.old_files import parked_inodes
from holdfast.applications.rebind.opening.opener import Opener, leaves_traces
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import OpenRequest
from holdfast.applications.rebind.park import OldStorage, park_handles, write_down
from holdfast.applications.rebind.parking.parked_datagrams import ParkedDatagrams
from holdfast.applications.rebind.parking.parked_pipes import carried_pipes
from holdfast.applications.rebind.parking.record import EntryKind, ParkingRecord
from holdfast.applications.rebind.parking.relocation import (
    CopiedFiles,
    OtherContents,
    Relocation,
    SameFileSystem,
)
from holdfast.applications.rebind.parking.stopped_process import Processes
from holdfast.applications.rebind.refusals import explained, not_noted, refuse_blockers
from holdfast.applications.rebind.replaying.failures import unmoved
from holdfast.applications.rebind.replaying.replay import lock_again, put_back, requests_for
from holdfast.applications.rebind.scan import judge
from holdfast.applications.rebind.stopping.all_users import Stopping
from holdfast.applications.rebind.stopping.births import WAIT_SECONDS, await_births
from holdfast.applications.rebind.stopping.letting_go import let_go, who_has
from holdfast.applications.rebind.stopping.regaining import LATE_SECONDS, Regaining
from holdfast.applications.rebind.stopping.second_look import Find
from holdfast.applications.rebind.tracing.time_budget import TimeBudgets
from holdfast.model.handle import Handle, HandleKind, User
from holdfast.model.mountpoint import MountPoint

_SHARE_OF_BIRTHS = 0.1
"""Of the time to the deadline: what may pass before anybody is stopped."""
_TURNS = 10
"""How often it is looked whether connections wait that nobody has accepted."""
_ALONE_SECONDS, _TOGETHER_SECONDS = 0.5, 0.1
"""How long, altogether, the others stand while those go on that can accept them; and how long all
go on, each time."""


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
        long at least, we are killed (see agent_process).
        """
        self._record = ParkingRecord(record_directory)
        self._deadline_ns = deadline_ns
        self._storage = OldStorage.of(
            mounts,
            answers=storage_answers,
            digest_limit_bytes=digest_limit_bytes,
            is_whole=seized is None,
        )
        self._processes = Processes()
        self._doors = Doors()
        self._datagrams = ParkedDatagrams(record_directory)
        self._connections = NewConnections()
        self._waiting: Sequence[Handle] = ()
        self._stopping = Stopping(
            users,
            find,
            self._processes,
            storage_answers=storage_answers,
            seized=seized,
            written_through=written_through,
            doors=self._doors,
        )
        self._copied: CopiedFiles | None = None
        self._is_whole = seized is None  # else what children wait for may be what is aborted then
        self._refuses_confined = refuses_confined
        self._is_prepared = False
        self._alone_seconds = _ALONE_SECONDS
        left_seconds = (deadline_ns - time.monotonic_ns()) / 1e9
        self._time_budgets = TimeBudgets(left_seconds if left_seconds > 1 else LATE_SECONDS)
        self._alarm = Alarm(alarm_seconds)

    @property
    def users(self) -> tuple[User, ...]:
        """The users that were found last."""
        return tuple(self._stopping.users)

    @property
    def calls_made_again(self) -> int:
        """How many system calls had failed because of the dead mount, and were made again."""
        return self._stopping.calls_made_again

    @property
    def calls_failed(self) -> list[str]:
        """Calls whose error the program sees: the writes that they were to flush are lost."""
        return list(self._stopping.calls_failed)

    @property
    def pids(self) -> tuple[int, ...]:
        """Processes that are stopped now and alive as far as is known."""
        return tuple(self._processes)

    # --- stopping -------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Check that all users can be moved, and do ahead what can be: children of ours wait then,
        until `stop` or `give_up`. Nobody is stopped. Raises Blocked, OSError. Waits for who waits
        in vfork(2), for some seconds at most. `stop` does it where this was not called before."""
        judged = judge(self._stopping.users)
        refuse_blockers(judged)
        if self._is_whole:
            left_seconds = (self._deadline_ns - time.monotonic_ns()) / 1e9
            waiting = {each.handle.pid for each in judged if each.waiting}
            await_births(waiting, min(WAIT_SECONDS, left_seconds * _SHARE_OF_BIRTHS))
        raise_limit_of_descriptors()
        self._record.prepare(handle for user in self._stopping.users for handle in user.handles)
        try:
            with without_collection():  # in the children neither
                self._alarm.prepare()
                self._stopping.prepare()
        except BaseException:
            self.give_up()
            raise
        self._is_prepared = True

    def give_up(self) -> None:
        """End the children that `prepare` has begun: `stop` will not come. Idempotent."""
        self._stopping.give_up()
        self._alarm.cancel()
        self._is_prepared = False

    def stop(self) -> None:
        """Stop every user, those included that appear meanwhile.

        Raises Blocked when a handle of one cannot be moved: nobody is stopped then, unless it
        appeared meanwhile. Raises Refused or DeadlinePassed when one cannot be stopped. All go on
        as before then.
        """
        if not self._is_prepared:
            self.prepare()
        self._stop_all()

    def stop_newcomers(self) -> bool:
        """Stop those as well who began to use the volume since `stop`; whether there were any.

        It is not looked for them when less time has passed than a look takes. Raises as `stop`; all
        go on as before then.
        """
        return self._is_whole and self._stop_all(self._stopping.finds_newcomers)

    @without_collection()
    def _stop_all(self, is_needed: Callable[[], bool] = lambda: True) -> bool:
        try:
            if not is_needed():
                return False
            for turn in range(_TURNS):
                waiting = self._stop_once()
                if not waiting or not self._is_whole:  # what was aborted fails for who goes on
                    self._waiting = waiting
                    break
                if turn == _TURNS - 1:
                    raise refusal(waiting)
                self._let_accept(waiting)
            self._alarm.set(self._deadline_ns)
        except BaseException as error:
            self._let_all_go()
            raise explained(error, self._stopping.users) from error
        return True

    def _stop_once(self) -> Sequence[Handle]:
        """Stop all of them; the sockets in which connections wait, for which all must go on."""
        stopped_ns = time.monotonic_ns() + int(STOPPING_SECONDS * 1e9)
        self._alarm.set(min(self._deadline_ns, stopped_ns))
        self._stopping.traits.clear()
        self._stopping.stop(self._deadline_ns, self._time_budgets)
        living = self._stopping.living()
        refuse_blockers(judge(living, self._stopping.traits))
        if self._refuses_confined:
            refuse_confined(self._processes, {user.pid for user in living if user.only_talks})
        self._doors.close(living, is_last=True)
        return [*self._doors.waiting, *with_answers(living)]

    def _let_accept(self, waiting: Sequence[Handle]) -> None:
        """Let those go on who can take out what waits in these sockets. The others stand, so that
        nothing more comes from them; they go on, too, when that does not help."""
        begun = time.monotonic()
        may_go_alone = self._alone_seconds > 0 and not self._stopping.serves  # to those that stand
        self._doors.open()
        with received(waiting) as are_received:
            if may_go_alone:
                let_go(self._processes, who_has(waiting, self._stopping.living()))
            if not may_go_alone or not are_received(self._alone_seconds):
                self._let_all_go()
                are_received(_TOGETHER_SECONDS)
        self._alone_seconds -= time.monotonic() - begun

    def _let_all_go(self) -> None:
        """Let each go, whatever becomes of the others. Raises OSError afterwards."""
        self._doors.open()
        self._connections.close()
        try:
            let_go(self._processes, list(self._processes))
        finally:
            self.give_up()
            self._datagrams.close()

    # --- parking --------------------------------------------------------------------------------

    @without_collection()
    def park(self) -> None:
        """Let no handle of the users point to the old mounts any more.

        Raises Blocked, DeadlinePassed, OSError. When it fails before anything was parked, all go
        on as before; afterwards `rebind` to the old mounts and `release` undo it.
        """
        try:
            self._record.begin(self._deadline_ns)
            handles = {user.pid: user.handles for user in self._stopping.living()}
            processes, more = list(self._processes.values()), self._connections
            write_down(processes, handles, self._storage, self._record, self._deadline_ns, more)
        except FileExistsError:
            raise  # it is another's
        except BaseException as error:
            self._let_all_go()
            self._record.remove()
            refusal = explained(error, self._stopping.users)
            if refusal is error and isinstance(error, OSError):
                refusal = not_noted(self._record.directory, error)
            raise refusal from error
        self._record.write({"act": EntryKind.PARKING})
        try:
            park_handles(self._processes, self._datagrams, self._connections)
            self._tell(EntryKind.PARKED)
        except OSError as error:
            raise explained(error, self._stopping.users) from error
        finally:
            self._doors.forget()  # not before: to close what waits there may take its time

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
        (see relocation). May be repeated. Raises DeadlinePassed, StorageFailed when the new storage
        does not answer: everything stays parked then.
        """
        self._tell(EntryKind.REBINDING)
        relocation: Relocation = (
            SameFileSystem() if same_inodes else self._copied or OtherContents()
        )
        directory = self._record.directory
        self._datagrams.keep_rest(self._processes)
        with (
            carried_pipes(self._processes) as pipes,
            Opener(
                bases, directory, self._deadline_ns, relocation, same_data=same_data, pipes=pipes
            ) as opener,
            execution_permitted(bases, list(self._processes.values())),
        ):
            lines = put_back(self._processes, opener, directory, self._datagrams)
        lines = lock_again(self._processes, lines, opener.locks_until_ns)
        self._tell(EntryKind.REBOUND)
        return [*with_lost(lines, self._waiting), *unmoved(lines, self._processes)]

    def inodes(self) -> dict[str, tuple[str, int, str]]:
        """What is parked, for whoever has copied the files, by `relocation.key_of`.

        Of each inode: what the old file system calls it (empty: nothing that lasts), its number,
        and a path that it had.
        """
        return parked_inodes(self._processes.values())

    def asked_for(self, *kinds: HandleKind) -> list[tuple[Handle, OpenRequest]]:
        """How each parked handle of these kinds would be opened again, with whose rights."""
        return requests_for(self._processes, kinds)

    def files_were_copied(self, copied: CopiedFiles) -> None:
        """Where each inode's file is on the file system that comes next; written down before
        anything can be mounted there. Raises OSError."""
        self._record.write({"act": EntryKind.COPIED, "places": copied.as_json()})
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
        """Set when the users continue by themselves, in ns of CLOCK_MONOTONIC. Raises OSError."""
        self._deadline_ns = deadline_ns
        self._alarm.set(deadline_ns)
        for process in list(self._processes.values()):
            with self._processes.unless_it_ends(process):
                process.tracee.set_deadline(deadline_ns)

    def leave(self) -> None:
        """Leave all users parked: they wait until the deadline, or until `regain`."""
        for process in self._processes.values():
            process.tracee.abandon()
        self._processes.clear()
        self._datagrams.close()
        self.give_up()

    # --- going on after a death -----------------------------------------------------------------

    @classmethod
    @without_collection()
    def regain(cls, record_directory: Path) -> Rebind | None:
        """Take over what another agent left parked.

        Those that have left the harbour at their deadline are stopped once more, if any of their
        handles are placeholders still. None when nothing is left to be done: users whose handles
        were all rebound are let go, the record is removed. Otherwise everything is parked, whatever
        was begun, and `rebind` and `release` come next; also when all users have ended, and what
        was set aside for them on the new storage has not been given back. Raises DeadlinePassed,
        Refused.
        """
        record = ParkingRecord(record_directory)
        parked = record.load()
        if parked is None or not parked.has_begun:
            record.remove()
            return None
        raise_limit_of_descriptors()
        self = cls(record_directory, (), parked.deadline_ns)
        self._alarm.set(self._deadline_ns)
        try:
            self._copied = parked.copied
            regaining = Regaining(self._processes, self._deadline_ns, self._time_budgets)
            regaining.regain(parked.processes)
            self._deadline_ns = regaining.deadline_ns
        except BaseException:
            self.leave()
            raise
        is_left = bool(self._processes) or leaves_traces(record_directory)
        if not is_left or EntryKind.REBOUND in parked.kinds:
            self.release()
            return None
        if EntryKind.PARKED not in parked.kinds or EntryKind.REBINDING in parked.kinds:
            # also what was rebound: its new locks would be in the way of new ones
            park_handles(self._processes, self._datagrams, self._connections)
            self._tell(EntryKind.PARKED)
        return self
