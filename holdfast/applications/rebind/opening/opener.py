"""Everything is opened on the new storage by expendable children, which pass the descriptors.

Two of them open what is plain, in turns, ahead of the caller. What they cannot open, for whatever
reason, is left to a third, which may do more: copy contents, lift protection. There is only one of
that kind, so that no protection is lifted twice, and it is started when it is needed. Invariant:
whatever the new storage does, we wait until the deadline at most; then the children are killed and
abandoned.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from holdfast.applications.rebind.opening.lifted_protection import is_set_aside
from holdfast.applications.rebind.opening.opening_child import OpeningChild, Part, parts_of
from holdfast.applications.rebind.opening.removed import is_being_made
from holdfast.applications.rebind.opening.reopening import Reopening
from holdfast.applications.rebind.opening.requests import OpenRequest, OpenResult
from holdfast.applications.rebind.opening.waiting_for_locks import end_of_waiting
from holdfast.applications.rebind.parking.hidden_names import is_hidden
from holdfast.applications.rebind.parking.relocation import Relocation

_MANY = 100
"""Number of requests below which one child is faster: it has opened them before a second has
started."""


class Opener:
    """The children. Use as a context; `open` may be called any number of times."""

    def __init__(
        self,
        bases: Mapping[int, int],
        directory: Path,
        deadline_ns: int,
        relocation: Relocation,
        *,
        same_data: bool,
        pipes: Mapping[str, int] | None = None,
    ) -> None:
        """`pipes`: reading ends of what has the contents of FIFOs; for the rest see Reopening."""
        self._directory = directory
        self.locks_until_ns = end_of_waiting(deadline_ns)
        self._opening = Reopening(bases, directory, same_data, relocation, pipes=pipes or {})
        self._opening.locks_until_ns = self.locks_until_ns
        self._whole = OpeningChild(self._opening, deadline_ns)
        plain = Reopening(bases, directory, same_data, relocation, is_plain=True)
        self._plain = [OpeningChild(plain, deadline_ns) for _ in range(2)]
        self._coming: deque[tuple[OpeningChild, Part]] = deque()
        """What children open ahead, in this order, whose answers nobody has read yet."""

    def __enter__(self) -> Opener:
        return self

    def __exit__(self, *_: object) -> None:
        children = (*self._plain, self._whole)
        for child in children:
            child.kill()
        for child in children:
            child.bury()

    def begin(self, turns: Sequence[Sequence[OpenRequest]]) -> None:
        """Let children open all of these, one turn after the other, while the caller works.

        Before anything else is asked for. `open` then takes the turns, in this order. What somebody
        who died had left on the new storage is gone afterwards, also if nothing else is needed.
        Raises DeadlinePassed, StorageFailed for that.
        """
        self._opening.removed = [each for turn in turns for each in turn if each.is_removed]
        if leaves_traces(self._directory):
            self._whole.ask(())
            self._whole.answer()
            return
        if self._opening.removed:
            self._whole.start()
        count = sum(map(len, turns))
        if count < _MANY:
            return
        for number, part in enumerate(each for turn in turns for each in parts_of(turn)):
            self._coming.append((self._plain[number % len(self._plain)], part))
        for child in self._plain:
            child.start([part for its, part in self._coming if its is child])

    def open(
        self, requests: Sequence[OpenRequest], then: Sequence[OpenRequest] = ()
    ) -> dict[str, OpenResult]:
        """Open them in this order; by key. The caller closes the descriptors.

        `then`: what the next call asks for; a child begins with it while the caller works. Raises
        DeadlinePassed when the storage does not answer in time, StorageFailed when a child died.
        """
        found: dict[str, OpenResult] = {}
        try:
            for part in parts_of(requests):
                found.update(zip((each.key for each in part), self._open(part), strict=True))
        except BaseException:
            close_opened(found.values())
            raise
        if then and not self._coming:
            self._ask(parts_of(then)[0])
        return found

    def let_pipes_go(self, opened: Iterable[OpenRequest]) -> None:
        """Let the child have nothing open of FIFOs any more, if all ends were among these.

        The caller has them: nobody is to be told later that the child has closed its own. Raises
        DeadlinePassed, StorageFailed.
        """
        if any(each.pipe is not None for each in opened):
            assert all(child is not self._whole for child, _ in self._coming)
            self._whole.ask(())
            self._whole.answer()

    def _open(self, part: Part) -> list[OpenResult]:
        while self._coming and self._coming[0][1] != part:  # nobody needs it after all
            close_opened(each for each in self._answer() if each is not None)
        if not self._coming:
            self._ask(part)
        answers = self._answer()
        left = [wanted for wanted, each in zip(part, answers, strict=True) if each is None]
        if left:
            self._whole.ask(left)
        opened = iter(self._whole.answer() if left else ())
        return [each or _certainly(next(opened)) for each in answers]

    def _ask(self, part: Part) -> None:
        self._whole.ask(part)
        self._coming.append((self._whole, part))

    def _answer(self) -> list[OpenResult | None]:
        return self._coming.popleft()[0].answer()


def leaves_traces(directory: Path) -> bool:
    """Whether anything of ours may be on the new storage: what somebody who died left. Reads the
    record directory only."""
    return is_set_aside(directory) or is_being_made(directory) or is_hidden(directory)


def _certainly(result: OpenResult | None) -> OpenResult:
    """The answers of the child that may do more than open."""
    assert result is not None
    return result


def close_opened(opened: Iterable[OpenResult]) -> None:
    """Close descriptors that are not needed any more; their outcomes stay."""
    for each in opened:
        if each.descriptor is not None:
            os.close(each.descriptor)
            each.descriptor = None
