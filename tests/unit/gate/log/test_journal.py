"""The journal against a list: re-opens, trims, torn tails, recycled segments, kill -9."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import struct
import tempfile
import traceback
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.gate.log import segment
from holdfast.gate.log.journal import Journal, Kind, describe
from holdfast.gate.log.segment import PAGE_BYTES
from holdfast.model.bounded import NewerFormat

SEGMENT_BYTES = 64 << 10

Entry = tuple[int, int, int, int, bytes]
"""Position after it, kind, offset, length, payload."""


def aligned(content: bytes) -> memoryview:
    """A page-aligned copy, as the gate's buffers are."""
    buffer = mmap.mmap(-1, max(len(content), 1))
    buffer[: len(content)] = content
    return memoryview(buffer)[: len(content)]


def append(journal: Journal, kind: int, offset: int, payload: bytes) -> Entry:
    """Append and say what `entries` must find."""
    view = aligned(payload) if payload else None
    end = journal.append(kind, offset, len(payload), view)
    return end, kind, offset, len(payload), payload


def entries(journal: Journal, position: int | None = None) -> list[Entry]:
    """Everything from a position (default: begin) to the end."""
    start = journal.begin if position is None else position
    return [
        (record.end, record.kind, record.offset, record.length, bytes(record.payload))
        for record in journal.records(start)
    ]


@contextlib.contextmanager
def opened(directory: Path, segment_bytes: int = SEGMENT_BYTES) -> Iterator[Journal]:
    """A journal as a new process would open it."""
    journal = Journal(directory, segment_bytes)
    journal.open()
    try:
        yield journal
    finally:
        journal.close()


def forget_boot(directory: Path) -> None:
    """What a reboot does: hints are no longer believed."""
    (directory / "hint").unlink(missing_ok=True)


def newest_file(directory: Path) -> tuple[Path, int]:
    """The newest segment file, and the position that its second page has."""
    newest = describe(directory)["segments"][-1]
    return directory / newest["file"], newest["base"]


PAYLOADS = st.sampled_from([b"", b"a" * 4096, b"b" * 12288, b"c" * 28672, b"odd", b"d" * 5000])
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from(Kind), PAYLOADS),
        st.tuples(st.just("append"), st.sampled_from(Kind), PAYLOADS),
        st.tuples(st.just("append"), st.sampled_from(Kind), PAYLOADS),
        st.tuples(st.sampled_from(["flush", "kill", "reboot", "seal", "restart"])),
        st.tuples(st.just("trim"), st.floats(0, 1)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(OPERATIONS)
def test_against_a_list(operations: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as processes:
        directory = Path(name) / "journal"
        journal = processes.enter_context(opened(directory))
        model: list[Entry] = []
        starts: list[int] = [0]
        for operation in operations:
            before, begin = journal.position, journal.begin
            if operation[0] == "append":
                _, kind, payload = operation
                assert isinstance(kind, int)
                assert isinstance(payload, bytes)
                model.append(append(journal, kind, len(model) * 4096, payload))
                assert journal.position == model[-1][0] > before
                assert journal.begin == begin
            elif operation[0] == "flush":
                journal.flush()
                assert journal.flushed == journal.position
            elif operation[0] == "trim":
                share = operation[1]
                assert isinstance(share, float)
                position = starts[int(share * (len(starts) - 1))]
                journal.trim(position)
                assert begin <= journal.begin <= max(position, begin)
            elif operation[0] == "restart":
                journal.restart()
                assert journal.begin == journal.position > before
                model = []
            else:
                if operation[0] == "reboot":
                    forget_boot(directory)
                journal = Journal(directory, SEGMENT_BYTES)
                processes.callback(journal.close)
                journal.open(seal=operation[0] == "seal")
                assert journal.position == before
                assert journal.begin == begin
            starts.append(journal.position)
            kept = [entry for entry in model if entry[0] > journal.begin]
            assert entries(journal) == kept
            assert entries(journal, journal.position) == []
        assert journal.used_bytes == sum(
            path.stat().st_size for path in directory.glob("segment-*")
        )


@settings(max_examples=80, deadline=None)
@given(
    st.lists(PAYLOADS, min_size=1, max_size=8),
    st.sampled_from(["truncate", "flip", "zeros", "garbage"]),
    st.floats(0, 1),
    st.booleans(),
)
def test_a_torn_tail_is_cut_and_the_rest_survives(
    payloads: list[bytes], damage: str, share: float, rebooted: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with opened(directory) as journal:
            model = [append(journal, Kind.DATA, 0, payload) for payload in payloads]
        path, base = newest_file(directory)
        start = PAGE_BYTES + (model[-2][0] if len(model) > 1 else 0) - base
        start = max(start, PAGE_BYTES)
        end = PAGE_BYTES + model[-1][0] - base
        place = start + int(share * (end - start - 1))
        with path.open("r+b") as file:
            file.seek(place)
            if damage == "truncate":
                file.truncate()
            elif damage == "flip":
                byte = file.read(1)[0]
                file.seek(place)
                file.write(bytes([byte ^ 0x10]))
            else:
                file.write((b"\0" if damage == "zeros" else b"\xa5") * (end - place))
        if rebooted:
            forget_boot(directory)
        with opened(directory) as journal:
            found = entries(journal)
            assert found in (model[:-1], model)
            if found == model:  # only bytes without meaning were hit
                assert place >= start + 64
            new = append(journal, Kind.DATA, 8192, b"x" * 4096)
            assert entries(journal) == [*found, new]
        with opened(directory) as journal:
            assert entries(journal) == [*found, new]


def test_records_behind_a_cut_never_come_back(tmp_path: Path) -> None:
    """A power cut lost a record in the middle; one of the same size takes its place."""
    with opened(tmp_path) as journal:
        model = [append(journal, Kind.DATA, number, b"p" * 4096) for number in range(6)]
    path, _ = newest_file(tmp_path)
    with path.open("r+b") as file:
        file.seek(PAGE_BYTES + model[2][0])
        file.write(bytes(4096))
    forget_boot(tmp_path)
    with opened(tmp_path) as journal:
        assert entries(journal) == model[:3]
        new = append(journal, Kind.DATA, 99, b"p" * 4096)
    forget_boot(tmp_path)
    with opened(tmp_path) as journal:
        assert entries(journal) == [*model[:3], new]


def test_recycled_segments_never_give_old_records_back(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        for _ in range(60):
            append(journal, Kind.DATA, 0, b"o" * 4096)
        files = set(tmp_path.glob("segment-*"))
        assert len(files) > 4
        journal.trim(journal.position)
        assert len(set(tmp_path.glob("segment-*"))) == 3
        model = []
        while len(describe(tmp_path)["recycled"]):
            model.append(append(journal, Kind.DATA, 1, b"n" * 4096))
        assert set(tmp_path.glob("segment-*")) <= files
        assert entries(journal)[-len(model) :] == model
    forget_boot(tmp_path)
    with opened(tmp_path) as journal:
        assert entries(journal)[-len(model) :] == model


def test_a_damaged_middle_is_an_error_not_a_gap(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        model = [append(journal, Kind.DATA, number, b"p" * 4096) for number in range(40)]
        path = tmp_path / describe(tmp_path)["segments"][1]["file"]
        with path.open("r+b") as file:
            file.seek(PAGE_BYTES + 5000)
            file.write(b"damage")
        found: list[int] = []
        with pytest.raises(OSError, match="damaged"):
            found.extend(record.end for record in journal.records(journal.begin))
        assert found == [entry[0] for entry in model[: len(found)]]
        assert 0 < len(found) < 40
    assert describe(tmp_path)["damaged_at"] == found[-1]


@pytest.mark.parametrize("position", [-4096, 100, 4096, 1 << 40])
def test_a_position_that_starts_no_record_is_an_error(tmp_path: Path, position: int) -> None:
    with opened(tmp_path) as journal:
        append(journal, Kind.DATA, 0, b"p" * 8192)
        with pytest.raises(OSError, match="position"):
            list(journal.records(position))


def test_positions_never_get_a_second_meaning(tmp_path: Path) -> None:
    """The journal was lost; superblocks remember position 1 MiB."""
    journal = Journal(tmp_path, SEGMENT_BYTES)
    journal.open(minimum_position=1 << 20)
    assert (journal.begin, journal.position) == (1 << 20, 1 << 20)
    new = append(journal, Kind.DATA, 0, b"p" * 4096)
    journal.open(minimum_position=1 << 20)
    assert entries(journal) == [new]
    journal.open(minimum_position=(2 << 20) + 1)
    assert journal.begin == journal.position == (2 << 20) + 4096
    assert entries(journal) == []
    journal.close()


def test_a_late_write_of_a_dead_process_does_no_harm_after_seal(tmp_path: Path) -> None:
    with opened(tmp_path) as dying, opened(tmp_path) as journal:
        first = append(dying, Kind.DATA, 0, b"1" * 4096)
        journal.open(seal=True)
        append(dying, Kind.DATA, 4096, b"late" * 1024)
        second = append(journal, Kind.DATA, 8192, b"2" * 4096)
        assert entries(journal) == [first, second]
    forget_boot(tmp_path)
    with opened(tmp_path) as journal:
        assert entries(journal) == [first, second]


def test_payloads_without_alignment_and_odd_lengths(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        misaligned = memoryview(bytearray(b"_" + bytes(range(256)) * 16))[1:]
        journal.append(Kind.DATA, 0, 4096, misaligned)
        journal.append(Kind.MARK, 0, 0, memoryview(b"a name"))
        found = entries(journal)
    assert [entry[4] for entry in found] == [bytes(misaligned), b"a name"]
    assert found[-1][0] == 4 * 4096


def test_too_large_a_record_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        with pytest.raises(OSError, match="exceeds"):
            append(journal, Kind.DATA, 0, bytes(SEGMENT_BYTES))
        largest = append(journal, Kind.DATA, 0, b"l" * (SEGMENT_BYTES - 2 * PAGE_BYTES))
        assert entries(journal) == [largest]


def test_a_failed_append_leaves_no_trace(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        first = append(journal, Kind.DATA, 0, b"1" * 4096)
        kept = os.dup(journal._segments[-1].descriptor)
        read_only = os.open(journal._segments[-1].path, os.O_RDONLY)
        os.dup2(read_only, journal._segments[-1].descriptor)
        with pytest.raises(OSError, match="Bad file descriptor"):
            append(journal, Kind.DATA, 0, b"2" * 4096)
        os.dup2(kept, journal._segments[-1].descriptor)
        os.close(kept)
        os.close(read_only)
        third = append(journal, Kind.DATA, 0, b"3" * 8192)
        assert entries(journal) == [first, third]


def test_after_a_failed_flush_only_a_restart_helps(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        append(journal, Kind.DATA, 0, b"1" * 4096)
        reading, writing = os.pipe()
        os.dup2(writing, journal._segments[-1].descriptor)
        with pytest.raises(OSError, match="Invalid argument"):
            journal.flush()
        for _ in range(2):
            with pytest.raises(OSError, match="earlier flush"):
                journal.flush()
            with pytest.raises(OSError, match="earlier flush"):
                append(journal, Kind.DATA, 0, b"2" * 4096)
        journal.restart()
        new = append(journal, Kind.DATA, 0, b"3" * 4096)
        journal.flush()
        assert entries(journal) == [new]
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("round_number", range(15))
def test_killed_at_any_instruction(tmp_path: Path, round_number: int) -> None:
    """A child appends and says after each append how many it has; it is killed at some moment."""
    directory = tmp_path / "journal"
    said = mmap.mmap(-1, PAGE_BYTES)
    child = os.fork()
    if child == 0:
        try:
            journal = Journal(directory, SEGMENT_BYTES)
            journal.open()
            buffer = mmap.mmap(-1, 8192)
            payload = memoryview(buffer)[: 4096 * (1 + round_number % 2)]
            for number in range(1 << 40):
                buffer[0:8] = number.to_bytes(8, "little")
                journal.append(Kind.DATA, number, len(payload), payload)
                said[0:8] = (number + 1).to_bytes(8, "little")
                if number % 7 == 3:
                    journal.trim(journal.position - SEGMENT_BYTES)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    while int.from_bytes(said[0:8], "little") < 20 + 11 * round_number:
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "the child ended by itself"
        os.sched_yield()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    acknowledged = int.from_bytes(said[0:8], "little")
    with opened(directory) as journal:
        numbers = [entry[2] for entry in entries(journal)]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert acknowledged <= numbers[-1] + 1 <= acknowledged + 1
        append(journal, Kind.MARK, 0, b"")


def test_a_segment_of_a_newer_version_is_refused_and_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        append(journal, Kind.DATA, 0, b"1" * 4096)
    (path,) = tmp_path.glob("segment-*")
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, len(segment.SEGMENT_MAGIC), segment.VERSION + 1)
    covered = content[: segment.SEGMENT_COVERED.size]
    segment.CHECKSUM.pack_into(content, len(covered), zlib.crc32(covered))
    path.write_bytes(content)
    with pytest.raises(NewerFormat, match="newer version"), opened(tmp_path):
        pass
    assert path.read_bytes() == content


def test_describe(tmp_path: Path) -> None:
    assert describe(tmp_path)["position"] is None
    with opened(tmp_path) as journal:
        append(journal, Kind.DATA, 0, b"1" * 4096)
        append(journal, Kind.FLUSH, 0, b"")
        report = describe(tmp_path)
    assert (report["begin"], report["position"], report["damaged_at"]) == (0, 12288, None)
    assert report["segments"][0]["records"] == {"data": 1, "flush": 1}
