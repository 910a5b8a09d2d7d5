"""holdfast recover: finish or clean up what a crash left behind, or give it up."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.options import AsJson, Yes
from holdfast.cli.output import confirm, print_json, say
from holdfast.cli.session import session
from holdfast.errors import AtWork, NotRecovered
from holdfast.model.listing import first_of
from holdfast.model.recovery import recovery_of
from holdfast.model.volume import check_name


def recover(
    abandon: Annotated[
        str,
        typer.Option(
            "--abandon",
            metavar="NAME",
            help="Give up the restoration of this volume that is stuck: its users go on, without"
            " the handles that are parked; everything else stays as it is.",
        ),
    ] = "",
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Clean up what a crash left behind.

    Dead mounts, loop devices and gates that nobody serves any more are removed, what was
    interrupted is finished. Volumes that work are not touched. Repeating it is harmless. What is
    left makes it end with an error; what a living command is at work on is left to it.
    """
    from holdfast.service import RecoverRequest, perform

    with session() as holdfast:
        if abandon:
            confirm(f"Give up the restoration of {check_name(abandon)}, as it stands?", yes)
            done = recovery_of(holdfast.restorations.abandon(abandon))
        else:
            done = perform(holdfast, RecoverRequest())
    if as_json:
        print_json(done)
    else:
        for action in done.actions:
            say(action)
        if not done.actions:
            say("Nothing to recover.")
    if done.left:
        raise NotRecovered(
            first_of(done.left, 1),
            "See to what is in the way, then: holdfast recover. holdfast recover --abandon NAME"
            " gives a restoration up.",
        )
    if done.being_done:
        raise AtWork(
            first_of(done.being_done, 1),
            "Wait until that command has ended, then: holdfast recover.",
        )
