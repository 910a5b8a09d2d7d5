"""holdfast migrate: move a volume to other storage while applications run on it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.commands.assess import Deadline, Force, OtherFileSystem, print_assessment
from holdfast.cli.options import AsJson, DryRun, VolumeName, Yes
from holdfast.cli.output import confirm, note, note_thin, print_json, stepped_progress
from holdfast.cli.session import session
from holdfast.errors import Blocked
from holdfast.model.finding import Verdict
from holdfast.model.time_text import milliseconds_text
from holdfast.model.volume import LegState

if TYPE_CHECKING:
    from holdfast.model.receipt import Receipt
    from holdfast.restoration.assessing.assess import Assessment
    from holdfast.service import (
        GateRequest,
        Holdfast,
        MigrateRequest,
        RestoreRequest,
        UngateRequest,
    )


def migrate(
    name: VolumeName,
    url: Annotated[
        str | None,
        typer.Argument(metavar="URL", help="A container, e.g. file:/path.img or block:/dev/name."),
    ] = None,
    filesystem: OtherFileSystem = "",
    leg: Annotated[
        list[str] | None,
        typer.Option("--leg", metavar="URL", help="Instead of URL, or a further leg; repeatable."),
    ] = None,
    spare: Annotated[
        list[str] | None,
        typer.Option("--spare", metavar="URL", help="Instead of its present spares; repeatable."),
    ] = None,
    deadline: Deadline = 60.0,
    dry_run: DryRun = False,
    force: Force = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Move a volume to another container, also to another type of file system.

    The data is copied while applications run. Then they are stopped, what changed is copied, the
    old file system is dismounted, the new one mounted in its place, and they go on with their open
    files. The old container stays as it is. A mirrored volume has as many legs afterwards as are
    named.
    """
    urls = [*([url] if url else []), *(leg or ())]
    from holdfast.service import MigrateRequest, perform

    request = MigrateRequest(name, tuple(urls), tuple(spare or ()), filesystem, deadline, force)
    where = ", ".join(urls)
    question = f"Move {name} to {where} under its users?"
    with session() as holdfast:
        if not agreed(holdfast, request, question, dry_run=dry_run, yes=yes, as_json=as_json):
            return
        legs_before = len(_legs(holdfast, name))
        with stepped_progress(f"migrating {name}") as reporter:
            receipt = perform(holdfast, request, reporter)
        legs_now, thin = len(_legs(holdfast, name)), holdfast.thinness(name)
    if receipt is None:
        note(f"{name} is on {where} now; its file system stayed mounted, nobody waited")
        if legs_now < legs_before:
            note(f"note: redundancy: {legs_before} legs before, {legs_now} now: holdfast leg add")
    else:
        show_receipt(receipt, as_json, f"{name} is on {where} now")
    note_thin(thin)


def _legs(holdfast: Holdfast, name: str) -> list[str]:
    """The legs of a gated volume; an adopted one has none."""
    report = holdfast.show_volume(name)
    return [leg.url for leg in report.legs if leg.state is not LegState.SPARE]


def agreed(
    holdfast: Holdfast,
    request: MigrateRequest | GateRequest | UngateRequest | RestoreRequest,
    question: str,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    look: Callable[[], Assessment] | None = None,
) -> bool:
    """Ask whether it is to be done, after what the volume will not have then; or only show what
    would be done. False: it is not to be done. Nobody is asked about what would be refused.

    `look`: finds what would be done, where that is more than to assess the request.
    """
    look = look or partial(holdfast.restorations.assess, request)
    if dry_run:
        _show_intention(look(), as_json)
        return False
    begun = holdfast.restorations.in_progress(request.volume)
    if not yes and sys.stdin.isatty() and begun is None:
        from holdfast.restoration.assessing.assess import refuse

        found = look()
        refuse(found)
        _note_limits(finding.as_json() for finding in found.plan.findings)
    confirm(question, yes)
    return True


def _show_intention(found: Assessment, as_json: bool) -> None:
    """What would be done; exit status 3 when it would be refused."""
    if as_json:
        print_json(found.as_json())
    else:
        print_assessment(found)
    if found.plan.refuses:
        raise typer.Exit(Blocked.exit_status)


def show_receipt(receipt: Receipt, as_json: bool, words: str) -> None:
    """How it went: one line for people, everything as JSON."""
    if as_json:
        print_json(receipt.as_json())
        return
    count = len(receipt.processes)
    note(
        f"{words}: {count} process{'' if count == 1 else 'es'} waited"
        f" {milliseconds_text(receipt.longest_wait_ms)}; {receipt.verification}"
    )
    _note_limits(receipt.details.get("findings", ()))
    note(f"holdfast receipt show {receipt.id[:8]}")


def _note_limits(findings: Iterable[Mapping[str, str]]) -> None:
    for finding in findings:
        if finding["verdict"] in (Verdict.LIMITED, Verdict.NEEDS_FORCE):
            words = f"{finding['found']}. {finding['meaning']} {finding['mend']}"
            note(f"note: {finding['subject']}: {words.rstrip()}")
