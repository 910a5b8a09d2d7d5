"""Legs that come back, join, or are resynchronised.

`tick` runs on the worker's main thread, which never touches a leg: whatever does is a LegTask.
Invariant: a leg becomes a source only when it provably holds everything that was answered (the
rules of membership, and the journal for what it lacks), or after it was resynchronised.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Any

from holdfast.errors import ContainerFailed, ForeignLeg, HoldfastError, StaleLeg
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.data.task import LegTask
from holdfast.gate.data.upkeep import Upkeep
from holdfast.gate.members.configuration import LegEntry
from holdfast.gate.members.leg import Leg, open_leg
from holdfast.gate.members.membership import FoundLeg, Standing, judge
from holdfast.gate.members.superblock import MEDIUM_ERRORS, Superblock, bitmap_bytes
from holdfast.gate.repair.drill import Drills
from holdfast.gate.repair.host_memory import host_memory
from holdfast.gate.repair.probing import Probing
from holdfast.gate.repair.resync import Resync
from holdfast.gate.repair.settling_apart import settle_apart, settle_or_hold_apart
from holdfast.gate.runtime.claims import GivenUp, Hand
from holdfast.model.volume import LegState
from holdfast.system.processes.process import close_quietly


class Recovery:
    """Everything about legs that is not a request. `ask` sends a probe request to the keeper."""

    def __init__(self, mirror: Mirror, ask: Callable[[dict[str, Any]], bool]) -> None:
        self.mirror = mirror
        self.roster = mirror.roster
        self.upkeep = Upkeep(mirror)
        self.drills = Drills()
        self.probing = Probing(mirror, ask)
        self.resyncs: dict[int, Resync] = {}
        self._returning: dict[int, LegTask[None]] = {}
        self.changing = threading.Lock()
        """One change of membership at a time."""

    # --- the main loop's part -------------------------------------------------------------------

    def tick(self) -> float:
        """Do what is due; seconds until something is due again."""
        self._tend_resyncs()
        self.mirror.equalising.tend()
        now = monotonic()
        waits = [self._tend(entry, now) for entry in self.roster.configuration.legs]
        return min(waits, default=60.0)

    def _tend(self, entry: LegEntry, now: float) -> float:
        """Have a probe look at a leg that is away when it is due; seconds until the next time."""
        if entry.number in self.roster.present:
            self.probing.present(entry.number, now)
            return 60.0
        returning = self._returning.get(entry.number)
        hopeless = entry.state is LegState.STALE and not self.roster.readers
        busy = hopeless or (returning is not None and returning.is_alive())
        busy = busy or bool(self.roster.superseded) or self.drills.on(entry.number)
        return self.probing.away(entry, now, busy=busy)

    def probed(self, answer: dict[str, Any]) -> None:
        """A probe has an answer: when the storage is there, bring the leg back."""
        number = answer["probe"]
        self.probing.answered(number)
        entry = next((leg for leg in self.roster.configuration.legs if leg.number == number), None)
        if entry is None or number in self.roster.present:
            return
        if answer["error"]:
            if entry.state is LegState.RESYNCING:  # a worker before was filling it
                self.roster.note(number, entry.state, answer["error"])
            return
        running = self._returning.get(number)
        if running is None or not running.is_alive():
            known = entry
            self._returning[number] = LegTask(
                self.mirror.hands, lambda hand: self._return_quietly(hand, known), awaited=False
            )

    def given_back(self, number: int, descriptor: int) -> None:
        """The keeper has the container of a leg that has no name: what a probe would find.

        Owns the descriptor.
        """
        self.probing.answered(number)
        entry = next((leg for leg in self.roster.configuration.legs if leg.number == number), None)
        running = self._returning.get(number)
        wanted = entry is not None and number not in self.roster.present
        if entry is not None and wanted and (running is None or not running.is_alive()):
            self._returning[number] = LegTask(
                self.mirror.hands,
                lambda hand: self._return_quietly(hand, entry, descriptor),
                awaited=False,
            )
        else:  # the keeper has it still; closing may hang where its storage does
            threading.Thread(target=close_quietly, args=(descriptor,), daemon=True).start()

    def _tend_resyncs(self) -> None:
        for number, resync in list(self.resyncs.items()):
            if resync.at_work:
                continue
            if resync.unfinished:
                if self.roster.readers:
                    self.start_resync(resync.rest())
                continue
            del self.resyncs[number]
            if not resync.incident.resolved_ns:
                resync.incident.resolve("abandoned: the leg failed or was removed")

    # --- legs that come back --------------------------------------------------------------------

    def _return_quietly(self, hand: Hand, entry: LegEntry, inherited: int | None = None) -> None:
        """Bring a leg back because a probe found its storage; a refusal is its reason to show."""
        state = entry.state
        try:
            with hand.holding(self.changing):
                self.bring_back(hand, entry, inherited)
            return
        except StaleLeg as error:
            state, reason = LegState.STALE, error.message
        except HoldfastError as error:
            reason = error.message
        except BlockingIOError:
            reason = "another process uses it"
        except OSError as error:
            reason = error.strerror or str(error)
        finally:
            self.mirror.wake()
        self.roster.note(entry.number, state, reason)

    def bring_back(self, hand: Hand, entry: LegEntry, inherited: int | None = None) -> None:
        """Open a member's container and take it in again. Blocks as storage does.

        With other legs serving, it is resynchronised. When none is left and it provably holds what
        was answered, what it lacks is replayed and the volume continues. Raises HoldfastError,
        OSError; the leg is not used then.
        """
        leg, superblock = self.open(hand, entry, inherited)
        try:
            self.check_identity(entry, superblock)
            assert superblock is not None
            if self.roster.readers:
                unchanged = self.unchanged(entry, superblock)
                self.roster.rise_above(superblock.epoch)
                self.join(hand, leg, entry, first_region=None if unchanged else 0)
            else:
                self.resume(hand, leg, entry, superblock)
        except BaseException:
            leg.discard()
            raise

    def resume(
        self,
        hand: Hand,
        leg: Leg,
        entry: LegEntry,
        superblock: Superblock,
        *,
        is_copy: bool = False,
    ) -> None:
        """The last leg is back: replay what it lacks, exclude the others, end the hold.

        `is_copy`: what stands there was made from its history. None of the others can be brought up
        to date by parts of it then. Raises StaleLeg, OSError; the leg is not used then.
        """
        if self.roster.is_stranger(superblock):
            raise StaleLeg(
                f"{entry.url} was used elsewhere meanwhile ({superblock.owner}): what is mounted"
                " here is older",
                "Detach the volume here, then attach it where the newest data shall be used.",
            )
        memory = host_memory(self.mirror)
        if self.roster.durable.epoch < superblock.epoch <= self.roster.highest_epoch:
            memory = replace(memory, epoch=superblock.epoch)  # a raise that nobody relied on
        judgement = judge(memory, [FoundLeg(entry.url, superblock)])
        own = next(each for each in judgement.legs if each.leg_id == superblock.leg_id)
        if own.standing not in (Standing.SOURCE, Standing.REPLAYABLE):
            raise StaleLeg(
                f"{entry.url} is behind: {own.reason}", "Bring back the leg that was used last."
            )
        if leg.size_bytes > self.roster.configuration.size_bytes:
            self.grow_to(hand, leg.size_bytes)
        self.fit(hand, leg)
        self.take_bits(hand, leg)
        replayed = 0
        if self.mirror.log.active:
            replayed, owed = self.mirror.replay(hand, leg, superblock.position)
            self.mirror.repaying.owe(leg, owed)
        self.mirror.settling.go_on_with(superblock)
        self.roster.resume_with(leg)
        if is_copy:
            self.roster.distrust_bits()
        self.mirror.intent.secure(hand)
        if settle_or_hold_apart(self.mirror):
            how = f"{leg.url} is leg {leg.number} now" if is_copy else f"leg {leg.number} is back"
            self.mirror.reflexes.storage_back(how, replayed)

    def take_bits(self, hand: Hand, leg: Leg) -> None:
        """Add a leg's bitmap to ours; from now on bits must be made durable on it, too."""
        if not self.roster.has_bits:
            return
        with hand.holding(self.mirror.intent.lock):
            bits = self._bits_of(hand, leg)
            self.mirror.intent.bitmap.merge(bits)
            self.mirror.intent.bitmap.durable[:] = bytes(self.mirror.intent.bitmap.regions)

    def _bits_of(self, hand: Hand, leg: Leg) -> bytes:
        """A leg's bitmap; where it has a bad place, every region may differ."""
        hand.enter(leg.number)
        try:
            return leg.read_bitmap()
        except OSError as error:
            if error.errno not in MEDIUM_ERRORS:
                raise
            return b"\xff" * bitmap_bytes(leg.size_bytes)
        finally:
            hand.leave()

    def join(
        self,
        hand: Hand,
        leg: Leg,
        entry: LegEntry,
        *,
        blank: bool = False,
        strategy: str = "resync",
        first_region: int | None = 0,
        lacking: Callable[[], list[int]] | None = None,
    ) -> None:
        """Let a leg take part in writes and copy to it what it lacks.

        From `first_region` on; None: only what has a bit, of a leg that is what it was when it
        failed (`unchanged`), whose own bits count, too. `lacking`: the regions that it says, when
        the leg gets every write already. Raises Superseded, StorageFailed when
        nobody agreed that it is one, OSError, GivenUp: it has failed then, and is probed. NoSource
        when no leg is there from which it could be filled.
        """
        if first_region is None:
            self.take_bits(hand, leg)
        old_end, old_size = leg.container_bytes, leg.size_bytes
        self.fit(hand, leg)
        self.roster.join(leg, entry)
        incident = self.mirror.incidents.begin(strategy, f"leg {leg.number} ({leg.url}) joins")
        try:
            settle_apart(self.mirror)
            if old_size != leg.size_bytes:
                with hand.inside(leg.number, flushes=True):
                    leg.clear_old_tail(old_end, old_size)
        except BaseException as error:
            why = getattr(error, "strerror", "") or str(error) or "its storage does not answer"
            self.roster.fail(leg, why)  # it is not filled, or would be without end
            incident.resolve(f"not joined: {why}")
            raise
        bitmap = self.mirror.intent.bitmap
        whole = first_region is not None and lacking is None
        if lacking is not None:
            regions = lacking()
        else:
            regions = list(range(first_region or 0, bitmap.regions)) if whole else bitmap.dirty()
        incident.step("joined", f"{len(regions)} of {bitmap.regions} regions to copy")
        self.start_resync(
            Resync(self.mirror, leg, regions, blank=blank, whole=whole, incident=incident)
        )

    def unchanged(self, entry: LegEntry, superblock: Superblock) -> bool:
        """Whether a leg that returns is what it was when it failed, and lacks only what has a bit.

        One that carries the epoch which excluded it, or a later one, was used apart from us: what
        was written to it there has no bit here.
        """
        return (
            self.roster.has_siblings
            and superblock.state is LegState.IN_SYNC
            and entry.state is not LegState.RESYNCING
            and superblock.epoch >= self.roster.configuration.clean_epoch
            and superblock.epoch < entry.excluded_epoch
            and superblock.position >= entry.position
        )

    def fit(self, hand: Hand, leg: Leg) -> None:
        """Give a leg of the time before a growth the place of the present size for its tail."""
        size_bytes = self.roster.configuration.size_bytes
        if leg.size_bytes != size_bytes:
            with hand.inside(leg.number):
                leg.resize(size_bytes)

    def grow_to(self, hand: Hand, size_bytes: int) -> None:
        """Go on with a growth that a leg knows of and gate.json does not; the caller settles."""
        intent = self.mirror.intent
        with hand.holding(intent.lock):
            intent.bitmap = intent.bitmap.resized(size_bytes)
            self.roster.resize(size_bytes)

    def start_resync(self, resync: Resync) -> None:
        """Start copying in the background."""
        self.resyncs[resync.leg.number] = resync
        resync.start()
        self.mirror.wake()

    def open(
        self, hand: Hand, entry: LegEntry, inherited: int | None = None
    ) -> tuple[Leg, Superblock | None]:
        """Open a leg's container. Raises ContainerFailed, BlockingIOError when it is locked."""
        if self.drills.on(entry.number):
            if inherited is not None:
                close_quietly(inherited)
            raise ContainerFailed(f"{entry.url}: a drill is on")
        hand.enter(entry.number)
        try:
            configuration = self.roster.configuration
            leg, superblock = open_leg(
                entry,
                configuration.size_bytes,
                inherited=inherited,
                sector_bytes=configuration.sector_bytes,
            )
        except BaseException:
            hand.leave()
            raise
        try:
            hand.leave()
        except GivenUp:  # nobody waits for it any more, and it would keep the lock
            leg.discard()
            raise
        return leg, superblock

    def check_identity(self, entry: LegEntry, superblock: Superblock | None) -> None:
        """Raise unless the container is still the leg that it was."""
        if superblock is None:
            raise ContainerFailed(
                f"{entry.url} has no Holdfast superblock any more: its content cannot be trusted",
                "Put an empty container in its place: holdfast leg replace.",
            )
        if (
            superblock.volume_id != self.roster.configuration.volume_id
            or superblock.leg_id != entry.id
        ):
            name = superblock.descriptor.get("name", superblock.volume_id)
            raise ForeignLeg(
                f"{entry.url} holds another leg now (number {superblock.leg_number} of {name})",
                "Put the right container back, or replace the leg.",
            )
