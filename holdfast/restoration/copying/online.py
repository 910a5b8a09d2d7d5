"""The part of a migration that nobody notices: passes of the copy while applications run.

Ends when a pass is so short that the next, with everybody stopped, costs little, or when passes do
not get shorter any more. Must never stop anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast.applications.rebind.parking.placed_contents import CopiedAhead
from holdfast.errors import Blocked
from holdfast.late_dataclass import dataclass
from holdfast.restoration.copying.passes import PassResult
from holdfast.restoration.copying.process.child import Copying
from holdfast.system.messages.printable import printable

SHORT_SECONDS = 0.25
"""A pass that took no longer is followed by the final one."""
STOPS_SHRINKING = 0.7
"""A pass that took more than this share of the one before: another would not help."""
MOST_PASSES = 12
_SHOWN = 3
SLOW_BYTES_PER_SECOND = 50 << 20
"""What is counted on where nothing faster has been seen."""
SLOW_FILES_PER_SECOND = 1000
"""The same: small files on two cores under load, from receipts."""
MISSED_SHARE = 0.05
"""A pass that missed more of the names says nothing about how long the next one takes."""


@dataclass(frozen=True)
class OnlineCopy:
    """What the passes came to."""

    passes: tuple[PassResult, ...]
    is_live: bool
    ahead: CopiedAhead
    """The last look at what no name leads to."""
    ahead_seconds: float

    @property
    def final_pass_seconds(self) -> float:
        """What the final pass is predicted to take: as long as the last one, and what could not
        be read before."""
        if not self.passes:
            return 0.0
        last = self.passes[-1]
        if not self.is_live:
            return self.ahead_seconds
        seconds = sum(each.seconds for each in self.passes)
        rate = max(SLOW_BYTES_PER_SECOND, self.written_bytes / seconds if seconds else 0)
        copied_files = sum(each.copied_files for each in self.passes)
        files_per_second = copied_files / seconds if copied_files else SLOW_FILES_PER_SECOND
        missed_seconds = last.missed_files / files_per_second
        return last.seconds + missed_seconds + last.leased_bytes / rate

    @property
    def entries(self) -> int:
        """Names in the tree."""
        return self.passes[-1].entries if self.passes else 0

    @property
    def written_bytes(self) -> int:
        """Over all passes."""
        return sum(each.written_bytes for each in self.passes)


def copy_online(
    copying: Copying,
    say: Callable[[str], None],
    percent: Callable[[float], None],
    copy_ahead: Callable[[], tuple[CopiedAhead, float]],
    *,
    is_live: bool,
    waits_for_leases: bool,
) -> OnlineCopy:
    """Bring the copy as near as passes can; one pass where the source does not change.

    `copy_ahead` copies what no name leads to, and counts as part of each pass.
    `waits_for_leases`: whether files with leases are copied later, when nobody has them open.
    Blocks as long as the data is large. Raises HoldfastError; Blocked for leases otherwise.
    """
    passes: list[PassResult] = []
    ahead, ahead_seconds = CopiedAhead(), 0.0
    while len(passes) < MOST_PASSES:
        say(f"copy, pass {len(passes) + 1}")
        passes.append(copying.run_pass(percent, verify=not is_live))
        if passes[-1].leased_files and not waits_for_leases:
            raise leased(passes[-1])
        ahead, ahead_seconds = copy_ahead()
        passes[-1].written_bytes += ahead.written_bytes
        passes[-1].seconds += ahead_seconds
        if not is_live or is_near(passes):
            break
    if not is_live:
        ahead, ahead_seconds = copy_ahead()  # what it costs once more
    return OnlineCopy(tuple(passes), is_live, ahead, ahead_seconds)


def is_near(passes: Sequence[PassResult]) -> bool:
    """Whether another pass would not bring the copy much nearer. Pure."""
    last = passes[-1]
    if last.missed_files > MISSED_SHARE * last.entries:
        return False
    if last.seconds <= SHORT_SECONDS:
        return True
    return len(passes) > 1 and last.seconds > STOPS_SHRINKING * passes[-2].seconds


def leased(result: PassResult) -> Blocked:
    """Why a pass that left files out cannot be the last one."""
    names = ", ".join(printable(name) for name in result.leased[:_SHOWN])
    return Blocked(
        f"{result.leased_files} files have a lease (fcntl F_SETLEASE, NFS delegation): {names}",
        "To read them would send a signal to the programs that hold the leases, which ends most."
        " End those programs first.",
    )
