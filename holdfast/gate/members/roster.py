"""Who belongs to the volume, who is present, and the epoch that proves it.

Invariant: a request that a member did not take part in is never answered
before an epoch that excludes this member is durable on every leg that stays, and the coordinator
has agreed to it (see epoch_memory). The last leg is never excluded: when it goes, nobody is left to
be ahead of it, so it is merely away.
Memory only: it changes under `lock`, without I/O; see `settling` for how it becomes durable.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from time import monotonic_ns
from typing import Any

from holdfast.containers import BackEnd
from holdfast.errors import LastLeg, NoSource, Superseded
from holdfast.gate.members import next_configuration
from holdfast.gate.members.configuration import GateConfiguration, LegEntry
from holdfast.gate.members.epoch_memory import EpochMemory
from holdfast.gate.members.leg import Leg
from holdfast.gate.members.retirement import Retired
from holdfast.gate.members.superblock import Superblock
from holdfast.gate.runtime import shared_page
from holdfast.model.volume import JournalMode, LegState


class Roster:
    """The members of one volume. `readers` and `writers` are replaced, never changed."""

    def __init__(
        self,
        configuration: GateConfiguration,
        cells: memoryview,
        memory: EpochMemory,
        on_failed: Callable[[Leg, str], None],
        on_last_lost: Callable[[Leg, str], None],
    ) -> None:
        """Told of legs that go, and why; of the last one while `lock` is held."""
        self._cells = cells
        self._on_failed = on_failed
        self._on_last_lost = on_last_lost
        self.memory = memory
        self.lock = threading.Lock()
        self.configuration = configuration
        self.durable = configuration
        """What the legs were told last. A change that no leg could be told yet is not in it: it
        proves nothing about one that returns."""
        self.highest_epoch = configuration.epoch
        """The highest epoch that this worker has tried to make durable, or has seen on a leg."""
        self._taken_back = range(0)
        """Epochs of changes that were taken back when the last leg went."""
        self.present: dict[int, Leg] = {}
        self.readers: tuple[Leg, ...] = ()
        self.writers: tuple[Leg, ...] = ()
        self.unsettled = memory.is_behind(configuration.epoch)
        self.arrived_ns: dict[int, int] = {}
        """When the container that stands for a leg was taken in (CLOCK_MONOTONIC): a thread that
        went into this leg before is inside another container."""
        self.nameless: dict[int, str] = {}
        """Legs in use whose container is not found by its name any more, and why. Replaced, never
        changed; see names."""
        self.retired = Retired()

    @property
    def superseded(self) -> str:
        """Why nothing may be read or written any more; empty: it may."""
        return self.memory.superseded

    @property
    def has_siblings(self) -> bool:
        """Whether more than one leg belongs to the volume, present or not."""
        return len(self.configuration.legs) > 1

    @property
    def has_bits(self) -> bool:
        """Whether regions that are written get bits first: to make legs equal after a crash, and to
        tell a history what one leg alone has."""
        return self.has_siblings or self.configuration.journal is JournalMode.CONTINUOUS

    def is_member(self, number: int) -> bool:
        """Whether the leg of that number belongs to the volume, present or not."""
        return any(leg.number == number for leg in self.configuration.legs)

    def entry(self, number: int) -> LegEntry:
        """The leg of that number. Raises StopIteration when it is no member."""
        return next(leg for leg in self.configuration.legs if leg.number == number)

    def _arrange(self) -> None:
        legs = sorted(self.present.values(), key=lambda leg: leg.number)
        self.writers = tuple(legs)
        self.readers = tuple(leg for leg in legs if leg.state is LegState.IN_SYNC)
        shared_page.renew_plan(self._cells)

    def _arrive(self, leg: Leg) -> None:
        if self.superseded:
            raise Superseded(self.superseded, "Detach the volume on this host.")
        shared_page.mark_failed(self._cells, leg.number, failed=False)
        shared_page.forget_copied(self._cells, leg.number)
        shared_page.remember_container(self._cells, leg.number, leg.identity)
        self.arrived_ns[leg.number] = monotonic_ns()
        leg.taken = True
        self.nameless = {
            number: why for number, why in self.nameless.items() if number != leg.number
        }
        self.present[leg.number] = leg

    def _change(self, configuration: GateConfiguration) -> None:
        """Take a new membership: a new epoch, not durable yet."""
        self.highest_epoch += 1
        self.configuration = next_configuration.with_epoch(configuration, self.highest_epoch)
        self.unsettled = True
        self._arrange()

    def fail(self, leg: Leg, reason: str, *, unless_last: bool = False) -> None:
        """A leg did not do what it must. It is not used again before it was brought up to date."""
        with self.lock:
            if self.present.get(leg.number) is not leg:
                return  # another thread was faster
            was_in_sync = leg.state is LegState.IN_SYNC
            others = (other for other in self.present.values() if other is not leg)
            staying = any(other.state is LegState.IN_SYNC for other in others)
            last = was_in_sync and not staying
            if last and unless_last:
                return
            shared_page.mark_failed(self._cells, leg.number, failed=True)
            del self.present[leg.number]
            self.retired.add(leg)
            if last:
                if self.unsettled:  # nothing was answered since: the others are not behind
                    self._take_back()
                if self.is_member(leg.number):  # a start takes it from the legs' own word
                    entry = replace(self.entry(leg.number), reason=reason)
                    self.configuration = self.configuration.with_leg(entry)
                self._arrange()
                self._on_last_lost(leg, reason)
            else:
                entry = replace(self.entry(leg.number), state=LegState.FAILED, reason=reason)
                if was_in_sync:
                    entry = replace(entry, position=self.configuration.recorded_position)
                leg.state = LegState.FAILED
                self._change(self.configuration.with_leg(entry))
        if not last:
            self._on_failed(leg, reason)

    def _take_back(self) -> None:
        """The change that no leg could be told is none: as before it, but for the position."""
        position = self.configuration.recorded_position
        self.unsettled = position != self.durable.recorded_position
        self.configuration = replace(self.durable, recorded_position=position)
        self._taken_back = range(self.durable.epoch + 1, self.highest_epoch + 1)
        self._forsake_unrecorded()

    def became_durable(self, configuration: GateConfiguration) -> None:
        """The legs and the coordinator know that configuration.

        If it was taken back meanwhile, it is what this host goes on with all the same: whoever
        made the change is told that it is durable.
        """
        with self.lock:
            self.durable = configuration
            now = self.configuration
            if now.epoch < configuration.epoch:
                self.configuration = next_configuration.with_what_is_newer(configuration, now)
                self.unsettled = now.recorded_position != configuration.recorded_position
                self._taken_back = range(configuration.epoch + 1, self.highest_epoch + 1)
                shared_page.renew_plan(self._cells)

    def may_be_relied_on(self, configuration: GateConfiguration) -> None:
        """Requests may be answered in its epoch, if that is still the present one."""
        with self.lock:
            if self.configuration.epoch == configuration.epoch:
                self.unsettled = False

    def has_become_durable(self, epoch: int) -> bool:
        """Whether all changes up to that epoch are durable, none of them taken back."""
        return self.durable.epoch >= epoch and epoch not in self._taken_back

    def _check_source(self) -> None:
        if not self.readers:
            raise NoSource("no leg is there that is in sync", "Bring one back, then repeat it.")

    def withdraw(self, reason: str) -> None:
        """Somebody else has the volume: no leg is used any more, and none comes back."""
        with self.lock:
            gone = list(self.present.values())
            self.present.clear()
            self.retired.add(*gone)
            self._arrange()
            if gone:
                self._on_last_lost(gone[0], reason)

    def _forsake_unrecorded(self) -> None:
        """The change that brought a leg in was taken back: it is away, or no member any more."""
        states = {entry.number: entry.state for entry in self.configuration.legs}
        for other in list(self.present.values()):
            if states.get(other.number) is not other.state:
                shared_page.mark_failed(self._cells, other.number, failed=other.number in states)
                del self.present[other.number]
                self.retired.add(other)

    def set_nameless(self, nameless: dict[int, str]) -> None:
        """Take what was found out about names, of legs in use, and of the last one that is away."""
        with self.lock:
            last = {leg.number for leg in self.configuration.legs if leg.state is LegState.IN_SYNC}
            known = self.present.keys() | last
            self.nameless = {number: words for number, words in nameless.items() if number in known}

    def note(self, number: int, state: LegState, reason: str) -> None:
        """Remember why a leg that is not present cannot be used; nothing becomes durable."""
        with self.lock:
            if not self.is_member(number):
                return  # it has left meanwhile
            entry = self.entry(number)
            if number not in self.present:
                self.configuration = self.configuration.with_leg(
                    replace(entry, state=state, reason=reason)
                )

    def join(self, leg: Leg, entry: LegEntry) -> None:
        """Take a leg that is to be resynchronised: from now on it gets every write.

        Raises NoSource when there is none, Superseded; it is not taken then.
        """
        with self.lock:
            self._check_source()
            leg.state = LegState.RESYNCING
            self._arrive(leg)
            self._change(
                self.configuration.with_leg(
                    replace(
                        entry,
                        state=LegState.RESYNCING,
                        reason="",
                        container_bytes=leg.container_bytes,
                    )
                )
            )

    def is_stranger(self, superblock: Superblock) -> bool:
        """Whether somebody else used the leg since: its epoch is none of ours."""
        return superblock.epoch > self.durable.epoch and superblock.owner != self.memory.owner

    def promote(self, leg: Leg) -> bool:
        """A resynchronised leg has all data: it becomes a source. False when it has failed.

        Which leg it replaces stays on record until that one has left.
        """
        with self.lock:
            if self.present.get(leg.number) is not leg or not self.readers:
                return False
            leg.state = LegState.IN_SYNC
            self._change(next_configuration.with_source(self.configuration, leg))
            return True

    def start_with(self, leg: Leg) -> None:
        """A current leg is present from the start of this worker."""
        with self.lock:
            self._start_with(leg)

    def resume_with(self, leg: Leg) -> None:
        """The last leg is back, perhaps at another place, and goes on alone.

        One step: whoever writes to it needs an epoch already that excludes the others.
        """
        with self.lock:
            known = {(entry.number, entry.url) for entry in self.durable.legs}
            self._start_with(leg)
            configuration = next_configuration.without_absent(self.configuration, self.present)
            changed = configuration != self.configuration or (leg.number, leg.url) not in known
            if changed or self.highest_epoch > configuration.epoch:  # as rise_above_unfinished
                self._change(configuration)

    def _start_with(self, leg: Leg) -> None:
        leg.state = LegState.IN_SYNC
        self._arrive(leg)
        self.configuration = next_configuration.with_source(self.configuration, leg)
        self._arrange()

    def exclude_absent(self) -> None:
        """Mark in-sync members that are not present as failed."""
        with self.lock:
            configuration = next_configuration.without_absent(self.configuration, self.present)
            if configuration != self.configuration:
                self._change(configuration)

    def remove(self, number: int) -> Leg | None:
        """Take a leg out of the volume; the caller settles, then erases it. None: not present.

        Raises LastLeg when no other one is in sync.
        """
        with self.lock:
            if not any(leg.number != number for leg in self.readers):
                raise LastLeg(
                    f"leg {number} is the only one in sync",
                    "Add another leg and wait until it is in sync.",
                )
            leg = self.present.pop(number, None)
            shared_page.mark_failed(self._cells, number, failed=False)
            shared_page.forget_container(self._cells, number)
            self._change(self.configuration.without_leg(number))
            return leg

    def replaced(self) -> list[int]:
        """Numbers of the members whose successor is in sync: they have to leave."""
        with self.lock:
            members = self.configuration.legs
            in_sync = {leg.number for leg in self.readers}
        successors = {leg.replaces for leg in members if leg.number in in_sync}
        return [leg.number for leg in members if leg.number in successors]

    def rise_above(self, epoch: int) -> None:
        """Never use an epoch again that a leg has seen."""
        with self.lock:
            self.highest_epoch = max(self.highest_epoch, epoch)

    def adopt(self, newest: Superblock) -> None:
        """Take over what the legs say of the volume: they went on without this host."""
        with self.lock:
            self.configuration = next_configuration.adopted(self.configuration, newest)

    def rise_above_unfinished(self) -> None:
        """Raise the epoch above every one that a leg may carry of a raise that did not end.

        Of two superblocks a leg is known by the one of the higher epoch: others would be written
        in vain.
        """
        with self.lock:
            if self.highest_epoch > self.configuration.epoch:
                self._change(self.configuration)

    def distrust_bits(self) -> int:
        """Bits are not kept: none of the legs that are away can be brought up to date by parts of
        it any more. The epoch from which on that holds; the caller settles."""
        with self.lock:
            self._change(replace(self.configuration, clean_epoch=self.highest_epoch + 1))
            return self.configuration.epoch

    def filter(self, number: int, wrap: Callable[[BackEnd], BackEnd]) -> None:
        """Put a filter in front of the back end of a present leg."""
        with self.lock:
            if number in self.present:
                leg = self.present[number]
                leg.use(wrap(leg.back_end))
                shared_page.renew_plan(self._cells)

    def use_spare(self, url: str) -> None:
        """A spare is about to become a leg; durable with the epoch in which it joins."""
        with self.lock:
            self.configuration = next_configuration.without_spare(self.configuration, url)

    def keep_spare(self, url: str) -> None:
        """It has not become one: it is the first spare again, as in the epoch that there is."""
        with self.lock:
            self.configuration = next_configuration.with_spare(self.configuration, url)

    def configure(self, **changes: Any) -> None:
        """Change more than legs (descriptor, position), of what is known by now.

        Whoever decided on a change read an older configuration: a leg may have failed since.
        """
        with self.lock:
            self._change(replace(self.configuration, **changes))

    def configure_as_told(self, **changes: Any) -> None:
        """As `configure`, for an administrator. Raises NoSource when no leg can be told."""
        with self.lock:
            self._check_source()
            self._change(replace(self.configuration, **changes))

    def remove_spare(self, url: str) -> bool:
        """Forget a spare, in an epoch that this begins; False: it is none (any more).

        Raises NoSource when no leg can be told.
        """
        with self.lock:
            if url not in self.configuration.spare_urls:
                return False
            self._check_source()
            self._change(next_configuration.without_spare(self.configuration, url))
            return True

    def add_spare(self, url: str) -> None:
        """Remember a spare, in an epoch that this begins. Raises NoSource when none can be told."""
        with self.lock:
            self._check_source()
            spares = (*self.configuration.spare_urls, url)
            self._change(replace(self.configuration, spare_urls=spares))

    def resize(self, size_bytes: int) -> None:
        """The volume has grown, and the tails of the legs that are present have moved."""
        with self.lock:
            configuration = next_configuration.with_ends(self.configuration, self.ends())
            self._change(replace(configuration, size_bytes=size_bytes))

    def ends(self) -> dict[int, int]:
        """Where the tails of the present legs end."""
        return {leg.number: leg.container_bytes for leg in self.present.values()}
