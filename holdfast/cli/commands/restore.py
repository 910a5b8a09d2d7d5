"""holdfast restore: put other contents under running applications, or mend a broken mount."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from holdfast.cli.commands.assess import Deadline, Force, OtherFileSystem
from holdfast.cli.commands.migrate import agreed, show_receipt
from holdfast.cli.options import AsJson, DryRun, VolumeName, Yes
from holdfast.cli.output import stepped_progress
from holdfast.cli.session import session


def restore(
    name: VolumeName,
    contents: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="A directory or a container (e.g. file:/path.img) with the contents.",
        ),
    ] = "",
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="WHEN",
            help="In the place of --from: its own contents at a moment, as clone takes it.",
        ),
    ] = "",
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="URL", help="Container for them; beside the present image without it."
        ),
    ] = "",
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
    lead there. The present ones stay in their container, as a copy. Without either, a dead, hung
    or read-only mount is mounted anew from its own storage.
    """
    from holdfast.service import RestoreRequest, as_it_was, perform

    wanted = RestoreRequest(name, contents, to, filesystem, deadline, force, saved_writes, at)
    by = "a new mount of its storage"
    if at or contents:
        by = f"what it was at {at}" if at else f"the contents of {contents}"
    question = f"Replace what {name} shows by {by}, under its users?"
    with session() as holdfast, ExitStack() as made:
        with stepped_progress(f"look for {name} as it was") as reporter:
            request = made.enter_context(as_it_was(holdfast, wanted, reporter))
        if not agreed(holdfast, request, question, dry_run=dry_run, yes=yes, as_json=as_json):
            return
        with stepped_progress(f"restoring {name}") as reporter:
            receipt = perform(holdfast, request, reporter)
    if receipt is not None:
        show_receipt(receipt, as_json, f"{name} is restored")
