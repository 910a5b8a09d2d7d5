"""The log ring against a list: re-opened, trimmed, filled, left in the middle of an append."""

from __future__ import annotations

import random
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.gate.data.compiled import COMPILED
from holdfast.gate.log import ring_layout as layout
from holdfast.gate.log.ring import LONGEST_BYTES, Ring, map_ahead
from holdfast.gate.log.ring_layout import HEAD_BYTES, UNIT_BYTES, PlainReserver, Reserver
from holdfast.gate.log.segment import Kind
from holdfast.gate.runtime.shared_page import LOGGED, SLOT_CELLS
from holdfast.model.bounded import NewerFormat
from tests.soak import rounds

AREA_BYTES = 64 << 10
VOLUME = "a volume"

Entry = tuple[int, Kind, int, int, bytes]
"""Position, kind, offset, length, payload."""

assert COMPILED is not None
RESERVERS: dict[str, Callable[[], Reserver]] = {
    "plain": PlainReserver,
    "compiled": COMPILED.Reserver,
}


def new_slot() -> memoryview:
    """The cells of a thread."""
    return memoryview(bytearray(SLOT_CELLS * 8)).cast("Q")


def opened(
    path: Path, minimum: int = 0, *, volume: str = VOLUME, reserver: Reserver | None = None
) -> tuple[Ring, bool]:
    """A ring as a new process opens it, and whether it found what was there."""
    ring = Ring(path, volume, reserver or PlainReserver())
    ring.new_area_bytes = AREA_BYTES
    found = ring.find(minimum)
    if not found:
        ring.begin_anew(minimum)
        ring.in_use()
    return ring, found


def entries(ring: Ring, position: int | None = None) -> list[Entry]:
    """Everything from a position (default: begin) to the end."""
    start = ring.begin if position is None else position
    return [
        (each.position, each.kind, each.offset, each.length, bytes(each.payload))
        for each in ring.records(start)
    ]


SIZES = st.sampled_from([1, 63, 64, 512, 4096, 5000, 30000])
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("data"), SIZES),
        st.tuples(st.just("data"), SIZES),
        st.tuples(st.sampled_from(["discard", "spare", "reopen"]), SIZES),
        st.tuples(st.just("killed"), SIZES),
        st.tuples(st.just("trim"), st.floats(0, 1)),
    ),
    max_size=60,
)


@pytest.mark.parametrize("reserver", list(RESERVERS))
@settings(max_examples=rounds(60, 3000), deadline=None)
@given(OPERATIONS)
def test_against_a_list(reserver: str, operations: list[tuple[str, float]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path, slot = Path(name) / "ring", new_slot()
        ring, found = opened(path, reserver=RESERVERS[reserver]())
        assert not found
        model: list[Entry] = []
        starts = [0]
        for number, (what, amount) in enumerate(operations):
            payload = bytes([number % 251]) * int(amount)
            before, begin, end = len(model), ring.begin, ring.end
            if what in ("data", "spare"):
                view = memoryview(payload)
                if ring.append(slot, Kind.DATA, number, len(view), view, spare=what == "spare"):
                    model.append((slot[LOGGED] - 1, Kind.DATA, number, len(view), payload))
            elif what == "discard":
                if ring.append(slot, Kind.DISCARD, number, 1 << 30, None):
                    model.append((slot[LOGGED] - 1, Kind.DISCARD, number, 1 << 30, b""))
            elif what == "killed":
                ring.reserver.reserve(ring.cells, slot, number, len(payload), len(payload), 1, 0)
            elif what == "reopen":
                ring, found = opened(path, ring.begin, reserver=RESERVERS[reserver]())
                assert found
                assert (ring.begin, ring.end) == (begin, end)
            else:
                ring.trim(starts[int(amount * (len(starts) - 1))])
            if len(model) > before:
                assert end <= model[-1][0] < ring.end
            assert ring.end - ring.begin <= AREA_BYTES
            starts = [start for start in (*starts, ring.end) if start >= ring.begin]
            model = [entry for entry in model if entry[0] >= ring.begin]
            assert entries(ring) == model
            assert entries(ring, ring.end) == []
        assert path.stat().st_size == HEAD_BYTES + AREA_BYTES


@pytest.mark.parametrize("reserver", list(RESERVERS))
def test_what_is_spared_is_there_for_what_lets_others_go(tmp_path: Path, reserver: str) -> None:
    ring, _ = opened(tmp_path / "ring", reserver=RESERVERS[reserver]())
    slot, payload = new_slot(), memoryview(bytes(1000))
    while ring.append(slot, Kind.DATA, 0, 1000, payload):
        assert ring.begin <= slot[LOGGED] - 1
    assert AREA_BYTES - (ring.end - ring.begin) >= ring.spare_bytes
    assert ring.append(slot, Kind.DATA, 0, 1000, payload, spare=True)
    for _ in range(2):  # for both superblocks
        ring.trim(ring.end)
    assert ring.append(slot, Kind.DATA, 0, 1000, payload)


def test_room_is_asked_for_once(tmp_path: Path) -> None:
    ring, _ = opened(tmp_path / "ring")
    slot, payload = new_slot(), memoryview(bytes(4096))
    asked = 0
    while ring.append(slot, Kind.DATA, 0, 4096, payload):
        assert not asked or ring.is_crowded
        asked += ring.ask_once()
    assert asked == 1
    ring.trim(ring.end)
    assert ring.ask_once()


@pytest.mark.parametrize("reserver", list(RESERVERS))
def test_threads_never_get_the_same_place(tmp_path: Path, reserver: str) -> None:
    ring, _ = opened(tmp_path / "ring", reserver=RESERVERS[reserver]())
    given_out: list[list[tuple[int, int]]] = [[] for _ in range(4)]

    def work(number: int) -> None:
        slot, chance = new_slot(), random.Random(number)
        while True:
            size = chance.randrange(1, 300)
            if not ring.append(slot, Kind.DATA, number, size, memoryview(bytes([number]) * size)):
                return
            given_out[number].append((slot[LOGGED] - 1, size))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = [(position, offset, payload) for position, _, offset, _, payload in entries(ring)]
    assert seen == sorted(
        (position, number, bytes([number]) * size)
        for number, own in enumerate(given_out)
        for position, size in own
    )


@pytest.mark.parametrize("cell", [layout.MAGIC_CELL, layout.BOOT, layout.AREA])
def test_one_of_another_boot_or_kind_is_none(tmp_path: Path, cell: int) -> None:
    path = tmp_path / "ring"
    ring, _ = opened(path, 640)
    assert ring.append(new_slot(), Kind.DATA, 0, 5, memoryview(b"12345"))
    ring.cells[cell] += 64
    again, found = opened(path, 1000)
    assert not found
    assert again.begin == again.end == 1024
    assert path.stat().st_mode & 0o777 == 0o600


def test_one_of_another_volume_or_that_ends_too_early_is_none(tmp_path: Path) -> None:
    ring, _ = opened(tmp_path / "ring")
    assert ring.append(new_slot(), Kind.DATA, 0, 5, memoryview(b"12345"))
    assert opened(tmp_path / "ring")[1]
    assert not opened(tmp_path / "ring", volume="another")[1]
    assert not opened(tmp_path / "ring", ring.end + 1)[1]


@pytest.mark.parametrize("reserver", list(RESERVERS))
def test_one_that_is_dead_takes_nothing_and_is_not_found(tmp_path: Path, reserver: str) -> None:
    ring, _ = opened(tmp_path / "ring", reserver=RESERVERS[reserver]())
    slot, content = new_slot(), memoryview(b"12345")
    assert ring.append(slot, Kind.DATA, 0, 5, content)
    ring.shut()
    assert not ring.append(slot, Kind.DATA, 0, 5, content)
    ring.in_use()
    assert not opened(tmp_path / "ring")[1]


def test_one_that_was_never_in_use_is_not_found(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "ring", VOLUME, PlainReserver())
    ring.begin_anew(0)
    assert ring.append(new_slot(), Kind.DATA, 0, 5, memoryview(b"12345"))
    assert not ring.find(0)
    ring.in_use()
    assert ring.find(0)


def test_one_that_was_mapped_ahead_has_what_was_appended_since(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    map_ahead(path)  # there is none
    first, _ = opened(path)
    map_ahead(path)
    first.append(new_slot(), Kind.DATA, 0, 5, memoryview(b"since"))
    again, found = opened(path)
    assert found
    assert [payload for *_, payload in entries(again)] == [b"since"]
    again.append(new_slot(), Kind.DATA, 0, 5, memoryview(b"still"))
    assert entries(first) == entries(again)


def test_one_that_was_mapped_ahead_and_is_gone_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    first, _ = opened(path)
    map_ahead(path)
    first.begin_anew(1 << 20)
    first.in_use()
    first.append(new_slot(), Kind.DATA, 0, 3, memoryview(b"new"))
    again, found = opened(path)
    assert found
    assert again.begin == 1 << 20
    assert [payload for *_, payload in entries(again)] == [b"new"]


def test_a_newer_one_is_refused_and_left(tmp_path: Path) -> None:
    ring, _ = opened(tmp_path / "ring")
    ring.cells[layout.VERSION_CELL] = 2
    with pytest.raises(NewerFormat):
        opened(tmp_path / "ring")
    assert ring.cells[layout.VERSION_CELL] == 2
    assert [each.name for each in tmp_path.iterdir()] == ["ring"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "ring").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        opened(tmp_path / "ring")


def test_whatever_it_says_is_bounded(tmp_path: Path) -> None:
    """Damage is an error, or records that a gate might have written; nothing else."""
    path, chance = tmp_path / "ring", random.Random(1)
    for _ in range(rounds(300, 100_000)):
        path.unlink(missing_ok=True)
        ring, _ = opened(path)
        for number in range(5):
            ring.append(new_slot(), Kind.DATA, number, 700, memoryview(bytes(700)))
        for _ in range(chance.randrange(1, 4)):
            place = chance.choice(
                (chance.randrange(12), HEAD_BYTES // 8 + chance.randrange(5 * 96))
            )
            odd = (0, 1, 64, UNIT_BYTES - 1, AREA_BYTES, 1 << 40, (1 << 64) - 1)
            ring.cells[place] = chance.choice((*odd, chance.randrange(999)))
        try:
            ring, _ = opened(path)
            for record in ring.records(ring.begin):
                assert len(record.payload) <= LONGEST_BYTES
        except OSError:
            continue
