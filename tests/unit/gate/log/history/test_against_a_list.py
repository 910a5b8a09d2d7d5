"""A ring that is carried into a history, killed, torn, damaged: what is read, by us and by the
script of docs/, is what a list says, or a gap is told of."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.containers.back_end import image_back_end
from holdfast.copies.moments import position_at
from holdfast.copies.replaying import find_way, replay
from holdfast.errors import TooSmall, Unreachable
from holdfast.gate.log.history.carrier import Carrier
from holdfast.gate.log.history.layout import PAGE_BYTES
from holdfast.gate.log.history.reading import Gap, read, stretches
from holdfast.gate.log.history.segments import find, in_order
from holdfast.gate.log.history.writing import HistoryWriter
from holdfast.gate.log.ring import Ring
from holdfast.gate.log.ring_layout import BEGIN, PlainReserver
from holdfast.gate.log.segment import Kind
from holdfast.gate.runtime.shared_page import LOGGED, SLOT_CELLS
from tests.soak import rounds

AREA_BYTES = 64 << 10
SEGMENT_BYTES = 128 << 10
IMAGE_BYTES = 64 << 10
VOLUME = bytes(range(16))
SCRIPT = Path(__file__).parents[5] / "docs" / "read_history.py"
_spec = importlib.util.spec_from_file_location("read_history", SCRIPT)
assert _spec is not None and _spec.loader is not None
script = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(script)

Entry = tuple[int, Kind, int, int, bytes]
"""Position after it, kind, offset, length, payload."""


class Gate:
    """What of a gate has to do with its history: a ring, a writing thread's slot, a carrier."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "history"
        self.path.mkdir(mode=0o700, exist_ok=True)
        self.slot = memoryview(bytearray(SLOT_CELLS * 8)).cast("Q")
        self.ring = Ring(directory / "ring", "a volume", PlainReserver())
        self.ring.new_area_bytes = AREA_BYTES
        if not self.ring.find(0):
            self.ring.begin_anew(4096)
            self.ring.in_use()
            self.ring.carried = self.ring.begin
        self.go_on(first=True)

    def new_writer(self) -> HistoryWriter:
        """Of this gate."""
        return HistoryWriter(self.path, VOLUME, SEGMENT_BYTES)

    def go_on(self, *, first: bool = False) -> None:
        """As a worker begins, the ring is there."""
        self.writer = self.new_writer()
        self.writer.open(first=first)
        self.carrier = Carrier(self.ring, self.writer, self.named)
        self.whole = self.carrier.go_on("the ring was full")

    def named(self) -> set[int]:
        """What the writing thread has under way."""
        return {self.slot[LOGGED] - 1} if self.slot[LOGGED] else set()

    def append(self, kind: Kind, offset: int, payload: bytes, length: int) -> Entry | None:
        """A write that reaches its end."""
        view = memoryview(payload) if kind is Kind.DATA else None
        if not self.ring.append(self.slot, kind, offset, length, view):
            return None
        self.slot[LOGGED] = 0
        return self.ring.end, kind, offset, length, payload

    def carry(self) -> None:
        """All there is, durable; the ring is empty then."""
        while self.carrier.carry():
            pass
        self.carrier.sync()
        self.ring.cells[BEGIN] = self.ring.carried


def apply(image: bytearray, entry: Entry) -> None:
    """Carry a write out."""
    _, kind, offset, length, payload = entry
    image[offset : offset + length] = payload if kind is Kind.DATA else bytes(length)


def entries(path: Path, position: int) -> list[Entry | Gap]:
    """What is read from there on."""
    return [
        each
        if isinstance(each, Gap)
        else (each.end, each.kind, each.offset, each.length, bytes(each.payload))
        for each in read(path, VOLUME, position)
    ]


def by_script(directory: Path, start: int, to: int | None, image: bytes) -> tuple[bytes, int]:
    """What the script makes of an image, and its exit status."""
    path = directory / "image"
    path.write_bytes(image)
    status = script.apply(directory / "history", path, start, to)
    return path.read_bytes(), status


def by_copies(directory: Path, start: int, to: int, image: bytes) -> bytes:
    """What copies make of it."""
    path, history = directory / "image", directory / "history"
    path.write_bytes(image)
    assert find_way(history, VOLUME, to, [start], tell).base == start
    back_end = image_back_end(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    replay(history, VOLUME, back_end, (start, to), len(image), tell)
    back_end.close()
    return path.read_bytes()


def tell(percent: float) -> None:
    """Nobody listens."""


def position_then(path: Path, when_ns: int) -> int | None:
    """What copies find; None: it is refused."""
    try:
        return position_at(path, VOLUME, when_ns, kept=None, tell=tell)
    except Unreachable:
        return None


SIZES = st.sampled_from([1, 64, 512, 4096, 5000, 20000])
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("data"), SIZES),
        st.tuples(st.just("data"), SIZES),
        st.tuples(st.sampled_from(["discard", "never", "carry", "killed", "lost"]), SIZES),
    ),
    max_size=50,
)


@settings(max_examples=rounds(60, 3000), deadline=None)
@given(OPERATIONS)
def test_any_position_gives_what_was_written(operations: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        gate = Gate(Path(name))
        begin = gate.ring.begin
        model: list[Entry] = []
        images = {begin: bytes(IMAGE_BYTES)}
        image = bytearray(IMAGE_BYTES)
        for number, (what, size) in enumerate(operations):
            offset = number * 997 % (IMAGE_BYTES - size)
            payload = os.urandom(size)
            if what in ("data", "discard"):
                kind = Kind.DATA if what == "data" else Kind.DISCARD
                payload = payload if what == "data" else b""
                entry = gate.append(kind, offset, payload, size)
                if entry is None:
                    gate.carry()
                    entry = gate.append(kind, offset, payload, size)
                assert entry is not None
                model.append(entry)
                apply(image, entry)
                images[entry[0]] = bytes(image)
            elif what == "never":
                slot = memoryview(bytearray(SLOT_CELLS * 8)).cast("Q")
                gate.ring.reserver.reserve(gate.ring.cells, slot, offset, size, size, 1, 0)
            elif what == "carry":
                gate.carry()
            elif what == "killed":  # with frames that are not synced, or none
                gate.carrier.carry()
                gate.writer.close()
                gate = Gate(Path(name))
                assert gate.whole
            else:  # the frames since the last sync are lost, and nobody was told
                gate.carrier.carry()
                gate.writer.close()
                newest = in_order(find(gate.path), VOLUME)[-1]
                keep = PAGE_BYTES if newest.page.base == gate.carrier.durable else None
                if keep:
                    os.truncate(newest.path, keep)
                gate = Gate(Path(name))
        gate.carry()
        end = gate.ring.end
        assert entries(gate.path, begin) == model
        assert [each[:2] for each in stretches(gate.path, VOLUME)] == [(begin, end)]
        for position in list(images)[:: max(1, len(images) // 3)]:
            later = entries(gate.path, position)
            assert later == [each for each in model if each[0] > position]
            assert by_script(Path(name), begin, position, bytes(IMAGE_BYTES)) == (
                images[position],
                0,
            )
        assert by_script(Path(name), begin, None, bytes(IMAGE_BYTES)) == (bytes(image), 0)
        position = list(images)[len(images) // 2]
        assert by_copies(Path(name), begin, position, bytes(IMAGE_BYTES)) == images[position]


@pytest.fixture(name="written")
def _written(tmp_path: Path) -> tuple[Gate, list[Entry]]:
    gate, model = Gate(tmp_path), []
    for number in range(12):
        entry = gate.append(Kind.DATA, number * 1000, bytes([number]) * 900, 900)
        assert entry is not None
        model.append(entry)
        if number % 3 == 2:
            gate.carry()
    gate.writer.close()
    return gate, model


def test_torn_at_every_place_it_ends_before(written: tuple[Gate, list[Entry]]) -> None:
    gate, model = written
    (segment,) = find(gate.path)
    content = segment.path.read_bytes()
    ends = frame_ends(content)
    for size in range(PAGE_BYTES, ends[-1][0] + PAGE_BYTES, 257):
        segment.path.write_bytes(content[:size].ljust(len(content), b"\0"))
        # The last bytes of a frame are padding: zeros by themselves.
        whole = max((position for place, position in ends if place <= size), default=4096)
        found = entries(gate.path, 4096)
        assert found == [each for each in model if each[0] <= whole] or (
            len(found) > 0 and found == model[: len(found)]
        )
        writer = HistoryWriter(gate.path, VOLUME)
        writer.open(first=True)
        assert writer.find_end().position >= whole
        writer.close()


def frame_ends(content: bytes) -> list[tuple[int, int]]:
    """Where in the file a frame's records end, and the position there."""
    found, place = [], PAGE_BYTES
    while content[place : place + 8] == b"HFHFRAME":
        position = int.from_bytes(content[place + 16 : place + 24], "little")
        size = int.from_bytes(content[place + 24 : place + 28], "little")
        found.append((place + 64 + size, position + size))
        place += -(-(64 + size) // PAGE_BYTES) * PAGE_BYTES
    return found


def test_a_flipped_bit_is_never_believed(written: tuple[Gate, list[Entry]]) -> None:
    gate, model = written
    gate = Gate(gate.path.parent)  # a second segment, which follows the first one
    last = gate.append(Kind.DATA, 0, b"last", 4)
    assert last is not None
    gate.carry()
    first = find(gate.path)[0]
    content = first.path.read_bytes()
    used = frame_ends(content)[-1][0]
    for place in range(0, used, 89):
        bits = bytearray(content)
        bits[place] ^= 1 << place % 8
        first.path.write_bytes(bits)
        try:
            found = entries(gate.path, 4096)
        except OSError:  # the page: it does not reach back so far, or is of a newer format
            assert place < PAGE_BYTES
            continue
        if found == [*model, last]:
            assert in_padding(content, place)
            continue
        gaps = [each for each in found if isinstance(each, Gap)]
        before = found.index(gaps[0])
        assert len(gaps) == 1 and found[:before] == model[:before]
        assert found[before + 1 :] == [last]
        assert gaps[0].end == model[-1][0] and "damaged" in gaps[0].reason


def in_padding(content: bytes, place: int) -> bool:
    """Whether no frame has that byte."""
    start = PAGE_BYTES
    for end, _ in frame_ends(content):
        if start <= place < end:
            return False
        start = -(-end // PAGE_BYTES) * PAGE_BYTES
    return place >= PAGE_BYTES


def test_a_gap_is_told_and_not_crossed(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    first = gate.append(Kind.DATA, 0, b"first", 5)
    gate.carry()
    lost = gate.append(Kind.DATA, 0, b"lost", 4)
    gate.writer.close()
    gate.ring.cells[BEGIN] = gate.ring.end
    gate = Gate(tmp_path)
    assert not gate.whole
    last = gate.append(Kind.DATA, 8, b"last", 4)
    gate.carry()
    assert first is not None and lost is not None and last is not None
    found = entries(gate.path, 4096)
    gap = found[1]
    assert isinstance(gap, Gap) and found == [first, gap, last]
    assert (gap.position, gap.end, gap.reason) == (first[0], lost[0], "the ring was full")
    reached, status = by_script(tmp_path, 4096, None, bytes(16))
    assert (reached, status) == (b"first".ljust(16, b"\0"), 1)
    assert by_script(tmp_path, 4096, first[0], bytes(16))[1] == 0
    assert by_copies(tmp_path, 4096, first[0], bytes(16)) == b"first".ljust(16, b"\0")
    assert find_way(gate.path, VOLUME, last[0], [4096, lost[0]], tell).base == lost[0]
    for target, bases in ((last[0], [4096]), (lost[0] - 64, [4096]), (last[0] + 64, [lost[0]])):
        with pytest.raises(Unreachable):
            find_way(gate.path, VOLUME, target, bases, tell)
    reached, status = by_script(tmp_path, lost[0], None, b"lostt".ljust(16, b"\0"))
    assert (reached, status) == (b"lostt\0\0\0last\0\0\0\0", 0)


def test_segments_follow_one_another(tmp_path: Path) -> None:
    gate, model = Gate(tmp_path), []
    for number in range(60):
        entry = gate.append(Kind.DATA, 0, bytes([number]) * 9000, 9000)
        assert entry is not None
        model.append(entry)
        gate.carry()
    segments = in_order(find(gate.path), VOLUME)
    assert len(segments) > 4
    assert entries(gate.path, 4096) == model
    segments[2].path.unlink()
    found = entries(gate.path, 4096)
    gap = next(each for each in found if isinstance(each, Gap))
    assert gap.position == segments[2].page.base
    segments[0].path.unlink()
    segments[1].path.unlink()
    assert entries(gate.path, segments[3].page.base) == [
        each for each in model if each[0] > segments[3].page.base
    ]
    with pytest.raises(FileNotFoundError):
        entries(gate.path, 4096)


@pytest.mark.parametrize("mode", [0o604, 0o640])
def test_a_file_that_others_may_change_is_refused(
    written: tuple[Gate, list[Entry]], mode: int
) -> None:
    gate, _ = written
    find(gate.path)[0].path.chmod(mode)
    with pytest.raises(PermissionError):
        entries(gate.path, 4096)


def test_nothing_is_written_beyond_the_image(tmp_path: Path) -> None:
    """Whatever a directory says that somebody else has made."""
    gate = Gate(tmp_path)
    begin = gate.ring.begin
    gate.append(Kind.DISCARD, 0, b"", IMAGE_BYTES)
    gate.carry()
    with pytest.raises(TooSmall):
        by_copies(tmp_path, begin, gate.ring.end, bytes(64))
    assert (tmp_path / "image").stat().st_size == 64
    with pytest.raises(SystemExit, match="is smaller"):
        by_script(tmp_path, begin, None, bytes(64))
    assert (tmp_path / "image").stat().st_size == 64
    gate.writer.close()


def times(directory: Path) -> Iterator[str]:
    """Times that the script shows."""
    shown = subprocess.check_output([sys.executable, SCRIPT, directory / "history"], text=True)
    yield from re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+[+-]\d\d:\d\d", shown)


def write_at(gate: Gate, base: int, seconds: int) -> None:
    """A byte at that place, at that time."""
    position = gate.ring.reserver.reserve(
        gate.ring.cells, gate.slot, seconds, 1, 1, (base + seconds) * 10**9, 0
    )
    place = 4096 + position % AREA_BYTES
    gate.ring.cells.cast("B")[place + 64] = 1 + seconds
    gate.ring.cells[place // 8 + 2] = Kind.DATA
    gate.slot[LOGGED] = 0


def brought_to(gate: Gate, seconds: int) -> subprocess.CompletedProcess[str]:
    """By the script, from zeros at the begin to that time."""
    image = gate.path.parent / "image"
    image.write_bytes(bytes(64))
    command = [sys.executable, SCRIPT, gate.path, image, "--from", "4096", "--to"]
    when = subprocess.check_output(["date", "-Is", "-d", f"@{seconds}"], text=True)
    return subprocess.run([*command, when.strip()], capture_output=True, text=True, check=False)


def test_what_came_back_with_the_ring_has_its_times(tmp_path: Path) -> None:
    """Although the file that has it, and tells of the gap before it, was begun later."""
    gate = Gate(tmp_path)
    base = 1_700_000_000
    write_at(gate, base, 0)
    gate.carry()
    write_at(gate, base, 10)
    gate.writer.close()
    gate.ring.cells[BEGIN] = begin = gate.ring.end
    for seconds in (20, 30):
        write_at(gate, base, seconds)
    gate = Gate(tmp_path)
    assert not gate.whole
    gate.carry()
    for seconds in (5, 15, 40):
        refused = brought_to(gate, base + seconds)
        assert refused.returncode == 1 and "nothing is known" in refused.stderr
        assert position_then(gate.path, (base + seconds) * 10**9) is None
    then = (base + 25) * 10**9
    assert position_then(gate.path, then) == script.position_at(gate.path, then)
    assert begin < script.position_at(gate.path, (base + 25) * 10**9) < gate.ring.end
    gate.writer.close()


def test_a_time_is_a_position_unless_the_clock_was_set(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    base = 1_800_000_000
    for seconds in (0, 10, 20, 5, 15, 30):
        write_at(gate, base, seconds)
    gate.carry()
    assert len(list(times(tmp_path))) == 2
    image = tmp_path / "image"

    def run(seconds: int) -> subprocess.CompletedProcess[str]:
        then = (base + seconds) * 10**9
        try:
            expected = script.position_at(gate.path, then)
        except SystemExit:
            expected = None
        # The page of the segment says more than its first record: begun, and nothing written.
        assert position_then(gate.path, then) == (expected if seconds >= 0 else 4096)
        return brought_to(gate, base + seconds)

    assert run(3).returncode == 0
    assert image.read_bytes() == b"\1".ljust(64, b"\0")
    refused = run(12)
    assert refused.returncode == 1 and "the clock was set" in refused.stderr
    assert not any(image.read_bytes())
    assert run(29).returncode == 0
    assert image.read_bytes()[15] == 16 and not image.read_bytes()[30]
    refused = run(40)  # nobody knows whether anything was written then
    assert refused.returncode == 1 and "nothing is known" in refused.stderr
    assert run(-5).returncode == 1
