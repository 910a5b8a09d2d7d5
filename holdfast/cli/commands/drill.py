"""holdfast drill: rehearse a failure on a volume in use, where nothing can be lost."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.options import VolumeName, positive_duration
from holdfast.cli.output import note
from holdfast.cli.session import session


def drill(
    name: VolumeName,
    fault: Annotated[
        str,
        typer.Option("--fault", metavar="KIND", help="leg-eio, leg-hang, leg-gone, worker-kill."),
    ],
    leg: Annotated[
        str | None, typer.Option("--leg", metavar="LEG", help="Which one; the first without it.")
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(
            "--for",
            metavar="TIME",
            parser=positive_duration,
            help="How long the fault lasts.",
            show_default="10s",
        ),
    ] = 10.0,
) -> None:
    """Rehearse a failure on a volume in use.

    A leg returns errors, hangs or is gone, or the gate's worker is killed. Nothing is lost.
    What happened is on the volume's receipts: holdfast receipt list NAME.
    """
    with session() as holdfast:
        holdfast.legs.drill(name, fault, seconds=seconds, leg=leg)
    note(f"{fault} on {name}: holdfast status --watch, then holdfast receipt list {name}")
