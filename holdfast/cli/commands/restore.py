"""holdfast restore: put other contents under running applications, or mend a broken mount."""

from __future__ import annotations

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

    With --from its contents are replaced; the present ones stay in their container, as a copy.
    Without, a dead, hung or read-only mount is mounted anew from its own storage.
    """
    from holdfast.service import RestoreRequest, perform

    request = RestoreRequest(name, contents, to, filesystem, deadline, force, saved_writes)
    by = f"the contents of {contents}" if contents else "a new mount of its storage"
    question = f"Replace what {name} shows by {by}, under its users?"
    with session() as holdfast:
        if not agreed(holdfast, request, question, dry_run=dry_run, yes=yes, as_json=as_json):
            return
        with stepped_progress(f"restoring {name}") as reporter:
            receipt = perform(holdfast, request, reporter)
    if receipt is not None:
        show_receipt(receipt, as_json, f"{name} is restored")
