"""holdfast freeze, holdfast thaw: stop the processes that use a volume, and continue them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.options import AsJson, DryRun, VolumeName, positive_duration
from holdfast.cli.output import note, print_json, print_table, say
from holdfast.cli.session import session
from holdfast.model.time_text import milliseconds_text, time_text

if TYPE_CHECKING:
    from holdfast.applications.freezers.policy import FreezePlan


def freeze(
    name: VolumeName,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--for",
            metavar="TIME",
            parser=positive_duration,
            help="Thaw by itself after that time.",
            show_default="60s",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="WAY",
            help="hold, cgroup, signal, priority or page-out; chosen when not given.",
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Freeze the processes that use a volume, and those that begin to.

    They stay loaded and notice nothing but the time. At the deadline they continue, whatever has
    happened to Holdfast.
    """
    with session() as holdfast:
        plan = holdfast.freezes.plan(name, by)
        if dry_run:
            _print_plan(plan, as_json)
            return
        done = holdfast.freezes.freeze(name, seconds, plan.freezer)
    if as_json:
        print_json(done)
    for finding in plan.findings:
        note(f"note: {finding.subject}: {finding.found}. {finding.meaning}")
    for pid in done.awake:
        note(f"note: process {pid} waits inside the kernel; it is frozen when it returns")
    for pid in done.left:
        note(f"note: process {pid} stood still already; it stays so after the thaw")
    who = (
        "requests are withheld"
        if done.freezer == "hold"
        else f"{len(done.processes)} process(es) frozen by {done.freezer}"
    )
    note(f"{name}: {who} until {time_text(done.deadline)} UTC at the latest: holdfast thaw {name}")


def thaw(name: VolumeName, as_json: AsJson = False) -> None:
    """Continue the processes that were frozen, exactly as they were."""
    with session() as holdfast:
        receipt = holdfast.freezes.thaw(name)
    if as_json:
        print_json(receipt)
        return
    if receipt is None:
        note(f"{name} is thawed; its receipt could not be written")
        return
    longest = milliseconds_text(receipt.longest_wait_ms)
    note(f"{name}: {receipt.outcome}; the longest was frozen for {longest}")
    note(f"holdfast receipt show {receipt.id[:8]}")


def _print_plan(plan: FreezePlan, as_json: bool) -> None:
    if as_json:
        print_json({"dry_run": True, "would": plan})
        return
    say(f"Would freeze {plan.volume} by {plan.freezer}:")
    if plan.processes:
        print_table(
            ("PID", "NAME"), [(str(each.pid), each.name) for each in plan.processes], right=("PID",)
        )
    for finding in plan.findings:
        say(f"{finding.subject}: {finding.found}. {finding.meaning}")
