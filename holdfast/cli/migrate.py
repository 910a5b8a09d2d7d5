"""holdfast migrate: move a volume to other storage while applications run on it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.assess import Deadline, Force, print_assessment
from holdfast.cli.options import AsJson, DryRun, VolumeName, Yes
from holdfast.cli.output import (
    confirm,
    milliseconds_text,
    note,
    print_json,
    stepped_progress,
)
from holdfast.cli.session import session
from holdfast.errors import Blocked
from holdfast.model.finding import Verdict
from holdfast.model.plan import Strategy

if TYPE_CHECKING:
    from holdfast.model.receipt import Receipt
    from holdfast.restoration.assess import Assessment
    from holdfast.service import Holdfast


def migrate(
    name: VolumeName,
    url: Annotated[str, typer.Argument(metavar="URL", help="file:/path.img or block:/dev/name.")],
    filesystem: Annotated[
        str, typer.Option("--fs", metavar="TYPE", help="ext4, xfs or btrfs; as now without it.")
    ] = "",
    deadline: Deadline = 60.0,
    dry_run: DryRun = False,
    force: Force = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Move a volume to another container, also to another type of file system.

    The data is copied while applications run. Then they are stopped, what changed is copied, the
    old file system is dismounted, the new one mounted in its place, and they go on with their open
    files. The old container stays as it is.
    """
    with session() as holdfast:

        def look() -> Assessment:
            return holdfast.restorations.assess(
                name, Strategy.MIGRATE, url, filesystem, "", deadline, force
            )

        if dry_run:
            show_intention(look(), as_json)
            return
        if not yes:
            tell_limits(holdfast, name, look)
        confirm(f"Move {name} to {url} under its users?", yes)
        with stepped_progress(f"migrating {name}") as (say, percent):
            receipt = holdfast.restorations.migrate(
                name, url, filesystem, deadline, force, say, percent
            )
    if receipt is None:
        note(f"{name} is on {url} now; its file system stayed mounted, nobody waited")
    else:
        show_receipt(receipt, as_json, f"{name} is on {url} now")


def show_intention(found: Assessment, as_json: bool) -> None:
    """What would be done; exit status 3 when it would be refused."""
    if as_json:
        print_json(found.as_json())
    else:
        print_assessment(found)
    if found.plan.refuses:
        raise typer.Exit(Blocked.exit_status)


def tell_limits(holdfast: Holdfast, name: str, look: Callable[[], Assessment]) -> None:
    """Before somebody is asked whether to do it: what the volume will not have afterwards."""
    if sys.stdin.isatty() and holdfast.restorations.in_progress(name) is None:
        _note_limits(finding.as_json() for finding in look().plan.findings)


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
            note(f"note: {finding['subject']}: {finding['found']}. {finding['meaning']}")
