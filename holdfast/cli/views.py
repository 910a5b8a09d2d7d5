"""How a volume, its legs and a receipt look on a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast.cli.output import (
    milliseconds_text,
    print_facts,
    print_table,
    table,
    time_text,
)
from holdfast.model.size import format_size
from holdfast.model.version import VERSION
from holdfast.model.volume import ADOPTED

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from holdfast.model.receipt import Receipt
    from holdfast.model.volume import GateReport, VolumeReport

ID_CHARACTERS = 8
"""How much of an id a listing shows; `receipt show` takes any prefix that is unique."""

SECOND_CHARACTERS = len("2026-01-02 03:04:05")

LEG_ID_CHARACTERS = 8
"""The first group of a UUID; commands take any prefix of four or more."""


def print_volumes(reports: Sequence[VolumeReport]) -> None:
    """One line per volume."""
    columns = ("name", "state", "size", "fs", "mount", "legs", "spares")
    rows = [
        (
            report.name,
            str(report.state),
            format_size(report.size_bytes),
            report.filesystem,
            report.mount,
            _count(report),
            str(sum(leg.state == "spare" for leg in report.legs)),
        )
        for report in reports
    ]
    print_table(columns, rows, right=("size", "spares"), below=("mount", "spares", "fs", "size"))


def _count(report: VolumeReport) -> str:
    """Legs in sync of all legs, spares left out; how many are recorded when it is detached."""
    if report.kind == ADOPTED:
        return ADOPTED
    active = [leg for leg in report.legs if leg.state != "spare"]
    if report.gate is None:
        return f"{len(active)}"
    return f"{sum(leg.state == 'in-sync' for leg in active)}/{len(active)} in sync"


def print_volume(report: VolumeReport) -> None:
    """Everything about one volume."""
    if report.kind == ADOPTED:
        _print_adopted(report)
        return
    pairs = [
        *_common_facts(report),
        ("journal", report.journal),
        ("epoch", str(report.epoch)),
    ]
    gate = report.gate
    if gate is not None:
        if gate.held:
            pairs.append(("held", _hold_text(gate.hold_reason, gate.hold_deadline)))
        requests = ", ".join(f"{count} {kind}" for kind, count in gate.requests.items())
        pairs += [
            ("gate", f"keeper {gate.keeper_pid}, worker {gate.worker_pid}, {_version(gate)}"),
            ("fast path", "compiled" if gate.compiled else "none: Python serves alone"),
            ("memory", _memory_text(gate)),
            ("requests", f"{requests}; {gate.in_flight} in flight"),
            ("takeovers", str(gate.takeovers)),
            ("errors returned", str(gate.errors_returned)),
            ("longest wait", milliseconds_text(gate.longest_wait_ms)),
        ]
    print_facts(pairs)
    print()
    print_table(
        ("leg", "state", "synced", "url", "id", "reason"),
        [
            (
                str(leg.number) if leg.state != "spare" else "-",
                str(leg.state),
                "" if leg.resync_percent is None else f"{leg.resync_percent:.1f} %",
                leg.url,
                leg.id[:LEG_ID_CHARACTERS],
                leg.reason,
            )
            for leg in report.legs
        ],
        right=("leg", "synced"),
        below=("reason", "id", "url"),
    )


def _version(gate: GateReport) -> str:
    if gate.version == VERSION:
        return f"version {VERSION}"
    return f"version {gate.version}: holdfast volume restart-gate moves it to {VERSION}"


def _memory_text(gate: GateReport) -> str:
    text = format_size(gate.resident_bytes)
    if gate.standby_bytes:
        text += f" and {format_size(gate.standby_bytes)} of the standby"
    if gate.memory_limit_bytes is None:
        return text
    text = f"{text}, within a limit of {format_size(gate.memory_limit_bytes)}"
    return text if gate.io_flusher else f"{text}: may wait for its own write-back (see doctor)"


def _common_facts(report: VolumeReport) -> list[tuple[str, str]]:
    return [
        ("name", report.name),
        ("kind", report.kind),
        ("state", str(report.state)),
        ("mount", report.mount),
        ("file system", f"{report.filesystem} {report.label} {report.uuid}".strip()),
        ("options", report.options or "defaults"),
        ("size", f"{format_size(report.size_bytes)} ({report.size_bytes} bytes)"),
        ("device", report.device or "none"),
    ]


def _print_adopted(report: VolumeReport) -> None:
    pairs = [*_common_facts(report), ("source", report.source)]
    if report.reason:
        pairs.append(("reason", report.reason))
    print_facts(pairs)
    if report.mounts:
        print()
        rows = [
            (each.path, f"/{each.inside}", each.options, each.propagation, each.process or "ours")
            for each in report.mounts
        ]
        print_table(("mounted at", "directory", "options", "propagation", "namespace of"), rows)


def _hold_text(reason: str, deadline: float | None) -> str:
    if deadline is None:
        return reason
    remaining_seconds = max(0.0, deadline - time.time())
    return f"{reason}; {milliseconds_text(remaining_seconds * 1000)} left"


def status_table(reports: Sequence[VolumeReport]) -> Table | Group:
    """What `status` shows: state and figures of every volume, one line each."""
    columns = (
        "name", "state", "mount", "legs", "in flight", "takeovers", "errors", "longest wait", "note"
    )  # fmt: skip
    rows = []
    for report in reports:
        gate = report.gate
        figures = ("", "", "", "")
        if gate is not None:
            figures = (
                str(gate.in_flight),
                str(gate.takeovers),
                str(gate.errors_returned),
                milliseconds_text(gate.longest_wait_ms),
            )
        legs = _count(report)
        rows.append((report.name, str(report.state), report.mount, legs, *figures, _note(report)))
    figures = ("in flight", "takeovers", "errors", "longest wait")
    below = ("note", "takeovers", "in flight", "errors", "longest wait", "mount")
    return table(columns, rows, figures, below)


def _note(report: VolumeReport) -> str:
    if report.gate is not None and report.gate.held:
        return _hold_text(report.gate.hold_reason, report.gate.hold_deadline)
    for leg in report.legs:
        if leg.resync_percent is not None and leg.state == "resyncing":
            return f"leg {leg.number}: {leg.resync_percent:.1f} % synced"
    for leg in report.legs:
        if leg.reason:
            return f"leg {leg.number}: {leg.reason}"
    return report.reason


def print_receipts(receipts: Sequence[Receipt]) -> None:
    """One line per receipt, newest first."""
    columns = ("id", "started (UTC)", "volume", "strategy", "outcome", "longest wait", "errors",
               "cause")  # fmt: skip
    rows = [
        (
            receipt.id[:ID_CHARACTERS],
            time_text(receipt.started)[:SECOND_CHARACTERS],
            receipt.volume,
            receipt.strategy,
            receipt.outcome,
            milliseconds_text(receipt.longest_wait_ms),
            str(receipt.errors_returned),
            receipt.cause,
        )
        for receipt in receipts
    ]
    below = ("cause", "outcome", "started (UTC)")
    print_table(columns, rows, right=("longest wait", "errors"), below=below)


def print_receipt(receipt: Receipt) -> None:
    """One receipt with its time line: each step with its offset from the start."""
    seconds = max(0.0, receipt.finished - receipt.started)
    pairs = [
        ("receipt", receipt.id),
        ("volume", receipt.volume),
        ("strategy", receipt.strategy),
        ("cause", receipt.cause),
        ("outcome", receipt.outcome),
        ("started", f"{time_text(receipt.started)} UTC"),
        ("finished", f"{time_text(receipt.finished)} UTC ({milliseconds_text(seconds * 1000)})"),
        ("longest wait", milliseconds_text(receipt.longest_wait_ms)),
        ("requests held", str(receipt.requests_held)),
        ("errors returned", str(receipt.errors_returned)),
        ("replayed", format_size(receipt.bytes_replayed)),
    ]
    if receipt.verification:
        pairs.append(("verification", receipt.verification))
    pairs += [_detail(key, value) for key, value in receipt.details.items()]
    print_facts(pairs)
    if receipt.steps:
        print()
        rows = [
            (
                f"+{(step.started - receipt.started) * 1000:.3f} ms",
                time_text(step.started),
                step.name,
                f"{step.seconds * 1000:.3f} ms",
                step.outcome,
            )
            for step in receipt.steps
        ]
        print_table(("offset", "time (UTC)", "step", "took", "outcome"), rows, ("offset", "took"))
    if receipt.processes:
        print()
        columns = ["pid", "process", "frozen"]
        if receipt.details.get("more_bytes"):
            columns.append("more memory")
        waiting = [
            (
                str(process.get("pid", "")),
                str(process.get("name", "")),
                milliseconds_text(float(process.get("frozen_ms", 0))),
                format_size(int(process.get("more_bytes", 0))),
            )[: len(columns)]
            for process in receipt.processes
        ]
        print_table(columns, waiting, ("pid", "frozen", "more memory"))


def _detail(key: str, value: Any) -> tuple[str, str]:
    if key == "more_bytes":
        words = "(pages that a fork had left shared, and each process has for itself now)"
        return "more memory", f"{format_size(value)} {words}"
    return key.replace("_", " "), str(value)
