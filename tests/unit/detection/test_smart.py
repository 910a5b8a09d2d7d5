"""What disks say through smartctl, from JSON of the shape that real ones give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.detection import smart
from holdfast.detection.parts import DeviceBelow
from holdfast.detection.smart import Smart, disk_of
from holdfast.model.evidence import Evidence
from holdfast.policy.smart_words import health_of, in_words
from holdfast.service.doctor import disks as doctor
from tests.waiting import wait_until


def row(number: int, raw: int, when_failed: str = "", *, prefailure: bool = False) -> Any:
    return {
        "id": number,
        "name": "Attribute",
        "value": 100,
        "worst": 100,
        "thresh": 10,
        "when_failed": when_failed,
        "flags": {"value": 50, "string": "-O--CK ", "prefailure": prefailure},
        "raw": {"value": raw, "string": str(raw)},
    }


def sata(*rows: Any, passed: bool = True) -> dict[str, Any]:
    """As smartctl 7.3 of a Seagate ST4000DM004, with what is of no interest left out."""
    return {
        "json_format_version": [1, 0],
        "smartctl": {"version": [7, 3], "exit_status": 0 if passed else 8},
        "device": {"name": "/dev/sda", "type": "sat", "protocol": "ATA"},
        "smart_status": {"passed": passed},
        "ata_smart_attributes": {
            "revision": 10,
            "table": [row(5, 8), row(187, 0), row(197, 0), row(194, 0x1E00000028), *rows],
        },
    }


def nvme(**values: int) -> dict[str, Any]:
    log = {
        "critical_warning": 0,
        "temperature": 38,
        "available_spare": 100,
        "available_spare_threshold": 10,
        "percentage_used": 3,
        "media_errors": 0,
    }
    return {
        "smartctl": {"exit_status": 0},
        "device": {"name": "/dev/nvme0n1", "type": "nvme", "protocol": "NVMe"},
        "smart_status": {"passed": True, "nvme": {"value": 0}},
        "nvme_smart_health_information_log": log | values,
    }


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (sata(), ""),
        (sata(passed=False), "it says itself that it fails"),
        (sata(row(198, 3)), "3 sectors cannot be read"),
        (sata(row(1, 7, "now", prefailure=True)), "attribute 1 is below its threshold"),
        (sata(row(190, 7, "now"), row(1, 7, "past", prefailure=True)), ""),
        (nvme(), ""),
        (nvme(critical_warning=0x0A), "it takes no writes any more"),
        (nvme(available_spare=9), "its spare blocks run out"),
        (nvme(percentage_used=104), "it was written to more than it is made for (104 %)"),
        (nvme(media_errors=7), ""),
    ],
)
def test_what_a_disk_says(said: dict[str, Any], words: str) -> None:
    health = health_of(said)
    assert in_words(health, health.counts) == words


def test_what_grows_and_what_says_nothing() -> None:
    before = health_of(sata()).counts
    more = health_of(sata() | {"ata_smart_attributes": {"table": [row(5, 12)]}})
    assert in_words(more, before) == "12 sectors were put elsewhere, 4 of them lately"
    assert in_words(health_of(nvme(media_errors=2)), health_of(nvme()).counts)
    asleep = {"smartctl": {"exit_status": 2, "messages": [{"string": "Device is in STANDBY mode"}]}}
    assert not health_of(asleep).is_told
    for odd in ({}, {"smart_status": 7}, {"ata_smart_attributes": {"table": "x"}}):
        assert not health_of(odd).is_told
    assert health_of({"ata_smart_attributes": {"table": [{"id": [], "raw": 3}, 4]}}).failing == ()


def test_disks_below_volumes_are_asked_in_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices, sys_block, programs = tmp_path / "devices", tmp_path / "block", tmp_path / "bin"
    sys_block.mkdir()
    programs.mkdir()
    for disk, bus in (("sda", "scsi"), ("vda", "virtio"), ("loop0", "")):
        (devices / disk).mkdir(parents=True)
        if bus:
            (devices / bus).mkdir()
            (devices / disk / "device").mkdir()
            (devices / disk / "device/subsystem").symlink_to(devices / bus)
        (sys_block / disk).symlink_to(devices / disk)
    (devices / "sda/sda1").mkdir()
    (devices / "sda/sda1/partition").write_text("1\n")
    (sys_block / "sda1").symlink_to(devices / "sda/sda1")
    monkeypatch.setattr(smart, "_SYS_BLOCK", sys_block)
    monkeypatch.setattr(doctor, "_SYS_BLOCK", sys_block)
    assert [disk_of(each) for each in ("sda1", "sda", "vda", "loop0", "gone")] == [
        *("sda", "sda", "", "", "")
    ]
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr("holdfast.system.children.run._SYSTEM_PATHS", ())
    (missing,) = doctor.smart()
    assert "smartctl" in missing.found and "smartmontools" in missing.mend
    said, asked = tmp_path / "said", tmp_path / "asked"
    program = programs / "smartctl"
    program.write_text(
        f'#!/bin/sh\nPATH=/usr/bin:/bin\necho "$@" >> {asked}\ncat {said}\nexit 64\n'
    )
    program.chmod(0o755)
    (there,) = doctor.smart()
    assert "sda" in there.found and "vda" not in there.found

    parts = [
        DeviceBelow("data", "state", "sda1", "", "holdfast assess data"),
        DeviceBelow("shop", "leg 2", "sda", "where leg 2 lies", "holdfast leg replace shop 2 URL"),
        DeviceBelow("shop", "leg 1", "loop0", "", ""),
    ]
    disks = Smart(interval_seconds=0.0)

    def told() -> list[Evidence]:
        return list(disks.look(parts))

    asked.touch()
    said.write_text(json.dumps(sata()))
    assert told() == []
    wait_until(lambda: not told() and len(asked.read_text().splitlines()) >= 2)
    said.write_text(json.dumps(sata(row(197, 24))))
    wait_until(lambda: len(told()) == 2, "it was not told")
    first, second = told()
    assert (first.volume, first.about, first.grave) == ("data", "state", False)
    assert second.words == "the disk sda (where leg 2 lies): 24 sectors wait to be read"
    assert set(asked.read_text().splitlines()) == {"--json=c --nocheck=standby --all /dev/sda"}
    said.write_text("no JSON")
    assert len(told()) == 2, "what is known stays"
    assert list(disks.look([])) == []
    if disks._errand:
        wait_until(lambda: not list(disks.look([])) and disks._errand is None)
