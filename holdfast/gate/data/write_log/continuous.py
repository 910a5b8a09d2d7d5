"""The journal `continuous`: as `unflushed`, and every record is carried to a history.

WriteLog says what each method promises. Invariants: a flush is answered when the history has, too,
what it covers, unless the policy says to go on without it, which is told, and becomes a gap of the
history; nothing is trimmed before it was carried, with the same exception; positions that a history
has are never used again for something else.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from holdfast.gate.data.write_log.carrying import Carrying, Troubles
from holdfast.gate.data.write_log.unflushed import Unflushed
from holdfast.gate.log.history.layout import Mark, volume_in_history
from holdfast.gate.log.history.outline import outline
from holdfast.gate.log.history.writing import LEAST_GAP_BYTES, HistoryWriter
from holdfast.gate.log.segment import Kind
from holdfast.gate.runtime.claims import Hand, Hands
from holdfast.model.history import HistoryPlace
from holdfast.system.processes.process import apart

BEGIN_SECONDS = 30.0
"""How long the first worker waits for the first segment; the watchdog ends a wait for storage that
hangs before that."""


MOST_SHOWN = 100
"""Stretches that are told; older ones are found in the directory."""


class Continuous(Unflushed):
    """The ring of one gate, and the history that it is carried to."""

    compiled_flushes = False

    def __init__(
        self,
        path: Path,
        files: Path,
        volume_id: str,
        page: memoryview,
        on_failure: Callable[[str], None],
        history: HistoryPlace,
        hands: Hands,
        troubles: Troubles,
        *,
        needed: Callable[[], Sequence[int]],
        goes_on_without: bool,
    ) -> None:
        """See Unflushed, and HistoryWriter for `needed`. `goes_on_without`: flushes are answered,
        and the ring is emptied, while the history fails."""
        super().__init__(path, files, volume_id, page, on_failure)
        self._history = Path(history.directory)
        self._name = volume_in_history(volume_id)
        self._goes_on_without = goes_on_without
        self._is_proven = True
        self.may_settle = False
        """Whether `begin_anew` follows a crash of this host, and nothing else."""
        self._ended_at = -1
        """Where the history ended when the ring was begun, which the legs do not contradict."""
        new_writer = partial(
            HistoryWriter,
            self._history,
            self._name,
            keep_seconds=history.keep_seconds,
            limit_bytes=history.limit_bytes,
            needed=needed,
            lose=troubles.lose,
        )
        self.carrying = Carrying(self._ring, new_writer, self._under_way, hands, troubles, page)

    def _under_way(self) -> set[int]:
        """Positions that threads name."""
        return {each - 1 for each in self._logged.tolist() if each}

    def open(self, minimum_position: int) -> None:
        """As the ring; a new one begins where the history ends. Raises OSError when that cannot be
        looked at: whether anything is missing nobody could tell later."""
        ring = self._ring
        found = ring.find(minimum_position)
        self.continues = found and ring.carried >= 0 and not ring.unsettled
        if self.continues:
            return
        carried, base, is_there, lived_ns = apart(partial(self._where_it_ended, minimum_position))
        self._is_proven = carried == base
        if not self._is_proven and is_there and carried >= minimum_position:
            self._ended_at = carried
        ring.begin_anew(base)
        ring.carried, ring.lived_ns = carried, lived_ns

    def _where_it_ended(self, minimum_position: int) -> tuple[int, int, bool, int]:
        """Up to where the history is whole, where positions go on, whether there is any of it, and
        for how long (ns) it has been kept. Raises OSError.

        A gate that ended properly has written a mark at the end, and the legs say the position
        behind it. Otherwise they may have what the history lacks.
        """
        writer = HistoryWriter(self._history, self._name)
        writer.open()
        try:
            if writer.is_new:  # what was there is gone, or it is begun now
                base = minimum_position + writer.is_cut * LEAST_GAP_BYTES
                return minimum_position, base, False, 0
            end = writer.find_end()
            lived_ns = writer.lived_ns
        finally:
            writer.close()
        if end.is_closed and end.position == minimum_position:
            return end.position, end.position, True, lived_ns
        base = max(end.position, minimum_position) + LEAST_GAP_BYTES
        return end.position, base, True, lived_ns

    def started(self, hand: Hand) -> None:
        """And it is carried from now on. Raises OSError when no segment can be begun: a power cut
        might look as if nothing had been written since the gate before."""
        self._ring.in_use()
        self.await_kept(self._ring.carried)

    def await_kept(self, position: int) -> None:
        """Nothing less than the history. Raises OSError when it fails, or takes too long."""
        self.carrying.start()
        self.carrying.ask(position)
        if not self.carrying.wait(position, BEGIN_SECONDS):
            reason = self.carrying.failing or "its storage does not answer"
            raise OSError(errno.EIO, f"the history cannot be written: {reason}")

    def goes_on(self) -> None:
        """And it is carried from now on."""
        self._ring.in_use()
        self.carrying.start()

    @property
    def shown(self) -> dict[str, object]:
        """Where it is, and how far."""
        ring = self._ring
        failing = self.carrying.failing or ("" if self.active else "the journal failed")
        behind = self.carrying.behind
        pages, used_bytes = self.carrying.kept
        stretches = outline(pages)[-MOST_SHOWN:]
        return {
            "history_bytes": used_bytes,
            "history_stretches": [asdict(each) for each in stretches],
            "history": str(self._history),
            "history_state": "fails" if failing else "behind" if behind else "written",
            "history_holds": not self._goes_on_without,
            "history_reason": failing or behind,
            "history_position": ring.carried,
            "history_behind_bytes": max(0, ring.end - ring.carried),
        }

    def ask_kept(self) -> int:
        """The end of the ring."""
        end = self._ring.end
        if self.active:
            self.carrying.start()
            self.carrying.ask(end)
        return end

    def wait_kept(self, position: int, seconds: float) -> bool:
        """Durable in the history; or it fails, and the volume goes on without."""
        if not self.active:
            return True
        self.carrying.start()
        return self._is_without or self.carrying.wait(position, seconds) or self._is_without

    def is_late(self) -> None:
        """Where the volume goes on without a history that fails, so it does without a slow one."""
        if self._goes_on_without:
            self.carrying.fall_behind()

    @property
    def _is_without(self) -> bool:
        return self._goes_on_without and bool(self.carrying.failing or self.carrying.behind)

    def trim(self, hand: Hand, position: int) -> None:
        """Not beyond what was carried; where the volume goes on without, not before room is short:
        a history that comes back soon lacks nothing."""
        if self._is_without and self._ring.is_crowded:
            self._ring.trim(position)
        elif self._ring.recorded <= self._ring.carried:  # else it is about to catch up
            self._ring.trim(min(position, self._ring.carried))

    @property
    def kept(self) -> tuple[int, int] | None:
        """None: the legs may have what no record tells of; it is begun anew then."""
        return super().kept if self._is_proven else None

    def begin_anew(self, hand: Hand, above: int) -> None:
        """A gap in the history, whose positions are not used again; or, where regions that may
        differ from it have bits, a step to what the legs have (`settle`)."""
        ring = self._ring
        carried, lived_ns = ring.carried, ring.lived_ns
        settles = self.may_settle and not self._is_proven and above <= self._ended_at
        self._is_proven = True
        if settles:
            self.continues = False
            ring.begin_anew(self._ended_at)
            ring.unsettled = True
        else:
            super().begin_anew(hand, max(above, ring.end))
        ring.carried, ring.lived_ns = carried, lived_ns

    @property
    def unsettled(self) -> bool:
        """Whether the history is to be told what the legs have."""
        return self._ring.unsettled

    def settled(self) -> None:
        """The mark for that is in the history."""
        self._ring.unsettled = False

    def has_kept(self, position: int) -> bool:
        """Nothing less than the history."""
        if not self.active:
            return True
        carrying = self.carrying
        return carrying.has(position) and not carrying.failing and not self.unsettled

    def end(self, hand: Hand) -> bool:
        """A mark: the legs have everything that comes before it."""
        if not self.active or not self.append_mark(hand, Mark.CLOSED):
            return False
        self.done(hand)
        return True

    def append_mark(self, hand: Hand, mark: Mark) -> bool:
        """As `append`."""
        return self._ring.append(hand.cells, Kind.MARK, mark, 0, None)

    def close(self) -> None:
        """And end the thread."""
        self.carrying.close()
