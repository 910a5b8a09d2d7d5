"""How a leg gets what the journal holds for its bad places: found by a replay, kept, written later.

Invariant: what is owed leaves memory only when every leg in use has it, or something later in its
place; a leg that cannot take it fails when another one can, like any that lacks a write. While the
journal works, all of it is found again by whoever comes next, and, once a flush was answered, after
a power cut, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from time import monotonic, monotonic_ns

from holdfast.gate.data.bad_places import STRATEGY, BadPlaceError
from holdfast.gate.data.hold import Hold
from holdfast.gate.data.owing.owed import Owed, store_around
from holdfast.gate.data.owing.owed_file import OwedFile
from holdfast.gate.data.ranges import Ranges
from holdfast.gate.data.write_intent.bitmap_on_legs import BitmapOnLegs
from holdfast.gate.data.write_log import WriteLog
from holdfast.gate.log.segment import Kind, Record
from holdfast.gate.members.leg import Leg
from holdfast.gate.members.roster import Roster
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.claims import Hand
from holdfast.gate.runtime.incidents import Incidents
from holdfast.system.resources.memory import aligned_buffer

AGAIN_SECONDS = 0.5
"""How often writing the file is tried again while a flush waits for it."""

PAY_SECONDS = 5.0
"""How often writing to bad places is tried again. A disk itself tries for seconds."""


def remembered_since(cells: memoryview) -> int | None:
    """From where a worker that takes over has to replay; None: nothing is owed."""
    return cells[shared_page.OWED_SINCE] - 1 if cells[shared_page.OWED_SINCE] else None


class Replay:
    """One replay onto one leg: what it is told, and what the leg could not take."""

    def __init__(
        self,
        intent: BitmapOnLegs,
        is_bad_place: Callable[[Hand, Leg, OSError, int, int], bool],
        unit_bytes: int,
        hand: Hand,
        leg: Leg,
    ) -> None:
        self._intent = intent
        self._is_bad_place = is_bad_place
        self._hand = hand
        self._leg = leg
        self.owed = Owed(unit_bytes)

    def note(self, offset: int, length: int) -> None:
        """Note that this range is about to be written."""
        self._intent.bitmap.mark(offset, length)
        self.owed.forget(offset, length)

    def failed(self, record: Record, error: OSError) -> None:
        """A record could not be written: keep the bad part of it. Raises any error that is not a
        bad place."""
        offset, length = record.offset, record.length
        if not self._is_bad_place(self._hand, self._leg, error, offset, length):
            raise error

        def keep(place: int, content: memoryview) -> None:
            self.owed.keep(place, content, record.position)

        what: memoryview | int = length
        if record.kind is Kind.DATA:
            what = _aligned(record.payload)
        store_around(self._hand, self._leg, offset, what, self.owed.unit_bytes, keep)

    def write(self, units: Mapping[int, bytes], position: int) -> None:
        """Write contents that are in no record. What the leg cannot take is owed from that position
        on. Raises OSError."""

        def keep(place: int, content: memoryview) -> None:
            self.owed.keep(place, content, position)

        for offset, content in sorted(units.items()):
            self.note(offset, len(content))
            what = _aligned(memoryview(content))
            store_around(self._hand, self._leg, offset, what, self.owed.unit_bytes, keep)


class Repaying:
    """What one mirror owes, and how it is paid."""

    def __init__(
        self,
        cells: memoryview,
        incidents: Incidents,
        roster: Roster,
        ranges: Ranges,
        owed: Owed,
        hold: Hold,
        saved: OwedFile,
        log: Callable[[], WriteLog],
        store: Callable[[Hand, int, int, memoryview, bool, int], None],
        changed: Callable[[], None],
    ) -> None:
        """`log`: the journal that is used now. `store`: as Mirror.store. `changed`: told when there
        is a position to record."""
        self._cells = cells
        self._incidents = incidents
        self._roster = roster
        self._ranges = ranges
        self._owed = owed
        self._hold = hold
        self._saved = saved
        self._unsaved = ""
        """Why the file could not be written the last time."""
        self._log = log
        self._store = store
        self._changed = changed
        self._due = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time to try again."""
        return monotonic() >= self._due

    def owe(self, leg: Leg, owed: Owed) -> None:
        """Take over what a replay could not write on a leg; reads of it are answered from here.

        Raises OSError when it is more than a leg in use may owe.
        """
        if not owed:
            return
        self._owed.add(owed)
        self.remember()
        cause = f"leg {leg.number} ({leg.url}) cannot write at byte {owed.offsets[0]}"
        incident = self._incidents.begin(STRATEGY, cause)
        incident.manual = True  # a story of its own
        incident.step("kept in the journal", f"{owed.size_bytes} bytes in all")
        incident.resolve("answered from the journal until the place can be written")

    def written_again(self, hand: Hand, leg: Leg, offset: int, what: memoryview | int) -> None:
        """A place is written again, without success, for which an earlier write is owed: the later
        one counts now.

        A replay would find it, too. The request fails all the same.
        """
        owed = self._owed
        position = self._log().begun_at(hand)
        length = what if isinstance(what, int) else len(what)
        written = {each for each in owed.offsets if offset <= each < offset + length}

        def keep(place: int, content: memoryview) -> None:
            if place in written:
                written.remove(place)
                owed.keep(place, content, position)

        try:
            store_around(hand, leg, offset, what, owed.unit_bytes, keep)
        except OSError as error:
            self._roster.fail(leg, f"write: {error.strerror}")
            return
        for place in written:
            self.paid(place, owed.unit_bytes)

    def paid(self, offset: int, length: int) -> None:
        """Every leg has the range now."""
        if not self._owed.forget(offset, length):
            return
        self.remember()
        self._changed()
        if not self._owed:
            incident = self._incidents.begin(STRATEGY, "places that could not be written")
            incident.manual = True
            incident.resolve("written: the journal keeps nothing for them any more")

    def pay(self, hand: Hand) -> None:
        """Try to write what is owed. Raises HoldExpired, GivenUp."""
        self._due = monotonic() + PAY_SECONDS
        for offset in self._owed.offsets:
            self._ranges.enter(hand, offset, self._owed.unit_bytes)
            try:
                content = self._owed.content(offset)
                if content is not None:
                    view = _aligned(memoryview(content))
                    self._store(hand, offset, len(view), view, False, monotonic_ns())
                    self.paid(offset, len(view))
            except BadPlaceError:
                continue
            finally:
                if not hand.given_up:
                    self._ranges.leave(hand)

    def carry(self, hand: Hand) -> None:
        """Append what is owed once more, so that the journal can be emptied up to there."""
        log = self._log()
        for offset in self._owed.offsets:
            self._ranges.enter(hand, offset, self._owed.unit_bytes)
            try:
                content = self._owed.content(offset)
                if content is None:
                    continue
                if log.append(hand, Kind.DATA, offset, memoryview(content), spare=True):
                    self._owed.carried(offset, log.begun_at(hand))
            finally:
                if not hand.given_up:
                    log.done(hand)
                    self._ranges.leave(hand)
        self.remember()

    def secure(self, hand: Hand, since_ns: int) -> frozenset[int]:
        """Make what is owed durable on this host, as no leg has it; returns what that was.

        Called before legs are flushed. A flush that needs it waits for the state directory, up to
        its deadline: raises HoldExpired, GivenUp.
        """
        if not self._owed:
            return frozenset()
        owed: dict[int, bytes] = {}

        def with_owed(filed: dict[int, bytes]) -> dict[int, bytes]:
            owed.update(self._owed.contents)
            return filed | owed

        self._file(hand, since_ns, with_owed)
        return frozenset(owed)

    def release(self, hand: Hand, since_ns: int, before: frozenset[int]) -> bool:
        """Take out of the file what was not owed any more at `secure`: the legs had it, and were
        flushed since. `before`: what `secure` returned.

        Called before the flush is answered. False: more is owed since, and all is to be done again.
        Raises as `secure`.
        """
        if self._owed and not before >= self._owed.contents.keys():
            return False
        if self._saved.may_exist:
            self._file(
                hand,
                since_ns,
                lambda filed: {
                    each: filed[each]
                    for each in filed
                    if each in before or each in self._owed.contents
                },
            )
        return True

    def _file(
        self,
        hand: Hand,
        since_ns: int,
        change: Callable[[dict[int, bytes]], dict[int, bytes]],
    ) -> None:
        """Write the file anew, waiting until it works. Raises HoldExpired, GivenUp."""
        while True:
            problem = self._saved.change(hand, change)
            if not problem:
                self._unsaved = ""
                return
            if not self._unsaved:
                self._incidents.reflex("state", f"what is owed cannot be saved: {problem}")
            self._unsaved = problem
            self._hold.wait_for_place(since_ns, AGAIN_SECONDS)

    def find_saved(self, hand: Hand, owners: Collection[str]) -> dict[int, bytes]:
        """What was owed when the host went down, if one of these has written the legs last: nobody
        else has used the volume since. Raises OSError, ValueError."""
        size_bytes = self._roster.configuration.size_bytes
        return self._saved.find(hand, owners, self._owed.unit_bytes, size_bytes)

    def remember(self) -> None:
        """Tell the worker after this one from where it has to replay."""
        since = self._owed.since if self._log().active else None
        self._cells[shared_page.OWED_SINCE] = 0 if since is None else since + 1


def _aligned(content: memoryview) -> memoryview:
    """The same bytes in memory that direct I/O accepts."""
    view = memoryview(aligned_buffer(len(content)))[: len(content)]
    view[:] = content
    return view
