"""What a disk says of itself, as smartctl's JSON has it: what of it means that it fails. Pure.

By what disks were found to do before they failed: Backblaze (2016, 67 000 disks) names attributes
5, 187, 188, 197 and 198, where any count above zero is a sign; Google (FAST 2007) the first sectors
that cannot be read. A sector that waits (197, 198) is unreadable now; one that was put elsewhere
(5), or an error of years ago (187), is told only when there are more of them than before: a disk
lives with eight for years. Temperatures and cables (194, 199) are no failures of a disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from holdfast.late_dataclass import dataclass

_UNREADABLE = {197: "sectors wait to be read", 198: "sectors cannot be read"}
_GROWING = {5: "sectors were put elsewhere", 187: "errors were not corrected"}
"""ATA attributes (smartmontools, drivedb.h)."""

_RAW_MASK = 0xFFFFFFFF
"""Of 48 bits some vendors use the upper ones for something else."""

_NVME_WARNINGS = {
    0x01: "its spare blocks run out",
    0x04: "it is not reliable any more",
    0x08: "it takes no writes any more",
    0x10: "its cache is not protected any more",
}
"""Critical warnings (NVM Express 1.4, figure 194), without temperature, which passes."""

_MOST = (1 << 62) - 1


@dataclass(frozen=True)
class DiskHealth:
    """What one look at a disk gave."""

    failing: tuple[str, ...] = ()
    """What is wrong now, for people."""
    counts: dict[str, int] = field(default_factory=dict)
    """What is wrong when there is more of it than before."""
    is_told: bool = True
    """False: it said nothing (it sleeps, or has no SMART)."""


def health_of(values: Mapping[str, Any]) -> DiskHealth:
    """Of smartctl's JSON, whatever is in it: what has another shape than expected says nothing."""
    status = _part(values, "smart_status").get("passed")
    nvme = _part(values, "nvme_smart_health_information_log")
    table = _part(values, "ata_smart_attributes").get("table")
    rows = table if isinstance(table, list) else []
    attributes = [each for each in rows if isinstance(each, dict)]
    if not (isinstance(status, bool) or nvme or attributes):
        return DiskHealth(is_told=False)
    failing = ["it says itself that it fails"] if status is False else []
    failing += [*_of_nvme(nvme), *_of_attributes(attributes)]
    counts = {
        words: raw for each in attributes if (words := _GROWING.get(_number(each, "id"), ""))
        for raw in (_raw(each),)
    }  # fmt: skip
    if nvme:
        counts["errors of its medium"] = _number(nvme, "media_errors")
    if "scsi_grown_defect_list" in values:
        counts["sectors were put elsewhere"] = _number(values, "scsi_grown_defect_list")
    return DiskHealth(tuple(dict.fromkeys(failing)), counts)


def in_words(health: DiskHealth, before: Mapping[str, int]) -> str:
    """What is told of it; empty: it is well. `before`: counts when it was looked at first."""
    grown = [
        f"{count} {what}, {count - before[what]} of them lately"
        for what, count in health.counts.items()
        if what in before and count > before[what]
    ]
    return "; ".join([*health.failing, *grown])


def _of_nvme(log: Mapping[str, Any]) -> Iterator[str]:
    warning = _number(log, "critical_warning")
    for bit, words in _NVME_WARNINGS.items():
        if warning & bit:
            yield words
    used = _number(log, "percentage_used")
    if used >= 100:
        yield f"it was written to more than it is made for ({used} %)"
    threshold = _number(log, "available_spare_threshold")
    if "available_spare" in log and _number(log, "available_spare") < threshold:
        yield _NVME_WARNINGS[0x01]


def _of_attributes(attributes: list[dict[str, Any]]) -> Iterator[str]:
    for each in attributes:
        words = _UNREADABLE.get(_number(each, "id"), "")
        if words and _raw(each):
            yield f"{_raw(each)} {words}"
        is_prefailure = _part(each, "flags").get("prefailure") is True
        if is_prefailure and each.get("when_failed") == "now":
            yield f"attribute {_number(each, 'id')} is below its threshold"


def _raw(attribute: Mapping[str, Any]) -> int:
    return _number(_part(attribute, "raw"), "value") & _RAW_MASK


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _number(values: Mapping[str, Any], name: str) -> int:
    found = values.get(name)
    is_count = isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= _MOST
    return int(found) if found is not None and is_count else 0
