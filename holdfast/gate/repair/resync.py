"""Bringing one leg up to date while the volume is in use.

Invariant: a region is copied while no write to it is under way, and the leg gets every write from
the moment it joined; so when the last region is copied the leg holds everything. It becomes a
source only then. A failing target is given up, a failing source is the mirror's business.
"""

from __future__ import annotations

import threading
from time import monotonic

from holdfast.gate.data.bad_places import BadPlaceError
from holdfast.gate.data.hold import HoldExpired
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.members.leg import Leg, zero_all
from holdfast.gate.members.superblock import REGION_BYTES
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.claims import GivenUp, Hand
from holdfast.gate.runtime.incidents import Incident
from holdfast.model.volume import LegState
from holdfast.system.resources.memory import aligned_buffer

_ZEROS = bytes(REGION_BYTES)

_STOP_POLL_SECONDS = 0.01
"""A thread that hangs in storage is given up by the watchdog, and never joined."""

BAD_PLACE_SECONDS = 5.0
"""How often a region that cannot be read is tried again when no other is left."""


class Resync(threading.Thread):
    """Copies regions to one leg, throttled. Ends when the leg is in sync, or has failed."""

    def __init__(
        self,
        mirror: Mirror,
        leg: Leg,
        regions: list[int],
        *,
        blank: bool,
        whole: bool,
        incident: Incident,
    ) -> None:
        super().__init__(name=f"resync-{leg.number}", daemon=True)
        self.mirror = mirror
        self.leg = leg
        self.regions = regions
        self.blank = blank
        """The target reads as zeros where nothing was written: zeros need no copy."""
        self.incident = incident
        self.done = 0
        self.total = len(regions)
        self.whole = whole
        """All regions before these are copied already: what is left is worth remembering."""
        self.missing = leg.missing = set(regions)
        """Regions that the leg lacks still; others read the rest of it (`Leg.has`)."""
        self.unreadable: set[int] = set()
        """Regions in which the source has a bad place."""
        self.stopping = threading.Event()
        self.hand = mirror.hands.take()

    @property
    def percent(self) -> float:
        """Progress, 0 to 100."""
        return 100.0 * (self.total - len(self.regions) + self.done) / max(1, self.total)

    @property
    def at_work(self) -> bool:
        """Whether anything is to be expected of it: a thread that was given up does no more."""
        return self.is_alive() and not self.hand.given_up

    def stop(self) -> None:
        """Have it end, and wait until it does nothing any more: as long as a leg may hang."""
        self.stopping.set()
        while self.at_work:
            self.join(_STOP_POLL_SECONDS)

    @property
    def unfinished(self) -> bool:
        """Whether the leg still waits for regions although the thread copies no more."""
        present = self.mirror.roster.present.get(self.leg.number) is self.leg
        waiting = present and self.leg.state is LegState.RESYNCING
        return waiting and not self.at_work and not self.stopping.is_set()

    def rest(self) -> Resync:
        """A new thread for what is left, after this one was lost inside a failed source."""
        rest = Resync(
            self.mirror,
            self.leg,
            self.regions[self.done :],
            blank=self.blank,
            whole=self.whole,
            incident=self.incident,
        )
        rest.total = self.total
        return rest

    def run(self) -> None:
        hand = self.hand
        try:
            self._copy_all(hand)
            if not self.stopping.is_set() and self.mirror.promote(hand, self.leg):
                self.incident.step(f"leg {self.leg.number} in sync")
                self.incident.resolve("in sync")
        except OSError as error:
            self.mirror.roster.fail(self.leg, f"resynchronisation: {error.strerror}")
        except (GivenUp, HoldExpired):
            # The source in which it hung was failed, and a hold that ends has a receipt of its own:
            # nothing to say here. The leg stays unfinished; recovery does the rest when it can.
            pass
        finally:
            self.mirror.hands.put_back(hand)
            self.mirror.wake()

    def _copy_all(self, hand: Hand) -> None:
        rate = self.mirror.roster.configuration.resync_bytes_per_second
        buffer = memoryview(aligned_buffer(REGION_BYTES))
        started, copied = monotonic(), 0
        while self.done < len(self.regions) and not self.stopping.is_set():
            if self.mirror.roster.present.get(self.leg.number) is not self.leg:
                raise OSError(5, "the leg failed")
            try:
                copied += self._copy(hand, self.regions[self.done], buffer)
            except BadPlaceError as bad:
                self._put_off(bad)
                continue
            self.missing.discard(self.regions[self.done])
            self.done += 1
            self._remember()
            if rate:
                self.stopping.wait(max(0.0, copied / rate - (monotonic() - started)))

    def _put_off(self, bad: BadPlaceError) -> None:
        """Leave a region that cannot be read for the end; there, wait until it can, or is written.

        The leg does not become a source as long as it lacks one.
        """
        region = self.regions.pop(self.done)
        if region in self.unreadable:  # nothing else is left
            self.stopping.wait(BAD_PLACE_SECONDS)
        else:
            self.unreadable.add(region)
            self.incident.step(f"region {region} is left for the end", bad.what)
        self.regions.append(region)

    def _remember(self) -> None:
        """Note in the shared page how far this attempt is, for the worker after this one.

        Only as long as the leg is the one that joined: a later attempt begins at its own beginning.
        """
        roster, number = self.mirror.roster, self.leg.number
        with roster.lock:
            if roster.present.get(number) is not self.leg:
                return
            if self.whole and self.done < len(self.regions):
                shared_page.remember_copied(
                    self.mirror.cells, number, min(self.regions[self.done :])
                )
            else:
                shared_page.forget_copied(self.mirror.cells, number)

    def _copy(self, hand: Hand, region: int, buffer: memoryview) -> int:
        """Copy one region; bytes that took storage time."""
        offset = region * REGION_BYTES
        length = min(REGION_BYTES, self.mirror.size_bytes - offset)
        self.mirror.ranges.enter(hand, offset, length)
        try:
            owed = self.mirror.owed.touches(offset, length)
            if self.blank and not owed and self._is_hole(hand, offset, length):
                return 0
            view = buffer[:length]
            self.mirror.read(hand, view, offset, patient=False)
            zeros = view.tobytes() == _ZEROS[:length]
            if zeros and self.blank:
                return length
            hand.enter(self.leg.number)
            try:
                if zeros:
                    zero_all(hand, self.leg, offset, length, keep_allocated=False)
                else:
                    self.leg.write(view, offset)
            finally:
                hand.leave()
            return length
        finally:
            if not hand.given_up:
                self.mirror.ranges.leave(hand)

    def _is_hole(self, hand: Hand, offset: int, length: int) -> bool:
        """Whether the source has nothing there; asks, reads nothing."""
        readers = self.mirror.roster.readers
        if not readers:
            return False
        hand.enter(readers[0].number)
        try:
            return readers[0].next_data(offset) >= offset + length
        except OSError:
            return False
        finally:
            hand.leave()
