"""holdfast restore: put other contents under running applications, or mend a broken mount."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.commands.assess import Deadline, Force, OtherFileSystem
from holdfast.cli.commands.migrate import agreed, show_receipt
from holdfast.cli.options import AsJson, DryRun, VolumeName, Yes
from holdfast.cli.output import note_thin, stepped_progress
from holdfast.cli.past_moment import settled
from holdfast.cli.session import session
from holdfast.errors import InvalidOption

if TYPE_CHECKING:
    from holdfast.restoration.assessing.assess import Assessment


def restore(
    name: VolumeName,
    contents: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="A directory or a container (e.g. file:/path.img) with the contents.",
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="WHEN",
            help="In the place of --from: its own contents at a moment, as clone takes it.",
        ),
    ] = None,
    undo: Annotated[
        bool,
        typer.Option("--undo", help="In the place of --from: what it had before its last restore."),
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="URL", help="Container for them; beside the present image without it."
        ),
    ] = None,
    leg: Annotated[
        list[str] | None,
        typer.Option("--leg", metavar="URL", help="Instead of --to, or a further leg; repeatable."),
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(
            "--history", metavar="DIRECTORY", help="Begin a history there afterwards, as now."
        ),
    ] = None,
    filesystem: OtherFileSystem = "",
    saved_writes: Annotated[
        bool,
        typer.Option(
            "--saved-writes/--no-saved-writes",
            help="Whether what is only in memory, where storage has failed, is put on the other.",
        ),
    ] = True,
    deadline: Deadline = 60.0,
    dry_run: DryRun = False,
    force: Force = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Restore a volume under its users.

    With --from its contents are replaced, with --at by what they were at a moment: copy and history
    lead there, with --undo by those before the last restore. The present ones stay in their
    container, as a copy. Without any, a dead, hung or read-only mount is mounted anew from its own
    storage.
    """
    from holdfast.service import RestoreRequest, intended, perform

    given = (("--from", contents), ("--at", at), ("--to", to), ("--history", history))
    for option, value in (*given, *(("--leg", each) for each in leg or ())):
        if value is not None and not value.strip():
            raise InvalidOption(f"{option} has nothing behind it", "Say what, or leave it out.")
    first, *more = [*([to] if to else []), *(leg or [])] or [""]
    request = RestoreRequest(
        name,
        contents or "",
        first,
        filesystem,
        deadline,
        force,
        saved_writes,
        at or "",
        tuple(more),
        history or "",
        undo,
    )
    by = "a new mount of its storage"
    if undo:
        by = "what it had before its last restore, without what was written since"
    elif at or contents:
        by = f"what it was at {at}" if at else f"the contents of {contents}"
    question = f"Replace what {name} shows by {by}, under its users?"

    def look() -> Assessment:
        nonlocal request
        with stepped_progress(f"look for {name} as it was") as reporter:
            intention = intended(holdfast, request, reporter)
        request = intention.request
        return intention.found

    with session() as holdfast:
        if request.at:
            request = replace(request, at=settled(holdfast, name, request.at))
        if not agreed(
            holdfast, request, question, dry_run=dry_run, yes=yes, as_json=as_json, look=look
        ):
            return
        with stepped_progress(f"restoring {name}") as reporter:
            receipt = perform(holdfast, request, reporter)
        thin = holdfast.thinness(name)
    if receipt is not None:
        show_receipt(receipt, as_json, f"{name} is restored")
    note_thin(thin)
