"""Receipts that gates drop as files reach the catalog once, and none is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.catalog import Catalog, Ingested
from holdfast.catalog.ingest import read_spool
from holdfast.model.receipt import Receipt


def make_receipt(identifier: str) -> Receipt:
    return Receipt(identifier, "bank", "takeover", "worker died", 5.5, 5.6, "continued")


def drop(spool: Path, receipt: Receipt) -> Path:
    spool.mkdir(exist_ok=True)
    path = spool / f"{receipt.id}.json"
    path.write_text(json.dumps(receipt.as_json()))
    return path


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "catalog.sqlite")


def test_files_become_receipts_and_are_deleted(catalog: Catalog, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    for identifier in ("a", "b"):
        drop(spool, make_receipt(identifier))
    assert catalog.ingest(spool) == Ingested(2)
    assert {receipt.id for receipt in catalog.receipts()} == {"a", "b"}
    assert list(spool.iterdir()) == []


def test_a_receipt_that_was_committed_before_a_crash_is_not_doubled(
    catalog: Catalog, tmp_path: Path
) -> None:
    path = drop(tmp_path / "spool", make_receipt("a"))
    catalog.ingest(path.parent)
    drop(path.parent, make_receipt("a"))
    assert catalog.ingest(path.parent) == Ingested(0)
    assert catalog.receipts() == [make_receipt("a")]
    assert not path.exists()


def test_an_unfinished_file_is_left_alone(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    unfinished = tmp_path / "spool" / "a.json.new"
    unfinished.write_text("{")
    assert catalog.ingest(unfinished.parent) == Ingested()
    assert unfinished.exists()


def test_no_spool_is_an_empty_one(catalog: Catalog, tmp_path: Path) -> None:
    assert catalog.ingest(tmp_path / "nowhere") == Ingested()


WHOLE = make_receipt("y").as_json()
GARBLED = [
    b"", b"{", b"[]", b"null", b"3", b"\xff\xfe\x00", b'{"id": "x"}', b'{"steps": 3}',
    json.dumps(WHOLE | {"requests_held": 1 << 70}).encode(),
    json.dumps(WHOLE | {"cause": "\ud800"}).encode(),
]  # fmt: skip


@pytest.mark.parametrize("content", GARBLED)
def test_a_garbled_file_is_moved_aside_and_the_others_are_taken(
    catalog: Catalog, tmp_path: Path, content: bytes
) -> None:
    spool = tmp_path / "spool"
    drop(spool, make_receipt("z"))
    (spool / "a.json").write_bytes(content)
    assert catalog.ingest(spool) == Ingested(1, (spool / "a.json.bad",))
    assert (spool / "a.json.bad").read_bytes() == content
    assert catalog.ingest(spool) == Ingested()


@pytest.fixture(scope="module")
def shared_spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spool")


@given(st.data())
def test_no_torn_or_altered_file_raises(shared_spool: Path, data: st.DataObject) -> None:
    """Whatever a crash makes of a file: it is read as a receipt or moved aside."""
    content = bytearray(json.dumps(make_receipt("a").as_json()).encode())
    length = data.draw(st.integers(0, len(content)))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] = data.draw(st.integers(0, 255))
    path = shared_spool / "a.json"
    path.write_bytes(content[:length])
    readable, unreadable = read_spool(shared_spool)
    assert len(readable) + len(unreadable) == 1
    assert path.exists() == bool(readable)
