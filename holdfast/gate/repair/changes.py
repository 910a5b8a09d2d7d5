"""What an administrator changes: add, remove, replace a leg, grow, configure, rehearse a fault.

Each checks everything first and says why not; a container is created or erased only then. Runs as a
LegTask, one change at a time.
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from typing import Any

from holdfast.containers import open_container
from holdfast.errors import (
    AlreadyExists,
    ContainerFailed,
    ForeignLeg,
    HoldfastError,
    InvalidOption,
    InvalidSize,
    LastLeg,
    NoSource,
    NoSuchLeg,
    StaleLeg,
    StorageFailed,
)
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.data.write_intent.bitmap import Bitmap
from holdfast.gate.members.configuration import HISTORY, LegEntry
from holdfast.gate.members.inside_leg import inside_leg
from holdfast.gate.members.leg import Leg, open_leg
from holdfast.gate.members.superblock import container_bytes_needed
from holdfast.gate.repair.drill import FAULTS, DrilledBackEnd
from holdfast.gate.repair.recovery import Recovery
from holdfast.gate.runtime.claims import Hand
from holdfast.gate.runtime.shared_page import HOLD_TIMEOUT, LEG
from holdfast.model.volume import LegState

ELSEWHERE = (1 << 32) + 1
"""Stands for a container that is no leg where a hand says which leg it is in."""


class Changes:
    """What an administrator can do to the legs of a running gate."""

    def __init__(self, mirror: Mirror, recovery: Recovery) -> None:
        self.mirror = mirror
        self.roster = mirror.roster
        self.recovery = recovery

    def find(self, name: str) -> LegEntry:
        """The leg with this number, id (or its beginning) or URL. Raises NoSuchLeg."""
        legs = self.roster.configuration.legs
        matches = [leg for leg in legs if name in (str(leg.number), leg.id, leg.url)]
        matches = matches or [leg for leg in legs if len(name) >= 4 and leg.id.startswith(name)]
        if len(matches) != 1:
            raise NoSuchLeg(
                f"the volume has no leg {name!r}",
                "Name it by its number, id or URL: holdfast volume show.",
            )
        return matches[0]

    def add(self, hand: Hand, url: str, *, replaces: int = 0, strategy: str = "resync") -> int:
        """Add a container as a leg; its number. A copy of a member that is away is that member.

        An empty container is created where it is absent, and filled in the background. Raises what
        the container itself calls for, before anything is changed.
        """
        with hand.holding(self.recovery.changing):
            url = open_container(url).url
            configuration = self.roster.configuration
            for leg in configuration.legs:
                if leg.url == url and leg.number in self.roster.nameless:
                    replaces = replaces or leg.number  # what is at its name now is not this leg
                elif leg.url == url and leg.number in self.roster.present:
                    raise AlreadyExists(
                        f"{url} is a leg of this volume already", "Use another container."
                    )
            known = self._examine(hand, url)
            if known is not None:
                self.recovery.bring_back(hand, known)
                self.mirror.settling.settle_or_raise(hand)
                return known.number
            if not self.roster.readers:
                raise NoSource(
                    f"no leg holds the volume's data now, so {url} cannot be filled",
                    "Bring back a leg, or add a copy of one.",
                )
            return self._add_empty(hand, url, replaces, strategy)

    def add_spare(self, hand: Hand, url: str) -> None:
        """Remember a container that takes the place of the next leg that fails. Durable."""
        container = open_container(url)
        with hand.holding(self.recovery.changing):
            configuration = self.roster.configuration
            if container.url in (
                *configuration.spare_urls,
                *(leg.url for leg in configuration.legs),
            ):
                raise AlreadyExists(
                    f"{container.url} is a leg or spare of this volume already",
                    "Use another container.",
                )
            self._examine(hand, container.url)
            with hand.inside(ELSEWHERE):
                container.check_free(container_bytes_needed(configuration.size_bytes))
            self.roster.add_spare(container.url)
            self.mirror.settling.settle_or_raise(hand)

    def remove_spare(self, hand: Hand, url: str) -> bool:
        """Forget a spare; durable. False: it is none, or is being put in a leg's place just now."""
        if not self.roster.remove_spare(url):
            return False
        self.mirror.settling.settle_or_raise(hand)
        return True

    def _examine(self, hand: Hand, url: str) -> LegEntry | None:
        """As `_known`; what cannot be opened is left to the check of an empty container.

        That one says better what is wrong. With no leg left it will not come to it.
        """
        try:
            return self._known(hand, url)
        except (ContainerFailed, BlockingIOError):
            if not self.roster.readers:
                raise
            return None

    def _known(self, hand: Hand, url: str) -> LegEntry | None:
        """The absent member whose container, or a copy of it, is at this URL; None: no member's."""
        configuration = self.roster.configuration
        with hand.inside(ELSEWHERE):
            if not open_container(url).exists():
                return None
            leg, superblock = open_leg(
                LegEntry(0, "", url),
                configuration.size_bytes,
                whole=False,
                places=[entry.container_bytes for entry in configuration.legs],
            )
            leg.discard()
        if superblock is None:
            return None
        if superblock.volume_id != configuration.volume_id:
            raise ForeignLeg(
                f"{url} is a leg of another volume"
                f" ({superblock.descriptor.get('name', superblock.volume_id)})",
                "Use another container, or remove it from that volume first.",
            )
        for entry in configuration.legs:
            if entry.id == superblock.leg_id:
                if entry.number in self.roster.present:
                    raise ForeignLeg(
                        f"{url} is a copy of leg {entry.number}, which is in use",
                        "Two containers cannot be the same leg: use an empty one.",
                    )
                return replace(entry, url=url)
        raise StaleLeg(
            f"{url} was a leg of this volume and was taken out of it",
            "Erase it (wipefs, or delete the image) and add it as an empty container.",
        )

    def _add_empty(self, hand: Hand, url: str, replaces: int, strategy: str) -> int:
        configuration = self.roster.configuration
        number = 1 + max(configuration.last_number, *(leg.number for leg in configuration.legs))
        entry = LegEntry(number, str(uuid.uuid4()), url, LegState.RESYNCING, replaces=replaces)
        container = open_container(url)
        needed = container_bytes_needed(configuration.size_bytes)
        with hand.inside(ELSEWHERE):
            container.check_free(needed)
            created = container.create(needed)
        try:
            leg, _ = self.recovery.open(hand, entry)
        except BaseException:
            if created:
                container.remove()
            raise
        blank = container.traits.reads_zero_when_new
        try:
            self.recovery.join(hand, leg, entry, blank=blank, strategy=strategy)
        finally:
            leg.discard()  # does nothing when it was taken in
        return number

    def remove(self, hand: Hand, name: str) -> None:
        """Take a leg out of the volume and erase its superblocks. Raises LastLeg.

        Raises Superseded, StorageFailed while nobody has agreed that it left: the superblocks stay.
        """
        with hand.holding(self.recovery.changing):
            self._remove(hand, self.find(name))

    def _remove(self, hand: Hand, entry: LegEntry) -> None:
        nameless = self.roster.nameless
        others = [
            leg
            for leg in self.roster.readers
            if leg.number != entry.number
            and (leg.number not in nameless or entry.number in nameless)
        ]
        if not others:
            raise LastLeg(
                f"leg {entry.number} is the only one in sync",
                "Add another leg and wait until it is in sync.",
            )
        resync = self.recovery.resyncs.get(entry.number)
        if resync is not None:
            resync.stop()
        leg = self.roster.remove(entry.number)
        try:
            self.mirror.settling.settle_or_raise(hand)
        except BaseException:
            if leg is not None:
                self.roster.retired.add(leg)
            raise
        if leg is None:
            return
        self._wait_until_unused(leg)
        hand.enter(entry.number)
        try:
            leg.erase()
            container = open_container(leg.url)
            if not container.traits.is_named_by_people:  # it was made for a time, which is over
                container.remove()
        finally:
            self.roster.retired.add(leg)
            self.mirror.wake()
            hand.leave()

    def _wait_until_unused(self, leg: Leg) -> None:
        """Wait until no request that began before the removal is inside the leg."""
        pause = threading.Event()
        while any(
            hand.cells[LEG] == leg.number and not hand.given_up for hand in self.mirror.hands.all()
        ):
            pause.wait(0.001)

    def replace(self, hand: Hand, name: str, url: str) -> int:
        """Add a container that takes a leg's place once it is in sync; its number.

        A spare is none from the epoch on in which it joins; where it cannot join it stays one.
        """
        number, url = self.find(name).number, open_container(url).url
        is_spare = url in self.roster.configuration.spare_urls
        if is_spare:
            self.roster.use_spare(url)
        try:
            return self.add(hand, url, replaces=number, strategy="replacement")
        except BaseException:
            joined = any(entry.url == url for entry in self.roster.configuration.legs)
            if is_spare and not joined:
                self.roster.keep_spare(url)
            raise

    def finish_replacement(self, hand: Hand, replaced: int) -> None:
        """The new leg is in sync: the old one leaves."""
        started = [
            incident
            for incident in self.mirror.incidents.open
            if incident.strategy == "replacement"
        ]
        with hand.holding(self.recovery.changing):
            for entry in self.roster.configuration.legs:
                if entry.number == replaced:
                    self._remove(hand, entry)
        for incident in started:
            incident.step(f"leg {replaced} left")
        self.mirror.wake()

    def take_spare(self, hand: Hand, url: str, number: int) -> None:
        """Put a spare in the place of a failed leg; its failure is a receipt of its own."""
        try:
            self.add(hand, url, replaces=number, strategy="replacement")
        except (HoldfastError, OSError) as error:
            incident = self.mirror.incidents.begin("replacement", f"spare {url}")
            incident.resolve(f"the spare cannot be used: {error}")

    def configure(
        self, hand: Hand, descriptor: dict[str, Any] | None, hold_timeout_seconds: float | None
    ) -> None:
        """Change what superblocks say of the volume, or the deadline of later holds. Durable.

        None: that stays as it is. Raises NoSource when no leg can be told, StorageFailed,
        Superseded.
        """
        mirror = self.mirror
        with hand.holding(self.recovery.changing):
            old = self.roster.configuration.descriptor
            # It is not ours to tell of a history.
            if descriptor is not None and HISTORY in old:
                descriptor = descriptor | {HISTORY: old[HISTORY]}
            asked = {"descriptor": descriptor, "hold_timeout_seconds": hold_timeout_seconds}
            self.roster.configure_as_told(
                **{name: value for name, value in asked.items() if value is not None}
            )
            try:
                mirror.settling.settle_or_raise(hand)
            finally:  # it may have been taken back
                seconds = self.roster.configuration.hold_timeout_seconds
                mirror.hold.set_timeout(seconds)
                mirror.cells[HOLD_TIMEOUT] = int(seconds * 1e9)

    def rehearse(self, fault: str, name: str | None, seconds: float) -> int:
        """Have a leg behave as broken for that time; its number. None: the one that is read.

        Raises InvalidOption, NoSuchLeg.
        """
        if fault not in FAULTS:
            raise InvalidOption(f"{fault!r} is no fault of a leg", f"Use {', '.join(FAULTS)}.")
        readers = self.roster.readers
        if name is None and not readers:
            raise InvalidOption("no leg is in sync: there is nothing to rehearse")
        number = self.find(name).number if name else readers[0].number
        self.recovery.drills.start(number, seconds)
        self.roster.filter(number, lambda back_end: DrilledBackEnd(back_end, fault, seconds))
        return number

    def resize(self, hand: Hand, size_bytes: int) -> None:
        """Grow the volume: containers, tails, then the size that the kernel sees. Durable.

        A shrink is refused, and so is a growth while a leg is away. Repeating it after a failure
        goes on where it ended.
        """
        with hand.holding(self.recovery.changing):
            configuration = self.roster.configuration
            if size_bytes < configuration.size_bytes:
                raise InvalidSize(
                    "a volume cannot shrink while its file system is mounted",
                    "Make a smaller volume and copy the files.",
                )
            if len(self.roster.present) != len(configuration.legs):
                raise StorageFailed(
                    "a leg is away: it would be too small when it returns",
                    "Bring it back or remove it, then resize.",
                )
            for leg in self.roster.writers:
                hand.enter(leg.number)
                try:
                    open_container(leg.url).grow(container_bytes_needed(size_bytes))
                finally:
                    hand.leave()
            self._move_tails(hand, size_bytes)

    def _move_tails(self, hand: Hand, size_bytes: int) -> None:
        """Write bitmap and superblock at the new ends, then zero the old ones.

        No bit is set before the superblocks say durably where the bits are now: a write that comes
        meanwhile waits for the bitmap's lock.
        """
        mirror, roster = self.mirror, self.roster
        old_size = roster.configuration.size_bytes
        with hand.holding(mirror.intent.lock):
            old_ends = {leg.number: leg.container_bytes for leg in roster.writers}
            grown = mirror.intent.bitmap.resized(size_bytes)
            with hand.holding(mirror.settling.lock):
                for leg in roster.writers:
                    self._move_tail(hand, leg, size_bytes, grown)
                if not roster.readers:
                    raise StorageFailed(
                        "the last leg failed while its tail was moved: the volume keeps its size",
                        "Repeat it when a leg is back.",
                    )
                mirror.intent.bitmap = grown
                roster.resize(size_bytes)
            mirror.settling.settle_or_raise(hand)
        for leg in roster.writers:
            with inside_leg(roster, hand, leg, "resize"):
                leg.clear_old_tail(old_ends[leg.number], old_size)

    def _move_tail(self, hand: Hand, leg: Leg, size_bytes: int, bitmap: Bitmap) -> None:
        """One leg's; it fails when it cannot be written. The caller holds the bitmap's lock."""
        with inside_leg(self.roster, hand, leg, "resize"):
            leg.resize(size_bytes)
            for page in bitmap.pages():
                leg.write_bitmap(bitmap.page(page), page)
            leg.flush()
