"""The data path: reads from one leg, writes to all, and goes on when a leg fails.

Invariant: what is answered is on every in-sync leg (and in the journal), or durably excluded from
the legs that lack it. A request that finds no leg waits in the hold and is issued again; only the
hold's deadline ends it with HoldExpired. Nothing here depends on FUSE: the same calls serve a test
against an array of blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic_ns

from holdfast.coordination import COORDINATOR, Coordinator
from holdfast.gate.data.alarms import Alarms
from holdfast.gate.data.bad_places import BadPlaceError, BadPlaces
from holdfast.gate.data.correcting import tell_what_is_there
from holdfast.gate.data.hold import Hold, HoldExpired
from holdfast.gate.data.journalling import Journalling
from holdfast.gate.data.leg_times import LegTimes
from holdfast.gate.data.owing.owed import Owed
from holdfast.gate.data.owing.owed_file import OwedFile
from holdfast.gate.data.owing.repaying import Repaying, Replay
from holdfast.gate.data.ranges import Ranges
from holdfast.gate.data.reading import Reading
from holdfast.gate.data.reflexes import Reflexes
from holdfast.gate.data.room import Room, Waiting
from holdfast.gate.data.write_intent.bitmap import Bitmap
from holdfast.gate.data.write_intent.bitmap_on_legs import BitmapOnLegs
from holdfast.gate.data.write_intent.equalising import Equalising
from holdfast.gate.data.write_log import WriteLog
from holdfast.gate.data.write_log.carrying import HISTORY
from holdfast.gate.data.write_log.unflushed import JOURNAL
from holdfast.gate.log.segment import Kind
from holdfast.gate.members.configuration import GateConfiguration
from holdfast.gate.members.epoch_memory import STATE, EpochMemory
from holdfast.gate.members.inside_leg import inside_leg
from holdfast.gate.members.leg import NO_SPACE, Leg, zero_all
from holdfast.gate.members.roster import Roster
from holdfast.gate.members.settling import Settling
from holdfast.gate.runtime.claims import Hand, Hands
from holdfast.gate.runtime.incidents import Incidents
from holdfast.gate.runtime.shared_page import note_written, renew_plan
from holdfast.gate.runtime.watching import Watching


class Mirror:
    """The legs of one volume as one device. Every call names the hand that makes it."""

    def __init__(
        self,
        state_directory: Path,
        run_directory: Path,
        configuration: GateConfiguration,
        cells: memoryview,
        hands: Hands,
        incidents: Incidents,
        coordinator: Coordinator = COORDINATOR,
        wake: Callable[[], None] = lambda: None,
        keep_copy: Callable[[GateConfiguration], None] = lambda configuration: None,
    ) -> None:
        """`wake` has the main loop look at everything. `keep_copy`: as EpochMemory's."""
        self.cells = cells
        self.hands = hands
        self.wake = wake
        self.incidents = incidents
        self.watching = Watching(configuration.hang_timeout_seconds)
        """What the main loop has seen, which judges storage."""
        self.hold = Hold(cells, configuration.hold_timeout_seconds, self.watching)
        alarms = Alarms(cells, self.hold, incidents, wake)
        self.memory = EpochMemory(
            state_directory, configuration.epoch, cells, coordinator, keep_copy, alarms.unsaved
        )
        self.roster = Roster(configuration, cells, self.memory, alarms.leg_failed, alarms.last_lost)
        self.settling = Settling(self.roster, self.memory)
        self.reflexes = Reflexes(cells, self.roster, self.settling, self.hold, incidents, wake)
        self.ranges = Ranges()
        self.times = LegTimes()
        self.places = BadPlaces(self.roster, self.ranges, self.hold, incidents)
        self.intent = BitmapOnLegs(
            self.roster, self.places, Bitmap(configuration.size_bytes), cells
        )
        self.owed = Owed(configuration.sector_bytes, lambda: renew_plan(cells))
        self.repaying = Repaying(
            cells,
            incidents,
            self.roster,
            self.ranges,
            self.owed,
            self.hold,
            OwedFile(state_directory, configuration.volume_id, self.memory.owner, cells),
            log=lambda: self.log,
            store=self.store,
            changed=lambda: note_written(cells),
        )
        self.reading = Reading(self.roster, self.hold, self.places, self.owed)
        self.equalising = Equalising(
            cells,
            hands,
            incidents,
            self.roster,
            self.ranges,
            self.reflexes,
            self.owed.unit_bytes,
            self.reading,
            wake,
        )
        self.journalling = Journalling(
            state_directory,
            run_directory,
            cells,
            self.roster,
            self.settling,
            self.hold,
            incidents,
            self.owed,
            self.repaying,
            self.flush_all,
            wake,
            hands,
        )
        self.room = Room(
            self.roster,
            self.hold,
            incidents,
            self.watching,
            began=wake,
            again=lambda: self.reflexes.storage_back("room again"),
        )

    @property
    def log(self) -> WriteLog:
        """Where writes are kept that the legs have not flushed."""
        return self.journalling.log

    @property
    def size_bytes(self) -> int:
        """Size of the volume."""
        return self.roster.configuration.size_bytes

    def read(self, hand: Hand, view: memoryview, offset: int, *, patient: bool = True) -> None:
        """Fill the view. Raises HoldExpired, GivenUp; BadPlaceError when not `patient`."""
        since_ns = monotonic_ns()
        answered = False
        self.equalising.before_reading(hand, offset, len(view))
        try:
            while True:
                try:
                    self.reading.read(hand, view, offset, since_ns)
                except BadPlaceError as bad:
                    if not patient:
                        raise
                    self.places.wait(hand, bad, since_ns)
                else:
                    if self.memory.superseded:  # meanwhile: it is somebody else's, and old, now
                        self.hold.wait_for_storage(since_ns=since_ns)
                        continue
                    answered = True
                    return
        finally:
            self.places.over(hand, answered=answered)

    def write(self, hand: Hand, view: memoryview, offset: int) -> None:
        """Store the view on every leg; durable after a flush. Raises HoldExpired, GivenUp."""
        self._modify(hand, Kind.DATA, offset, len(view), view)

    def zero(self, hand: Hand, offset: int, length: int, *, keep_allocated: bool) -> None:
        """Make the range read as zeros on every leg. Raises HoldExpired, GivenUp."""
        self._modify(hand, Kind.DISCARD, offset, length, None, keep_allocated)

    def _modify(
        self,
        hand: Hand,
        kind: Kind,
        offset: int,
        length: int,
        view: memoryview | None,
        keep_allocated: bool = False,
    ) -> None:
        since_ns = monotonic_ns()
        answered = False
        self.ranges.enter(hand, offset, length)
        try:
            while not answered:
                try:
                    self.store(hand, offset, length, view, keep_allocated, since_ns, kind)
                except BadPlaceError as bad:
                    if self.owed.touches(offset, length):
                        what = length if view is None else view
                        self.repaying.written_again(hand, bad.leg, offset, what)
                    self.log.done(hand)  # not to keep the journal from being emptied meanwhile
                    self.places.wait(hand, bad, since_ns)
                else:
                    answered = True
                    self.repaying.paid(offset, length)
        except HoldExpired:
            tell_what_is_there(self.journalling, self.roster, hand, offset, length)
            raise
        finally:
            self.places.over(hand, answered=answered)
            if not hand.given_up:
                self.log.done(hand)
                self.ranges.leave(hand)

    def store(
        self,
        hand: Hand,
        offset: int,
        length: int,
        view: memoryview | None,
        keep_allocated: bool,
        since_ns: int,
        kind: Kind | None = None,
    ) -> None:
        """Write on every leg. Raises BadPlaceError when it is the last one that has a bad place.

        `kind`: it is kept in the log first, as that.
        """
        write = Waiting()
        logged = False
        note_written(self.cells)
        try:
            while True:
                while True:
                    if self.roster.has_bits and not self.intent.bitmap.covers(offset, length):
                        self.intent.intend(hand, offset, length)
                    if kind is None or logged:
                        break
                    what = length if view is None else view
                    logged = self.journalling.append(hand, kind, offset, what)
                    if not logged:
                        self._wait_for_log(hand, offset, length, since_ns)
                stored = full = False
                for leg in self.roster.writers:
                    hand.enter(leg.number)
                    try:
                        hand.hear_refusal(leg)
                        if self.roster.present.get(leg.number) is not leg:
                            pass  # it has left since, and is erased perhaps
                        elif view is not None:
                            leg.write(view, offset)
                        else:
                            zero_all(hand, leg, offset, length, keep_allocated=keep_allocated)
                    except OSError as error:
                        hand.leave()
                        if error.errno in NO_SPACE:
                            full = True
                            self.log.done(hand)  # not to keep it from being emptied meanwhile
                            logged = False
                            self.room.wait(leg, write, since_ns)
                        else:
                            self._write_failed(hand, leg, error, offset, length)
                    else:
                        hand.leave()
                        stored = stored or leg in self.roster.readers
                if self.roster.unsettled and not self.reflexes.settle(hand):
                    stored = False
                if stored and not full and self.roster.readers:
                    write.stored = True
                    return
                if not full:
                    self.reflexes.wait(since_ns)
        finally:
            self.room.over(write)

    def _wait_for_log(self, hand: Hand, offset: int, length: int, since_ns: int) -> None:
        """Until there may be room; the range is left meanwhile. Raises HoldExpired, GivenUp."""
        self.ranges.leave(hand)
        self.journalling.make_room(hand, since_ns)
        self.ranges.enter(hand, offset, length)

    def _write_failed(self, hand: Hand, leg: Leg, error: OSError, offset: int, length: int) -> None:
        """A leg that lacks a write fails; the last one does not, if it is there all the same."""
        last = self.roster.readers == (leg,)
        if last and self.is_bad_place(hand, leg, error, offset, length):
            raise BadPlaceError(leg, "write", offset) from error
        self.roster.fail(leg, f"write: {error.strerror}")

    def flush(self, hand: Hand) -> None:
        """Make every answered write durable on all in-sync legs and in the journal.

        Raises HoldExpired, GivenUp. A leg whose flush fails is not flushed again: it has failed.
        """
        since_ns = monotonic_ns()
        self.journalling.flushed(hand, self.flush_all(hand), since_ns)

    def flush_all(self, hand: Hand) -> int:
        """Flush everything; the journal position up to which the legs are durable now."""
        roster = self.roster
        since_ns = monotonic_ns()
        while True:
            position = self.log.stable_position(roster.configuration.recorded_position)
            if self.log.active and (since := self.owed.since) is not None:
                position = min(position, since)
            kept = self.log.ask_kept()
            flushed = []
            owed = self.repaying.secure(hand, since_ns)
            for leg in roster.readers:
                with inside_leg(roster, hand, leg, "flush"):
                    leg.flush()
                self._wait_for_others(hand, leg)
                if roster.present.get(leg.number) is leg:
                    flushed.append(leg)
            if roster.unsettled and not self.reflexes.settle(hand):
                flushed.clear()
            readers = roster.readers
            if readers and all(leg in flushed for leg in readers):  # one may have joined meanwhile
                if self.repaying.release(hand, since_ns, owed):
                    self.journalling.wait_kept(hand, kept, since_ns)
                    return position
                continue
            self.reflexes.wait(since_ns)

    def _wait_for_others(self, hand: Hand, leg: Leg) -> None:
        """Until those who are inside that leg now have left, or it is not used any more."""
        roster = self.roster
        self.hands.wait_for_others(
            hand,
            leg.number,
            roster.arrived_ns[leg.number],
            lambda: roster.present.get(leg.number) is leg,
        )

    def replay(self, hand: Hand, leg: Leg, position: int) -> tuple[int, Owed]:
        """Write onto a leg what the journal has and it lacks; bytes written, and what it cannot
        take at bad places, for `owe` when the leg is used. Raises OSError.

        A leg that is not here lacks it, too, perhaps without a bit that says so: the regions count
        as written. `intent.secure` must follow before a position is recorded. The leg's bits were
        taken before.
        """
        lacking = Replay(self.intent, self.is_bad_place, self.owed.unit_bytes, hand, leg)
        done = self.log.replay(hand, leg, position, lacking.note, lacking.failed)
        return done, lacking.owed

    def write_owed(self, hand: Hand, leg: Leg, units: Mapping[int, bytes]) -> Owed:
        """Write onto a leg what was owed before the host went down; what it cannot take yet.

        As `replay`. Raises OSError.
        """
        lacking = Replay(self.intent, self.is_bad_place, self.owed.unit_bytes, hand, leg)
        lacking.write(units, self.log.position)
        return lacking.owed

    def is_bad_place(self, hand: Hand, leg: Leg, error: OSError, offset: int, length: int) -> bool:
        """Whether a leg could not write there, and is well otherwise."""
        is_one = self.places.is_one(hand, leg, error, offset, length)
        return is_one and self.intent.takes_writes(hand, leg)

    def promote(self, hand: Hand, leg: Leg) -> bool:
        """Make a leg that has all data a source: it gets the bits, then the new epoch.

        False when it has failed, meanwhile or at this, or the volume is another's.
        """
        promoted = self.intent.promote(hand, leg, lambda: self._wait_for_others(hand, leg))
        self.settling.settle(hand)
        return promoted and not self.memory.superseded

    # --- what goes wrong --------------------------------------------------------------------

    def give_up(self, hand: Hand, number: int, hang_timeout_seconds: float) -> None:
        """A hand was inside a leg for too long: the leg fails, what the hand held is free."""
        reason = f"no answer for {hang_timeout_seconds:g} s"
        if number == JOURNAL:
            self.log.fail(reason)
        elif number == HISTORY:
            self.journalling.history_hangs(hand, reason)
        elif number == STATE:
            self.memory.save_soon(reason)
        else:
            leg = self.roster.present.get(number)
            if leg is not None and hand.entered_ns >= self.roster.arrived_ns[number]:
                self.roster.fail(leg, reason)
        self.places.given_up(hand)
        self.hands.take_from_log(hand)
        self.ranges.leave(hand)

    def uses(self, number: int) -> bool:
        """Whether requests still go to that leg (or to the journal)."""
        if number in (JOURNAL, HISTORY):
            return self.log.active
        return number in self.roster.present
