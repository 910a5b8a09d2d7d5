"""holdfast volume gate, ungate: a mirrored volume in place of a plain mount, and back."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.commands.assess import Deadline, Force, OtherFileSystem
from holdfast.cli.commands.migrate import agreed, show_receipt
from holdfast.cli.commands.volume import (
    HangTimeout,
    HoldTimeout,
    JournalChoice,
    LegUrls,
    SpareUrls,
    commands,
)
from holdfast.cli.options import AsJson, DryRun, VolumeName, Yes
from holdfast.cli.output import note_thin, stepped_progress
from holdfast.cli.session import session
from holdfast.model.volume import JournalMode


@commands.command()
def gate(
    name: VolumeName,
    leg: LegUrls = None,
    spare: SpareUrls = None,
    in_place: Annotated[
        bool,
        typer.Option("--in-place", help="Copy nothing: what it lies on becomes the first leg."),
    ] = False,
    filesystem: OtherFileSystem = "",
    journal: JournalChoice = JournalMode.UNFLUSHED.value,
    hold_timeout: HoldTimeout = 600.0,
    hang_timeout: HangTimeout = 5.0,
    deadline: Deadline = 60.0,
    dry_run: DryRun = False,
    force: Force = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Turn an adopted mount into a mirrored volume with a gate, under its running users.

    The data is copied to the first leg while applications run; they are stopped once, as for
    migrate, and go on above the gate, which fills the other legs. What the mount lay on stays as
    it is. With --in-place it becomes the first leg, and only what is behind its file system is
    written.
    """
    from holdfast.service import GateRequest, perform

    request = GateRequest(
        volume=name,
        leg_urls=tuple(leg or ()),
        spare_urls=tuple(spare or ()),
        filesystem=filesystem,
        journal=journal,
        hold_timeout_seconds=hold_timeout,
        hang_timeout_seconds=hang_timeout,
        deadline_seconds=deadline,
        forced=force,
        in_place=in_place,
    )
    where = ", ".join(("what it lies on",) * in_place + request.leg_urls)
    question = f"Put a gate under {name}, on {where}, under its users?"
    with session() as holdfast:
        if not agreed(holdfast, request, question, dry_run=dry_run, yes=yes, as_json=as_json):
            return
        with stepped_progress(f"gating {name}") as reporter:
            receipt = perform(holdfast, request, reporter)
        thin = holdfast.thinness(name)
    show_receipt(receipt, as_json, f"{name} has a gate now, on {receipt.details['to']}")
    note_thin(thin)


@commands.command()
def ungate(
    name: VolumeName,
    url: Annotated[
        str,
        typer.Argument(metavar="[URL]", help="A container; an image beside its leg without it."),
    ] = "",
    in_place: Annotated[
        bool,
        typer.Option("--in-place", help="Copy nothing: it stays on that leg, or on its first one."),
    ] = False,
    filesystem: OtherFileSystem = "",
    deadline: Deadline = 60.0,
    dry_run: DryRun = False,
    force: Force = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Turn a volume with a gate into a plain mount of one container, under its running users.

    It stays managed as an adopted volume. Its legs stay as they are, but for the one that it stays
    on with --in-place.
    """
    from holdfast.service import UngateRequest, perform

    request = UngateRequest(name, url, filesystem, deadline, force, in_place)
    question = f"Take the gate of {name} away, and its redundancy, under its users?"
    with session() as holdfast:
        if not agreed(holdfast, request, question, dry_run=dry_run, yes=yes, as_json=as_json):
            return
        with stepped_progress(f"ungating {name}") as reporter:
            receipt = perform(holdfast, request, reporter)
    show_receipt(receipt, as_json, f"{name} is a plain mount now, on {receipt.details['to']}")
