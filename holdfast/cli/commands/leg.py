"""holdfast leg: add, remove, replace the containers of a volume while it is in use."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.options import DryRun, LegName, LegUrl, VolumeName, Yes
from holdfast.cli.output import confirm, note, note_thin, say, stepped_progress
from holdfast.cli.session import session

commands = typer.Typer(
    help="Manage the containers of a volume.", no_args_is_help=True, rich_markup_mode=None
)

Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait until the leg is in sync, or return at once.")
]


@commands.command()
def add(
    name: VolumeName,
    url: LegUrl,
    spare: Annotated[
        bool, typer.Option("--spare", help="Keep it in reserve until a leg fails.")
    ] = False,
    wait: Wait = True,
    dry_run: DryRun = False,
) -> None:
    """Add a leg: it is brought up to date while the volume is in use.

    A leg that was away is added again the same way; only what it lacks is copied. Ctrl-C ends
    the waiting, not the copying.
    """
    from holdfast.service import AddLegRequest, perform

    with session() as holdfast:
        if dry_run:
            say(f"Would {holdfast.legs.plan_add(name, url, spare)}")
            return
        if spare:
            perform(holdfast, AddLegRequest(name, url, spare=True))
            note(f"{url} is a spare of {name}")
            note_thin(holdfast.thinness(name))
            return
        with stepped_progress(f"bringing {url} up to date") as reporter:
            perform(holdfast, AddLegRequest(name, url, wait=wait), reporter)
        note_thin(holdfast.thinness(name))
    note(f"{url} is {'in sync' if wait else 'being brought up to date: holdfast status'}")


@commands.command()
def remove(name: VolumeName, leg: LegName, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Remove a leg or a spare from a volume; its container keeps its bytes."""
    with session() as holdfast:
        intention = holdfast.legs.plan_remove(name, leg)
        if dry_run:
            say(f"Would {intention}")
            return
        confirm(f"{intention[:1].upper()}{intention[1:]}?", yes)
        holdfast.legs.remove(name, leg)
    note(f"removed leg {leg} from {name}")


@commands.command()
def replace(
    name: VolumeName,
    leg: LegName,
    url: LegUrl,
    wait: Wait = True,
    dry_run: DryRun = False,
) -> None:
    """Replace a leg by another container: it is brought up to date first, then takes over.

    Ctrl-C ends the waiting, not the replacement.
    """
    from holdfast.service import ReplaceLegRequest, perform

    with session() as holdfast:
        if dry_run:
            say(f"Would {holdfast.legs.plan_replace(name, leg, url)}")
            return
        with stepped_progress(f"bringing {url} up to date") as reporter:
            perform(holdfast, ReplaceLegRequest(name, leg, url, wait), reporter)
    note(f"{url} {'has replaced' if wait else 'is replacing'} leg {leg} of {name}")
