"""How a volume, its legs and a receipt look on a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from holdfast.cli.drilled import SHOWN_BY_TABLE, print_phases
from holdfast.cli.output import print_facts, print_grid, print_table, table
from holdfast.model.drill import ALERT_STRATEGY, LIVE_STRATEGY, STRATEGY
from holdfast.model.size import format_size
from holdfast.model.time_text import milliseconds_text, time_text
from holdfast.model.trouble import troubles_of
from holdfast.model.version import VERSION
from holdfast.model.volume import ADOPTED
from holdfast.system.messages.printable import printable

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from holdfast.model.following import FollowingReport
    from holdfast.model.receipt import Receipt
    from holdfast.model.trouble import Trouble
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
    """Everything about one volume, and what is wrong with it."""
    if report.kind == ADOPTED:
        _print_adopted(report)
    else:
        _print_gated(report)
    wrong = troubles_of(report)
    if wrong:
        from rich.console import Group

        print_grid(Group("", *map(_trouble_text, wrong)))


def _print_gated(report: VolumeReport) -> None:
    pairs = [
        *_common_facts(report),
        ("journal", report.journal),
        *_history_facts(report.gate),
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


def _history_facts(gate: GateReport | None) -> list[tuple[str, str]]:
    """Where every write is kept, and since when; nothing where it is not."""
    journal = gate.journal if gate is not None else {}
    if journal.get("mode") != "continuous":
        return []
    if "history_state" not in journal:
        return [("history", "fails: it could not be opened")]
    words = f"{journal['history']}, up to position {journal['history_position']}"
    if journal["history_reason"]:
        words = f"fails: {journal['history_reason']}; {words}"
    stretches = journal["history_stretches"]
    if isinstance(stretches, list) and stretches:
        words += f", whole since {time_text(stretches[-1]['begun'])}"
    return [("history", words)]


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
    return f"{reason}; {_left_text(deadline)}"


def status_view(
    shown: Sequence[tuple[VolumeReport, Sequence[Trouble]]],
    copies: Mapping[str, Sequence[FollowingReport]],
) -> Group:
    """What `status` shows: state and figures of every volume, one line each; the copies that follow
    them; one line of health; and what is wrong, with the command that mends it."""
    from rich.console import Group

    reports = [report for report, _ in shown]
    wrong = [trouble for _, troubles in shown for trouble in troubles]
    parts: list[Table | Group | str] = [_status_table(reports), ""]
    rows = [
        (name, each.url, following_text(each)) for name, found in copies.items() for each in found
    ]
    if rows:
        parts += [table(("of", "copy", "follows"), rows, (), ("copy",)), ""]
    return Group(*parts, _health(reports, wrong), *map(_trouble_text, wrong))


def following_text(following: FollowingReport | None) -> str:
    """How well a copy follows, in a few words; empty: it does not."""
    if following is None:
        return ""
    words = str(following.state)
    if following.behind_bytes:
        behind = format_size(following.behind_bytes)
        words += f", lacks {behind} of {duration_text(following.behind_seconds)}"
    return f"{words} (within {duration_text(following.lag_seconds)})"


def duration_text(seconds: float) -> str:
    """As people say it, in the largest unit of which there are two or more."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _health(reports: Sequence[VolumeReport], wrong: Sequence[Trouble]) -> Text:
    from rich.text import Text

    ill = len({trouble.volume for trouble in wrong})
    who = reports[0].name if len(reports) == 1 else f"{ill} of {len(reports)} volumes"
    if ill:
        return Text(f"{who} need{'s' if ill == 1 else ''} attention", "yellow")
    return Text(f"{who} is well" if len(reports) == 1 else "all volumes are well", "green")


def _trouble_text(trouble: Trouble) -> Text:
    from rich.text import Text

    text = Text(printable(f"  {trouble.volume}: {trouble.words}"))
    if trouble.mend:
        text.append(printable(f"\n    mend: {trouble.mend}", keep="\n"), "bold")
    return text


def _status_table(reports: Sequence[VolumeReport]) -> Table | Group:
    figures = ("in flight", "takeovers", "errors", "longest wait")
    rows = []
    for report in reports:
        gate = report.gate
        values = ("", "", "", "")
        if gate is not None:
            values = (
                str(gate.in_flight),
                str(gate.takeovers),
                str(gate.errors_returned),
                milliseconds_text(gate.longest_wait_ms),
            )
        rows.append((report.name, _state_text(report), report.mount, _count(report), *values))
    below = ("takeovers", "in flight", "errors", "longest wait", "mount")
    return table(("name", "state", "mount", "legs", *figures), rows, figures, below)


def _state_text(report: VolumeReport) -> str:
    gate = report.gate
    if report.frozen_until is not None:
        return f"{report.state}, frozen: {_left_text(report.frozen_until)}"
    if gate is not None and gate.held and gate.hold_deadline is not None:
        return f"{report.state}, {_left_text(gate.hold_deadline)}"
    return str(report.state)


def _left_text(until: float) -> str:
    return f"{milliseconds_text(max(0.0, until - time.time()) * 1000)} left"


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


def receipt_line(receipt: Receipt) -> str:
    """One receipt in one line, to be read as it comes."""
    wait = milliseconds_text(receipt.longest_wait_ms)
    return (
        f"{time_text(receipt.started)[:SECOND_CHARACTERS]}  {receipt.id[:ID_CHARACTERS]}"
        f"  {receipt.volume}  {receipt.strategy}: {receipt.outcome}; longest wait {wait},"
        f" {receipt.errors_returned} errors; {receipt.cause}"
    )


def print_receipt(receipt: Receipt) -> None:
    """One receipt with its time line: each step with its offset from the start."""
    from holdfast.receipt_page.details import detail_facts

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
    is_drill = receipt.strategy in (STRATEGY, LIVE_STRATEGY, ALERT_STRATEGY)
    for key, value in receipt.details.items():
        if not (is_drill and key in SHOWN_BY_TABLE):
            pairs += detail_facts(key, value)
    print_facts(pairs)
    if is_drill:
        print()
        print_phases(receipt)
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
