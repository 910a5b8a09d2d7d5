"""holdfast history: every write of a volume, kept for some time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.options import AsJson, DryRun, VolumeName, parse_duration
from holdfast.cli.output import note, print_facts, print_json, print_table, say
from holdfast.cli.session import session
from holdfast.errors import HistoryFailed, InvalidOption
from holdfast.model.size import format_size, parse_amount
from holdfast.model.volume import JournalFailurePolicy

if TYPE_CHECKING:
    from holdfast.model.history import HistoryReport, HistoryStretch

At = Annotated[
    str,
    typer.Option("--at", metavar="DIRECTORY", help="Keep every write there, on a disk of its own."),
]
Keep = Annotated[
    float | None,
    typer.Option("--keep", metavar="TIME", parser=parse_duration, help="For so long; 0: no limit."),
]
OnFailure = Annotated[
    JournalFailurePolicy | None,
    typer.Option(
        "--on-failure",
        metavar="degrade|hold",
        help="While it cannot be written: go on without (the default), or have flushes wait.",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="SIZE", parser=parse_amount, help="In so much room at most."),
]

_WHILE_IT_FAILS = {"hold": "flushes wait", "degrade": "the volume goes on without"}

DAMAGED = 1
"""Exit status of --verify, as docs/exit-status.md has it."""


def history(
    name: VolumeName,
    at: At = "",
    keep: Keep = None,
    limit: Limit = None,
    on_failure: OnFailure = None,
    off: Annotated[bool, typer.Option("--off", help="Keep nothing from now on.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all of it, and say what is damaged.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Keep every write of a volume in use, or say what of it can be reached.

    docs/history.md says how an image is brought to any moment of it.
    """
    changes = bool(at) or not (keep is None and limit is None and on_failure is None)
    if (off and (changes or verify)) or (changes and verify):
        raise InvalidOption("--off, --verify, and what is to be kept go each alone")
    with session() as holdfast:
        if dry_run and changes:
            place, findings = holdfast.histories.plan_keep(name, at, keep, limit, on_failure)
            _would(f"keep every write of {name} in {place.directory}", findings, as_json=as_json)
            return
        if dry_run and off:
            holdfast.histories.show(name)
            _would(f"keep nothing more of {name}; what is there stays", (), as_json=as_json)
            return
        if changes:
            report = holdfast.histories.keep(name, at, keep, limit, on_failure)
        elif off:
            report = holdfast.histories.end(name)
        else:
            report = holdfast.histories.show(name, verify=verify)
    if as_json:
        print_json(report.as_json())
    else:
        _tell(report, changes=changes, off=off)
    if verify and report.state != "off" and not report.is_read:
        raise HistoryFailed(f"it cannot be read: {report.reason}", "See that its disk is there.")
    if verify and any(each.is_damaged for each in report.stretches):
        raise typer.Exit(DAMAGED)


def _would(intention: str, findings: Sequence[str], *, as_json: bool) -> None:
    """What --dry-run says."""
    if as_json:
        print_json({"dry_run": True, "would": [intention], "findings": list(findings)})
        return
    say(f"Would {intention}")
    for each in findings:
        note(f"note: {each}")


def _tell(report: HistoryReport, *, changes: bool, off: bool) -> None:
    if changes or off:
        words = "is not kept any more" if off else f"is kept in {report.directory}"
        note(f"every write of {report.volume} {words}")
        for each in report.findings if changes else ():
            note(f"note: {each}")
        return
    _print(report)


def _print(report: HistoryReport) -> None:
    if report.state == "off":
        say(f"No history of {report.volume} is kept (--at DIRECTORY begins one)")
        if report.directory:
            say(f"There may be one of before in {report.directory}")
        return
    kept = [f"{report.keep_seconds / 3600:g} h"] if report.keep_seconds else []
    kept += [format_size(report.limit_bytes)] if report.limit_bytes else []
    facts = [
        ("history", f"{report.state}: {report.reason}" if report.reason else report.state),
        ("directory", report.directory),
        ("kept", " or ".join(kept) or "as long as there is room"),
        ("while it fails", _WHILE_IT_FAILS[report.on_failure]),
        ("files", format_size(report.used_bytes)),
    ]
    if report.state != "resting":
        behind = f", {format_size(report.behind_bytes)} behind" if report.behind_bytes else ""
        facts.append(("position", f"{report.position}{behind}"))
        facts.append(("base from", f"{report.base_position} (docs/history.md)"))
    print_facts([*facts, *(("note", each) for each in report.findings)])
    print()
    rows = [_row(report, each) for each in report.stretches]
    print_table(("from", "to", "from position", "to position", "then"), rows, below=("then",))


def _local(seconds: float) -> str:
    """Local time, with its distance from UTC; seconds, as people name moments."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def _row(report: HistoryReport, stretch: HistoryStretch) -> tuple[str, ...]:
    last = stretch is report.stretches[-1]
    if stretch.ended:
        ended = _local(stretch.ended)
    else:
        ended = "now" if report.state == "written" else "its end"
    end = stretch.end if stretch.end is not None else report.position if last else None
    then = f"a gap: {stretch.reason}" if stretch.reason else ""
    if stretch.ended and stretch.ended < stretch.begun:
        then = f"the clock was set back; {then}".removesuffix("; ")
    return _local(stretch.begun), ended, str(stretch.position), str(end or "?"), then
