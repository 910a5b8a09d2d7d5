"""A fuzzer for every parser of what strangers, disks and other versions may have written.

Each gets any bytes, and texts of ours that were changed in a few places. It gives a value of the
right type, or refuses with the error that its callers expect; it does not crash, hang or allocate
what a number says. Seconds in CI, long with HOLDFAST_SOAK=1.
"""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast.applications.fdinfo import (
    parse_information,
    parse_lock,
    parse_marks,
    parse_registered_files,
    parse_targets,
    parse_watches,
)
from holdfast.applications.freezers.record import FreezeRecord, RecordFile
from holdfast.applications.identity import application_in
from holdfast.applications.rebind.agent.descriptor_tables import received_numbers
from holdfast.applications.rebind.parking import kept_contents
from holdfast.applications.rebind.parking.record import ParkingRecord
from holdfast.catalog.catalog import Catalog
from holdfast.catalog.ingest import read_spool
from holdfast.catalog.rows import restoration_of_rows, row_of_restoration, row_of_step
from holdfast.errors import NoSource, StorageFailed
from holdfast.gate.log import segment
from holdfast.gate.members import superblock
from holdfast.gate.members.configuration import (
    FILE_NAME,
    GateConfiguration,
    LegEntry,
    load_configuration,
)
from holdfast.model.bounded import MOST_NUMBER, NewerFormat, read_json, read_object, typed
from holdfast.model.plan import StepName, Strategy
from holdfast.model.receipt import Receipt
from holdfast.model.restoration import Copy, Restoration, RestorationStage, StepRecord, StepState
from holdfast.model.size import MAXIMUM_VOLUME_BYTES
from holdfast.model.volume import MountProperties, Volume
from holdfast.system.boot import boot_id
from holdfast.system.mounts.mount_table import parse_mountinfo
from holdfast.system.proc_text import (
    field,
    lines,
    number_of,
    parse_control_groups,
    parse_maps,
    parse_stat,
    parse_swaps,
)
from holdfast.volumes.descriptor import volume_of
from tests.soak import rounds

FUZZ = settings(
    max_examples=rounds(40, 20_000),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

PIECES = st.sampled_from(
    [b"", b"-1", b"1" * 5000, b"18446744073709551615", b"1e999", b"[" * 9000, b'{"a":' * 500,
     b"null", b'"x"', b"\xff", b"\0", b"\n", b" ", b"NaN", b"true", b"0.5", b"\xc2\x85"]
)  # fmt: skip


@st.composite
def changed(draw: st.DrawFn, text: bytes) -> bytes:
    """A text of ours in which a few pieces were put in the place of others."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 12)))
        text = text[:start] + draw(PIECES | st.binary(max_size=8)) + text[end:]
    return text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@st.composite
def mistyped(draw: st.DrawFn, values: dict[str, Any]) -> dict[str, Any]:
    """An object of ours in which fields have another type, are missing, or are too many."""
    values = dict(values)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(values)) | st.text(max_size=4))
        if draw(st.booleans()):
            values[name] = draw(JSON)
        else:
            values.pop(name, None)
        if not values:
            break
    return values


BLOCK = superblock.Superblock(
    volume_id="v", leg_id="l", leg_number=1, size_bytes=32 << 20, epoch=3,
    sequence=7, position=4096,
    members=(superblock.Member(1, "l", "file:/a.img", superblock.LegState.IN_SYNC),),
    descriptor={"name": "shop", "kind": "gated",
                "mount": {"path": "/srv/shop", "filesystem": "ext4", "mode": 493}},
)  # fmt: skip
GATE = GateConfiguration("shop", "v", 32 << 20, 3, (LegEntry(1, "l", "file:/a.img"),),
                         descriptor=BLOCK.descriptor)  # fmt: skip
RECEIPT = Receipt("id", "shop", "hold", "planned", 1.0, 2.0, "done")
FREEZE = FreezeRecord(id="0" * 32, volume="shop", freezer="signal", seconds=1.0, deadline_ns=1,
                started=1.0, started_ns=1, started_ticks=1, cause="planned",
                spool="/s", boot_id="b")  # fmt: skip


def with_checksum(body: bytes, sequence: int, annex: bytes = b"") -> bytes:
    """A slot whose checksums are right, whatever is in it: anybody can compute them."""
    room = superblock.SLOT_BYTES - superblock.HEADER_BYTES
    annex = annex[:room]
    body = body[: room - len(annex)]
    covered = superblock._COVERED.pack(superblock.MAGIC, 1, len(body), sequence)
    header = covered + superblock._CHECKSUM.pack(zlib.crc32(body, zlib.crc32(covered)))
    header += superblock._ANNEX.pack(len(annex), zlib.crc32(annex, zlib.crc32(header)))
    return (header.ljust(64, b"\0") + body + annex).ljust(superblock.SLOT_BYTES, b"\0")


def _body() -> dict[str, Any]:
    values = asdict(BLOCK)
    del values["sequence"], values["raised_from"]
    return values


BODIES = (
    changed(json.dumps(_body()).encode())
    | mistyped(_body()).map(lambda values: json.dumps(values).encode())
    | st.binary(max_size=200)
)


ANNEX = {"raised_from": {"epoch": 2, "in_sync": ["l", "m"]}}
ANNEXES = changed(json.dumps(ANNEX).encode()) | mistyped(ANNEX["raised_from"]).map(
    lambda values: json.dumps({"raised_from": values}).encode()
)


@FUZZ
@given(ANNEXES)
def test_annex_of_a_superblock(annex: bytes) -> None:
    found = superblock.decode(with_checksum(json.dumps(_body()).encode(), 7, annex))
    if found is not None and found.raised_from is not None:
        assert 0 <= found.raised_from.epoch < found.epoch
        assert all(isinstance(each, str) for each in found.raised_from.in_sync)
        superblock.encode(replace(found, descriptor={}, members=()))


@FUZZ
@given(BODIES, st.integers(0, (1 << 64) - 1))
def test_superblock(body: bytes, sequence: int) -> None:
    found = superblock.decode(with_checksum(body, sequence))
    if found is not None:
        assert 0 < found.size_bytes <= MAXIMUM_VOLUME_BYTES
        assert 0 <= found.epoch <= MOST_NUMBER
        assert 0 <= found.sequence <= MOST_NUMBER
        superblock.encode(replace(found, sequence=found.sequence + 1, descriptor={}, members=()))


@FUZZ
@given(mistyped(BLOCK.descriptor) | mistyped(BLOCK.descriptor["mount"]).map(lambda m: {"mount": m}))
def test_what_a_superblock_says_of_the_volume(descriptor: dict[str, Any]) -> None:
    try:
        found = volume_of(replace(GATE, descriptor={**BLOCK.descriptor, **descriptor}))
    except NoSource:
        return
    assert isinstance(found.mount.path, str)
    assert isinstance(found.mount.mode, int)


@FUZZ
@given(changed(segment.SegmentHeader(5, 4096, True, b"s" * 16).encode()[:80]) | st.binary())
def test_segment_header(page: bytes) -> None:
    segment.decode_segment_header(page)
    covered = page[: segment.SEGMENT_COVERED.size].ljust(segment.SEGMENT_COVERED.size, b"\xff")
    for start in (segment.SEGMENT_MAGIC + struct.pack("<I", segment.VERSION), b""):
        body = start + covered[len(start) :]
        version = int.from_bytes(body[len(segment.SEGMENT_MAGIC) :][:4], "little")
        try:
            found = segment.decode_segment_header(body + segment.CHECKSUM.pack(zlib.crc32(body)))
        except NewerFormat:
            assert version > segment.VERSION
            continue
        if found is not None:
            replace(found, number=found.number + 1, base=found.base + (1 << 40)).encode()


@FUZZ
@given(
    st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1),
    st.integers(0, (1 << 32) - 1), st.binary(max_size=64),
)  # fmt: skip
def test_records_of_a_segment(
    kind: int, offset: int, length: int, payload_bytes: int, payload: bytes
) -> None:
    header = segment.SegmentHeader(5, 0, False, b"s" * 16)
    covered = segment.RECORD_COVERED.pack(
        segment.RECORD_MAGIC, kind, header.checksum, 5, 0, 1, offset, length, payload_bytes
    )
    checksum = segment.CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(covered)))
    page = (covered + checksum).ljust(segment.PAGE_BYTES, b"\0")
    with tempfile.TemporaryFile() as file:
        file.write(header.encode() + page + payload.ljust(segment.PAGE_BYTES, b"\0"))
        file.flush()
        part = segment.Segment(Path("segment-5"), file.fileno(), 1 << 20, header)
        for record in segment.scan(part, 0, part.limit, header.checksum):
            assert record.offset + record.length <= MAXIMUM_VOLUME_BYTES


@FUZZ
@given(changed(json.dumps(asdict(GATE)).encode()) | mistyped(asdict(GATE)) | st.binary())
def test_gate_json(content: bytes | dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        Path(folder, FILE_NAME).write_bytes(data)
        try:
            found = load_configuration(Path(folder))
        except StorageFailed as error:
            assert error.mend
            return
        assert 0 < found.size_bytes <= MAXIMUM_VOLUME_BYTES
        assert all(isinstance(leg.number, int) for leg in found.legs)


@FUZZ
@given(changed(json.dumps(asdict(FREEZE)).encode()) | mistyped(asdict(FREEZE)))
def test_record_of_a_freeze(content: bytes | dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = RecordFile(Path(folder), "shop")
        file.path.parent.mkdir()
        file.path.write_bytes(
            content if isinstance(content, bytes) else json.dumps(content).encode()
        )
        try:
            found = file.load()
        except ValueError as error:
            assert str(file.path) in str(error)
            return
        assert found is not None
        assert isinstance(found.deadline_ns, int)


@FUZZ
@given(changed(json.dumps(asdict(RECEIPT)).encode()) | mistyped(asdict(RECEIPT)))
def test_receipts_that_were_left(content: bytes | dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        Path(folder, "r.json").write_bytes(data)
        readable, aside = read_spool(Path(folder))
        assert len(readable) + len(aside) == 1


@FUZZ
@given(changed(b'{"verb": "hold", "seconds": 5.0, "reason": "x"}\n') | st.binary())
def test_messages_of_the_control_socket(message: bytes) -> None:
    for read in (read_json, read_object):
        try:
            value = read(message, 1 << 16)
        except ValueError:
            continue
        json.dumps(value, allow_nan=False)


@FUZZ
@given(st.binary(max_size=300), st.integers(0, 253))
def test_messages_of_a_courier(answer: bytes, count: int) -> None:
    numbers, complete = received_numbers(answer, count)
    assert len(numbers) <= count
    assert all(0 <= number < 1 << 31 for number in numbers)
    assert complete is (len(numbers) == count) or not complete


@FUZZ
@given(text=st.binary(max_size=300) | changed(b"7f-80 rw-s 00001000 00:27 257   /m/a b\n" * 3))
@pytest.mark.parametrize(
    "parse",
    [
        lines, parse_maps, parse_stat, parse_mountinfo, parse_swaps, parse_control_groups,
        parse_information, parse_lock, parse_watches, parse_marks, parse_targets,
        parse_registered_files,
        lambda text: field(text, b"CapEff"), lambda text: number_of(text, b"CapEff", 16),
        lambda text: application_in(os.fsdecode(text), ""),
    ],
)  # fmt: skip
def test_texts_of_proc(text: bytes, parse: Callable[[bytes], object]) -> None:
    """Lines are the kernel's; what cannot be one is a ValueError or is left out."""
    with suppress(ValueError, IndexError):
        parse(text)


def test_a_value_that_is_nested_without_end_is_refused_quickly() -> None:
    for text in ("[" * 100_000, '{"a":' * 100_000, "[" * 17 + "]" * 17):
        with pytest.raises(ValueError, match="deep"):
            read_json(text)


def test_a_dataclass_says_which_field_is_wrong() -> None:
    with pytest.raises(ValueError, match="lacks id"):
        typed(LegEntry, {"number": 1, "url": "x"})
    with pytest.raises(ValueError, match="number: text where int must be"):
        typed(LegEntry, {"number": "1", "id": "", "url": "x"})
    with pytest.raises(ValueError, match="beyond every bound"):
        typed(LegEntry, {"number": 1 << 63, "id": "", "url": "x"})
    with pytest.raises(ValueError, match="no 'x'"):
        typed(LegEntry, {"number": 1, "id": "", "url": "x", "x": 1})


RESTORATION = Restoration(
    "id", "shop", Strategy.MIGRATE, "planned", 1.0, RestorationStage.RUNNING, "boot", 5,
    (StepName.FREEZE, StepName.RESTORE), {"points": []},
    (StepRecord(StepName.FREEZE, StepState.FINISHED, 1.0),),
)  # fmt: skip
COPY = Copy("id", "shop", ("file:/a.img",), "ext4", "", "", 1.0, "migrate")
VOLUME = Volume("shop", "v", "gated", 32 << 20, MountProperties("/srv/shop", "ext4"),
                ("file:/a.img",))  # fmt: skip
ROWS = {
    "restorations": ("volume", "strategy", "cause", "started", "stage", "boot_id", "deadline_ns",
                     "step_names", "facts"),
    "restoration_steps": ("name", "state", "started", "seconds", "outcome", "number"),
    "copies": ("urls", "filesystem", "uuid", "volume_id", "made", "origin"),
    "volumes": ("id", "kind", "size_bytes", "mount_path", "leg_urls", "spare_urls", "journal",
                "mode", "hold_timeout_seconds", "adoption", "attached", "sector_bytes"),
}  # fmt: skip
COLUMNS = st.sampled_from([(table, column) for table, names in ROWS.items() for column in names])
CELLS = (
    st.none() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats() | st.binary(max_size=40)
    | st.text(max_size=20) | JSON.map(json.dumps) | PIECES.map(lambda each: each.decode("latin-1"))
)  # fmt: skip


@pytest.fixture(scope="module")
def catalog_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with one of everything."""
    path = tmp_path_factory.mktemp("catalog") / "catalog.db"
    with Catalog(path) as catalog:
        catalog.add(VOLUME)
        catalog.restorations.begin(RESTORATION)
        catalog.restorations.record("id", RESTORATION.steps[0])
        catalog.restorations.add_copy(COPY)
    return path


def restoration_of(catalog: Catalog) -> list[Restoration | None]:
    """The one in progress: what it is judged by has a code, and it comes back as it was read."""
    found = catalog.restorations.of("shop")
    if found is not None:
        row = row_of_restoration(found)
        steps = [row_of_step("id", each, 0) for each in found.steps]
        assert restoration_of_rows(row, steps) == found
    return [found]


@FUZZ
@given(COLUMNS, CELLS)
@example(column=("restoration_steps", "outcome"), cell="more words than we write " * 400)
def test_rows_of_the_catalog(catalog_file: Path, column: tuple[str, str], cell: object) -> None:
    table, name = column
    with sqlite3.connect(catalog_file) as database:
        (before,) = database.execute(f"select {name} from {table}").fetchone()
    try:
        with suppress(sqlite3.IntegrityError), sqlite3.connect(catalog_file) as database:
            database.execute(f"update {table} set {name} = ?", (cell,))
        with Catalog(catalog_file) as catalog:
            for read in (
                catalog.volumes,
                catalog.restorations.all,
                partial(restoration_of, catalog),
                catalog.restorations.copies,
            ):
                try:
                    found = read()
                except StorageFailed as error:
                    assert error.mend
                    assert error.code or not isinstance(read, partial)
                    continue
                for each in found:
                    json.dumps(asdict(each)) if each is not None else None
    finally:
        with sqlite3.connect(catalog_file) as database:
            database.execute(f"update {table} set {name} = ?", (before,))


@FUZZ
@given(
    changed(b'{"act": "begin", "boot": "b", "deadline_ns": 5}\n{"act": "parked", "pid": 7}\n')
    | st.binary()
)
def test_record_of_what_is_parked(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "journal").write_bytes(content)
        try:
            entries = ParkingRecord(Path(folder)).read()
        except StorageFailed as error:
            assert error.mend
            return
        assert all(isinstance(entry["act"], str) for entry in entries)


PARKED = Path(__file__).parent / "applications/rebind/parking/records/before-versions.jsonl"


@FUZZ
@given(st.data())
def test_fields_of_what_is_parked(data: st.DataObject) -> None:
    """A line of a real record, changed anywhere: typed values, or a refusal."""
    lines = PARKED.read_bytes().splitlines()
    lines[0] = lines[0].replace(json.loads(lines[0])["boot"].encode(), boot_id().encode())
    number = data.draw(st.integers(0, len(lines) - 1))
    lines[number] = data.draw(changed(lines[number]))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "journal").write_bytes(b"\n".join(lines) + b"\n")
        try:
            found = ParkingRecord(Path(folder)).load()
        except StorageFailed as error:
            assert error.mend
            return
        for each in found.processes if found is not None else ():
            assert isinstance(each.process.token, int)
            json.dumps([note.as_json() for note in each.notes])


@FUZZ
@given(
    changed(json.dumps({"folder": "f", "kept": [[1, 2, "n", [1, 2], True, [[0, 5]]]]}).encode())
    | JSON.map(lambda value: json.dumps({"folder": value, "kept": value}).encode())
)
def test_index_of_contents_that_were_kept(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, kept_contents._INDEX).write_bytes(content)
        assert isinstance(kept_contents.KeptContents.read(Path(folder)).folder, str)
