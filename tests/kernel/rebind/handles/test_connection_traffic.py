"""Many connections in full traffic, of processes in all kinds of namespaces, are moved in turn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from holdfast.model.handle import HandleKind, HandleOutcome
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold
from tests.waiting import wait_until

PROGRAM = Path(__file__).parents[3] / "programs" / "talkers.py"
WITHIN: Sequence[tuple[str, ...]] = (
    (),
    ("unshare", "--net"),
    ("unshare", "--user", "--map-root-user"),
    ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"),
)


@pytest.mark.parametrize("kind", ["stream", "seqpacket"])
def test_no_byte_is_lost(
    bench: Bench, start: Hold, soak_rounds: Callable[[int, int], int], kind: str
) -> None:
    path = bench.path / "s"
    program = bench.folder / "talkers.py"  # where everybody may read it
    program.write_bytes(PROGRAM.read_bytes())
    start(sys.executable, program, "serve", path, kind)
    talkers = [start(*within, sys.executable, program, "talk", path, kind) for within in WITHIN]
    seen = [0] * len(talkers)

    def got_on() -> None:
        for place, talker in enumerate(talkers):
            before = seen[place]

            def has_more(talker=talker, place=place, before=before) -> bool:  # type: ignore[no-untyped-def]
                answer = talker.ask()
                assert answer.isdigit(), answer
                seen[place] = int(answer)
                return seen[place] > before

            wait_until(has_more)

    moved = 0
    for turn in range(soak_rounds(4, 20)):
        got_on()
        lines = bench.move(("xfs", "btrfs", "ext4")[turn % 3])
        assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}
        moved += sum(line.handle.kind is HandleKind.CONNECTION for line in lines)
    got_on()
    assert moved
