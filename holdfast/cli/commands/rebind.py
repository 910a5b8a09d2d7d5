"""holdfast rebind: move handles off a mount that is gone, by hand."""

from __future__ import annotations

from holdfast.cli.commands.assess import Deadline
from holdfast.cli.options import AsJson, DryRun, VolumeName
from holdfast.cli.output import note, print_json, say
from holdfast.cli.session import session


def rebind(
    name: VolumeName, deadline: Deadline = 60.0, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Move handles that lead to a stale mount to what is mounted in its place now.

    For an adopted volume that somebody dismounted lazily and mounted again.
    """
    from holdfast.service import RebindRequest, perform

    with session() as holdfast:
        if dry_run:
            words = holdfast.restorations.rebind(name, deadline, dry_run)
        else:
            words = perform(holdfast, RebindRequest(name, deadline))
    if as_json:
        print_json({"processes": list(words), "moved": not dry_run and bool(words)})
        return
    for line in words:
        say(f"would move {line}" if dry_run else line)
    if not words:
        note(f"no process has a handle on a stale mount of {name}")
