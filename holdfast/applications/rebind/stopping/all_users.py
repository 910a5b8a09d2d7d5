"""Stops every user of a volume, those included that appear while others are being stopped.

Invariant: whoever is stopped is in `processes`, in its harbour; whoever could not be stopped is let
go as it was. Nothing of any user is changed here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from holdfast.applications.earlier_look import EarlierLook, looking_after
from holdfast.applications.rebind.agent.steps import Steps, side_by_side
from holdfast.applications.rebind.agent.tracee import Tracee
from holdfast.applications.rebind.doors import Doors
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.parking.stopped_process import (
    Processes,
    StoppedProcess,
    rights_of_process,
)
from holdfast.applications.rebind.refusals import cannot_be_moved
from holdfast.applications.rebind.scan import traits_of
from holdfast.applications.rebind.stopping.failed_calls import (
    flush_that_failed,
    is_to_be_made_again,
)
from holdfast.applications.rebind.stopping.order import (
    by_memory,
    clients_first,
    is_being_born,
    parents_first,
    serving,
)
from holdfast.applications.rebind.stopping.second_look import Find, SecondLook
from holdfast.applications.rebind.tracing.errors import Uncooperative
from holdfast.applications.rebind.tracing.time_budget import TimeBudgets
from holdfast.model.handle import User

MOST_ROUNDS = 10
"""Users that appear while others are stopped are stopped as well; this often it is looked again."""


class Stopping:
    """The stopping of the users of one volume."""

    def __init__(
        self,
        users: Sequence[User],
        find: Find | None,
        processes: Processes,
        *,
        storage_answers: bool,
        seized: Callable[[], object] | None,
        written_through: bool,
        doors: Doors,
    ) -> None:
        """The stopped ones are added to `processes`, the doors of their sockets closed as soon as
        they stand. For the rest see `Rebind`."""
        self.users = list(users)
        """Those that were found last."""
        self.calls_made_again = 0
        """System calls that had failed because of the dead mount."""
        self.calls_failed: list[str] = []
        """Those whose errors their programs see: the writes that they were to flush are lost."""
        self.traits: dict[int, ProcessTraits] = {}
        """Of those that stand what `scan.traits_of` told since, while a child looked at them."""
        self._earlier = EarlierLook(users)
        self._find = find
        self._second_look: SecondLook | None = None
        """Of which a child waits."""
        self._processes = processes
        self._storage_answers = storage_answers
        self._seized = seized
        self._doors = doors
        self._written_through = written_through
        self._looked_at = self._look_seconds = 0.0
        """When the last look ended (monotonic), and how long it took."""
        self._servers = serving(users)
        """Those that serve file systems, which others may wait for."""

    def prepare(self) -> None:
        """Let a child wait for the look that comes when all stand. Raises OSError."""
        if self._find is not None and self._second_look is None:
            self._second_look = SecondLook(self._find, self._earlier, len(self.users))

    def give_up(self) -> None:
        """End what `prepare` has begun. Idempotent."""
        if self._second_look is not None:
            self._second_look.end()
            self._second_look = None

    def stop(self, deadline_ns: int, time_budgets: TimeBudgets) -> None:
        """Stop all of them; their threads leave the harbour by themselves at the deadline.

        Raises Refused or DeadlinePassed when one cannot be stopped; those in `processes` are still
        stopped then.
        """
        for _ in range(MOST_ROUNDS):
            if not self._stop_new(deadline_ns, time_budgets) or self._find is None:
                return

    def finds_newcomers(self) -> bool:
        """Look for users again, if the last look is longer ago than one takes; whether any of them
        does not stand yet."""
        if self._find is None or time.monotonic() < self._looked_at + self._look_seconds:
            return False
        with self._timed(), looking_after(self._earlier, (0,), 1):
            found = list(self._find())
        if all(user.pid in self._processes for user in found):
            return False
        self.users = found
        return True

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self._looked_at = time.monotonic()
        self._look_seconds = self._looked_at - begun

    @property
    def serves(self) -> bool:
        """Whether one of them serves a file system, which others may wait for."""
        return bool(self._servers)

    def living(self) -> list[User]:
        """The stopped processes that have not ended, as far as is known."""
        return [user for user in self.users if user.pid in self._processes]

    def _stop_new(self, deadline_ns: int, time_budgets: TimeBudgets) -> bool:
        """Stop those that are not stopped yet, and look for users again; whether there was any."""
        seized: list[tuple[User, Tracee]] = []
        try:
            new = [user for user in self.users if user.pid not in self._processes]
            for turn in clients_first(parents_first(new), self._servers):
                self._stop_turn(turn, seized, time_budgets)
            if not seized:
                return False
            self._doors.close([*self.living(), *(user for user, _ in seized)])
            # Not before all of them stand: some may share memory or descriptors.
            if self._find is None:
                self._enter_harbours(seized, deadline_ns)
            else:
                self._enter_and_look(seized, self._find, deadline_ns)
        except BaseException:
            self._doors.open()
            for _, tracee in seized:
                tracee.abandon()
            raise
        return True

    def _enter_and_look(
        self, seized: list[tuple[User, Tracee]], find: Find, deadline_ns: int
    ) -> None:
        """Bring these into their harbours, and find all users again."""
        standing = list(seized)
        if self._second_look is None:  # in all rounds but the first
            self._second_look = SecondLook(find, self._earlier, len(seized))
        try:
            with self._timed():
                self._second_look.begin(len(seized))
                self._enter_harbours(seized, deadline_ns)
                self.traits.update({user.pid: traits_of(user) for user, _ in standing})
                found = self._second_look.users()
        finally:
            self.give_up()
        # Who ran on, to leave the harbour of a dead agent, may have opened something meanwhile.
        if any(tracee.has_run_on for _, tracee in standing):
            self.traits.clear()
            found = list(find())
        self.users = found

    def _enter_harbours(self, seized: list[tuple[User, Tracee]], deadline_ns: int) -> None:
        """Those that are in are taken out of `seized`. Raises Refused, OSError."""
        of = {tracee.pid: (user, tracee) for user, tracee in seized}
        groups = [[of[pid] for pid in group] for group in by_memory(list(of))]

        def entering(group: Sequence[tuple[User, Tracee]]) -> Steps[None]:
            for each in group:
                yield from self._entering_harbour(*each, deadline_ns)
                seized.remove(each)

        side_by_side(map(entering, groups))

    def _stop_turn(
        self, users: Sequence[User], seized: list[tuple[User, Tracee]], time_budgets: TimeBudgets
    ) -> None:
        """Seize these and wait until they stand; they are added to `seized`."""
        mine: list[tuple[User, Tracee]] = []
        for user in users:
            if not self._comes_later(user, seized):
                with suppress(ProcessLookupError):
                    time_budget = time_budgets.for_user_of(user.pid)
                    mine.append((user, Tracee.seize(user.pid, time_budget)))
                    seized.append(mine[-1])
        if mine and self._seized is not None:
            self._seized()
        for each in mine:
            try:
                each[1].await_stop()
            except ProcessLookupError:
                each[1].abandon()
                seized.remove(each)

    def _comes_later(self, user: User, seized: Sequence[tuple[User, Tracee]]) -> bool:
        """Whether its parent must run on before it can be stopped: the next round finds it."""
        return self._find is not None and is_being_born(user.pid, [each.pid for each, _ in seized])

    def _entering_harbour(self, user: User, tracee: Tracee, deadline_ns: int) -> Steps[None]:
        """Bring the threads of one that stands into its harbour. Raises Refused, OSError."""
        try:
            yield from tracee.entering_harbour(deadline_ns)
            self._processes[user.pid] = StoppedProcess(
                user.pid,
                user.name,
                tracee,
                storage_answers=self._storage_answers,
                rights=rights_of_process(user.pid),
            )
            if self._seized is not None:
                self._make_calls_again(user, tracee)
        except Uncooperative as error:
            raise cannot_be_moved(user, tracee.executor, error) from error
        except ProcessLookupError:
            tracee.abandon()

    def _make_calls_again(self, user: User, tracee: Tracee) -> None:
        """What failed because the mount was aborted has not happened, as the program sees it."""
        numbers = {each.number for each in user.handles if each.number is not None}
        for thread_id, (call, error) in tracee.failed_calls().items():
            descriptor = tracee.threads[thread_id].argument(0)
            if is_to_be_made_again(
                call, error, descriptor, numbers, written_through=self._written_through
            ):
                tracee.make_call_again(thread_id)
                self.calls_made_again += 1
            elif flush := flush_that_failed(call, descriptor, numbers):
                words = f"{flush} of descriptor {descriptor} in {user.name} (process {user.pid})"
                self.calls_failed.append(f"{words}: {os.strerror(error)}")
