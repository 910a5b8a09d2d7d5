"""Values: what is accepted, what is refused, and that they survive being written down."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.containers import parse_container_url
from holdfast.errors import InvalidName, InvalidSize, InvalidUrl
from holdfast.model.bounded import FIRST_VERSION, NewerFormat, with_version, without_version
from holdfast.model.container import ContainerUrl
from holdfast.model.finding import Finding, Verdict
from holdfast.model.receipt import Receipt, ReceiptStep, receipt_from_json
from holdfast.model.size import (
    MAXIMUM_VOLUME_BYTES,
    MINIMUM_VOLUME_BYTES,
    format_size,
    parse_size,
)
from holdfast.model.volume import check_name

BAD_NAMES = ["", "a/b", "..", ".", ".a", "-a", "_a", "a b", "a\n", "a\0", "é", "x" * 41, "/", "a/"]
BAD_SIZES = ["", "0", "0G", "-1G", "1.5G", "nonsense", "1E", "1P", "16E", "17T", "15M", "1 0G",
             "16777217", "٣G", "99999\u212a", "9" * 30, "2GG", "0x10G", "1e9"]  # fmt: skip
BAD_URLS = ["", "file:", "file:relative", "/path", "nbd://host/x", "file:/a\0b", "block:sda",
            "file:/a\nb", "FILE:/a", "file"]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_cannot_be_used_in_a_path_is_refused(name: str) -> None:
    with pytest.raises(InvalidName) as refused:
        check_name(name)
    assert refused.value.mend


@pytest.mark.parametrize("name", ["a", "0", "bank", "a.b-c_d", "x" * 40])
def test_a_plain_name_is_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("text", BAD_SIZES)
def test_a_size_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(InvalidSize) as refused:
        parse_size(text)
    assert refused.value.mend


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("16M", 16 << 20), ("2G", 2 << 30), ("2g", 2 << 30), ("2GiB", 2 << 30), (" 1T ", 1 << 40),
     ("16T", 16 << 40), ("33554432", 32 << 20), ("65536K", 64 << 20)],
)  # fmt: skip
def test_a_size_is_read_in_powers_of_1024(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@given(st.text())
def test_any_text_is_a_size_within_the_limits_or_refused(text: str) -> None:
    try:
        size_bytes = parse_size(text)
    except InvalidSize:
        return
    assert MINIMUM_VOLUME_BYTES <= size_bytes <= MAXIMUM_VOLUME_BYTES
    assert size_bytes % 4096 == 0


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (2 << 30, "2.0 GiB"),
     (1 << 60, "1048576.0 TiB")],
)  # fmt: skip
def test_sizes_are_written_for_people(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


@pytest.mark.parametrize("text", BAD_URLS)
def test_a_url_without_kind_or_absolute_path_is_refused(text: str) -> None:
    with pytest.raises(InvalidUrl) as refused:
        parse_container_url(text)
    assert refused.value.mend


@pytest.mark.parametrize(
    ("text", "url"),
    [("file:/a.img", "file:/a.img"), ("file:///a//b/../c", "file:/a/c"),
     ("block:/dev/sdb", "block:/dev/sdb"), ("file:/with space", "file:/with space")],
)  # fmt: skip
def test_a_url_is_normalised_and_stays_the_same_when_read_again(text: str, url: str) -> None:
    assert str(parse_container_url(text)) == url
    assert str(parse_container_url(url)) == url


def test_a_receipt_survives_json() -> None:
    receipt = Receipt(
        "r", "bank", "hold", "no leg left", 1.5, 2.5, "continued",
        steps=(ReceiptStep("held", 1.5, 1.0, "done"),), processes=({"pid": 1, "name": "x"},),
        details={"a": [1]},
    )  # fmt: skip
    assert receipt_from_json(json.loads(json.dumps(receipt.as_json()))) == receipt
    assert receipt_from_json(replace(receipt, steps=()).as_json()).steps == ()


def test_an_unknown_field_of_a_receipt_is_an_error() -> None:
    with pytest.raises(TypeError):
        receipt_from_json({"id": "x", "surprise": 1})


def test_a_finding_becomes_plain_json() -> None:
    finding = Finding("FUSE device", Verdict.MISSING, "no such file", "no volumes", "modprobe fuse")
    assert json.loads(json.dumps(finding.as_json()))["verdict"] == "missing"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (ContainerUrl("file", "/a.img"), "file:/a.img"),
        (ContainerUrl("nbd", "/export", "host:10809"), "nbd://host:10809/export"),
        (ContainerUrl("nbds", "", "host"), "nbds://host"),
        (
            ContainerUrl("nbd+unix", "/export", "", (("socket", "/run/nbd.sock"),)),
            "nbd+unix:///export?socket=/run/nbd.sock",
        ),
    ],
)
def test_the_url_of_any_kind_of_container_can_be_written(url: ContainerUrl, text: str) -> None:
    """Also of one that has a place for a host and names none."""
    assert str(url) == text


@pytest.mark.parametrize("version", [FIRST_VERSION, 2, 7])
def test_a_version_comes_back_and_the_first_one_is_not_written(version: int) -> None:
    values = {"name": "shop"}
    written = with_version(values, version)
    assert ("version" in written) is (version != FIRST_VERSION)
    assert without_version(written, "it", 7) == (values, version)


def test_a_newer_version_is_not_a_damaged_record() -> None:
    with pytest.raises(NewerFormat, match="it is of a newer version"):
        without_version({"version": 3}, "it", 2)


@pytest.mark.parametrize("version", [0, -1, True, "1", 1.0, None])
def test_what_is_no_version_is_refused(version: object) -> None:
    with pytest.raises(ValueError, match="version"):
        without_version({"version": version}, "it", 2)
